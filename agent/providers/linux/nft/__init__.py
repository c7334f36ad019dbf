"""The firewall: one table of our own, `inet privet`, in which nothing passes that was not declared.

Param: `direction` (inbound or outbound: a chain of its own each). A value is a sorted tuple of flows
`protocol/port@peer`: tcp, udp, icmp or any · a port, a range `8000-8010`, any, or for icmp `echo` · any, lan, loopback,
or an address block. Always allowed are loopback, answers to what was allowed, and what IPv6 cannot live without.
Who knocks at a way in (SSH) too often is not heard for a while, unless the flow ends with ` unlimited`.

Live is read back from the kernel; a rule that is not understood counts as if it were open as wide as its understood
part says. Kept is our file, and only if it is to the byte what we would write for the flows in it.
"""

from agent.core.assess import Reading, unread
from agent.core.errors import BadInput, Failed, Missing, PrivetError, Unreachable
from agent.core.order import ANY
from agent.core.plan import Run, Write
from agent.core.record import Params, Value
from agent.providers.linux.nft.flows import FAMILY, TABLE
from agent.providers.linux.nft.reading import objects, opened
from agent.providers.linux.nft.writing import document
from agent.system.door import System

PARAMS = ("direction",)
FOLDER = "/etc/privet/firewall"


def probe(system: System, params: Params) -> Reading:
    """Say which flows the kernel lets through now, and which our file lets through after a restart."""
    direction = str(params["direction"])
    try:
        kept = in_file(system, direction)
    except PrivetError as error:
        return unread(str(error))
    try:
        outcome = system.run(("nft", "-j", "-s", "list", "ruleset"))
        if outcome.code != 0:
            raise Failed("nft cannot list the rules of the kernel; run it as root to see why")
        live = opened(objects(outcome.out), direction)
    except Unreachable:
        return unread("nft is not installed or does not answer; install nftables", kept=kept)
    except (PrivetError, ValueError) as error:
        return unread(str(error), kept=kept)
    return Reading(live=live, kept=kept, cause="", absent=False)


def steps(params: Params, option: Value) -> tuple[Write | Run, ...]:
    """Write our file for this direction and load it in one transaction; the other direction is not touched."""
    direction = str(params["direction"])
    if not isinstance(option, tuple):
        raise BadInput(f"{option!r} is no list of flows; write flows as protocol/port@peer")
    content = document(direction, option)
    return (
        Write(path=file_of(direction), content=content, mode=0o600, uid=0, gid=0),
        # Wakes a table that somebody put to sleep; the kernel refuses that together with new chains.
        Run(argv=("nft", "add", "table", FAMILY, TABLE), stdin=b""),
        Run(argv=("nft", "-j", "-f", "-"), stdin=content),  # what runs does not wait for room on the disk
    )


def watches(params: Params) -> tuple[str, ...]:
    """Name where our files are; changes in the kernel come from `nft monitor` and the sweep."""
    return (FOLDER,)


def file_of(direction: str) -> str:
    """Return the path of our file, which is loaded before the network at each start."""
    return f"{FOLDER}/{direction}.json"


def in_file(system: System, direction: str) -> Value:
    """Return the flows our file opens at the next start; ANY when it is missing or not ours."""
    try:
        content = system.read(file_of(direction))
        flows = opened(objects(content), direction)
        ours = isinstance(flows, tuple) and document(direction, flows) == content
    except (Missing, BadInput, ValueError, LookupError, TypeError, AttributeError):  # surely not written by us
        return ANY
    return flows if ours else ANY


__all__ = ["PARAMS", "document", "file_of", "in_file", "objects", "opened", "probe", "steps", "watches"]

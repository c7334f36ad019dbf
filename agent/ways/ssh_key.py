"""From the network, with a key: the running server is asked whether it takes the owner's own key for this account.

The public half is enough to ask (RFC 4252, section 7): a server that would take a signature by this key says so before
one is made. So the owner's key itself is tried at the real server, and nothing is added to their list of keys.
"""

from agent.core.errors import PrivetError
from agent.core.order import ANY
from agent.core.trial import AFAR, IDLE, KNOWN, SHUT, TRIED, Way, reachable
from agent.system.door import System
from agent.system.openssh import ACCEPTED, Server, answers, knock, lets_root_in, server
from agent.system.parts import Tries
from agent.system.people import Person, people

OFFER = "/run/privet/way.pub"
KINDS = ("ssh-", "ecdsa-", "sk-")
MOST = 4  # keys to try for one account: a server hangs up after six


def look(system: System, tries: Tries) -> Way:
    """Offer the keys of each account to the server; the first that is taken proves the way."""
    found = server(system)
    if found is None:
        return way(SHUT, "", "there is no SSH server that would start")
    flow = f"tcp/{found.port}"
    if not reachable(ANY if tries.flows is None else tries.flows, flow):
        return way(SHUT, flow, "the firewall lets no neighbour come to the SSH server")
    state, cause = SHUT, "nobody's key is listed"
    for person in people(system):
        for key, bound in listed(system, found, person):
            if bound:
                state, cause = (
                    (KNOWN, f"{person.name} with a key for some addresses only") if state == SHUT else (state, cause)
                )
                continue
            if person.uid == 0 and not lets_root_in(system):
                break
            said = offered(system, person.name, found.port, key)
            if ACCEPTED in said:
                return way(TRIED, flow, f"{person.name} with a key")
            if not answers(said):
                state, cause = IDLE, "the SSH server does not answer now"
            elif state == SHUT:
                cause = f"the SSH server does not take the key of {person.name}"
    return way(state, flow, cause)


def way(state: str, flow: str, cause: str) -> Way:
    """Make the way."""
    return Way(name="ssh_key", reach=AFAR, state=state, flow=flow, cause=cause)


def listed(system: System, found: Server, person: Person) -> list[tuple[str, bool]]:
    """Return a person's keys, each with whether it is bound to addresses; not those for one command only."""
    keys: list[tuple[str, bool]] = []
    for name in found.keys:
        path = name.replace("%h", person.home).replace("%u", person.name)
        try:
            text = system.read(path if path.startswith("/") else f"{person.home}/{path}").decode("utf-8", "replace")
        except PrivetError:
            continue
        for line in text.splitlines():
            words = line.split()
            place = next((n for n, word in enumerate(words) if word.startswith(KINDS)), len(words))
            options = " ".join(words[:place])
            if line.startswith("#") or len(words) < place + 2 or "command=" in options or "cert-authority" in options:
                continue
            keys.append((f"{words[place]} {words[place + 1]}\n", "from=" in options))
    return keys[:MOST]


def offered(system: System, user: str, port: str, key: str) -> str:
    """Offer one public key; return what the client said."""
    system.write(OFFER, key.encode(), 0o600)
    try:
        return knock(system, user, port, "publickey", "-i", OFFER)
    finally:
        system.remove(OFFER)

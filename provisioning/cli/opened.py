"""Open a fleet for a verb, and find in it what policies need: recipients' public keys, the broker, the next number."""

import json
from pathlib import Path

from agent.core.errors import BadInput, Missing
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import FACTS, Passphrase, passphrase_asked, passphrase_from

POLICIES = "policies"
DEVICES = "devices"
PUBLIC = "recipient-{}.pub"


def open_fleet(directory: Path, descriptor: int | None) -> Fleet:
    """Open a fleet, asking for its passphrase when it has one; Missing when there is none."""
    return Fleet.open(directory, passphrase(directory, descriptor))


def passphrase(directory: Path, descriptor: int | None) -> Passphrase | None:
    """Return the passphrase of a fleet, None when it has none."""
    try:
        facts = json.loads((directory / FACTS).read_bytes())
    except FileNotFoundError:
        raise Missing(f"{directory} holds no fleet; make one with: privet-fleet init --fleet {directory}") from None
    except (OSError, ValueError):
        return None  # Fleet.open says what is wrong with it
    if not (isinstance(facts, dict) and facts.get("salt")):
        return None
    return passphrase_asked() if descriptor is None else passphrase_from(descriptor)


def add_recipient(fleet: Fleet, name: str) -> bytes:
    """Make a recipient's keys; the public one is kept apart, so that the private one can move to where it is used."""
    public = fleet.add_recipient(name)
    fleet.safe.write(PUBLIC.format(name), public)
    return public


def recipient_keys(fleet: Fleet, names: list[str]) -> dict[str, bytes]:
    """Return the public keys of those recipients that have one."""
    found = {}
    for name in names:
        try:
            found[name] = fleet.safe.read(PUBLIC.format(name))
        except Missing:
            continue
    return found


def fleet_broker(fleet: Fleet) -> tuple[str, int] | None:
    """Return the broker the fleet was made with."""
    host, port = fleet.safe.facts.get("broker_host", ""), fleet.safe.facts.get("broker_port", "")
    if not host:
        return None
    if not port.isdecimal():
        raise BadInput("the fleet's broker port is damaged; make it right in fleet.json")
    return host, int(port)


def policy_folder(fleet: Fleet, model: str, device: str) -> Path:
    """Return where the issued policies of a class, or of one device of it, are kept."""
    return fleet.safe.directory / POLICIES / model / (device or "every-device")


def next_sequence(fleet: Fleet, model: str) -> int:
    """Return the number after the highest one ever issued for this class, whichever device it was for."""
    folder = fleet.safe.directory / POLICIES / model
    issued = [int(path.stem) for path in folder.glob("*/*.cbor") if path.stem.isdecimal()]
    return max(issued, default=0) + 1


def newest_policy(fleet: Fleet, model: str, device: str = "") -> Path | None:
    """Return the newest issued policy of a class, or of one device, None when there is none."""
    paths = [path for path in policy_folder(fleet, model, device).glob("*.cbor") if path.stem.isdecimal()]
    return max(paths, key=lambda path: int(path.stem), default=None)

"""Handing the owner's new secrets over without a login: sealed to somebody the profile names, or shown on the screen.

Both only right after a first boot, and only when the policy says so. The sealed file is root's, beside the store, never
on the boot partition; it is made of the same records as telemetry (FORMAT.md 3), of the purpose `recovery`, and opened
by `privet-fleet recover`. On the screen the secrets stand for a minute and are wiped; they are never said to the
journal. Neither counts as taken: until the owner took them with `privet credentials show --once`, they wait, and then
the file is shredded too.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agent.core import cbor, cose
from agent.core.errors import Missing, PrivetError
from agent.system.door import System

if TYPE_CHECKING:
    from agent.guard.house import House

SEALED = "/var/lib/privet/recovery.sealed"
PURPOSE = "recovery"
FORM = "privet recovery 1"
SCREEN = "/dev/tty1"
SECONDS = 60
WIPE = b"\033[H\033[2J\033[3J"  # home, clear, and what was scrolled away


def waiting(house: "House") -> dict[str, str]:
    """Return the new secrets that wait for the owner, by kind and label."""
    store = house.books.store
    found = {key[len("credential/") :]: store.get(key) for key in store.keys("credential/")}
    return {label: value.decode() for label, value in sorted(found.items()) if isinstance(value, bytes)}


def hand_over(house: "House") -> None:
    """Do what the policy asks for; what fails is journaled, the secrets wait all the same."""
    policy = house.rules.policy
    wishes: dict[str, Any] = policy.recovery if policy is not None else {}
    secrets = waiting(house) if wishes else {}
    if not secrets:
        return
    try:
        if wishes["key"]:
            house.system.write(SEALED, sealed(house, wishes, secrets), 0o600)
            house.books.store.append("credentials_sealed", {"labels": sorted(secrets), "to": wishes["id"]})
        if wishes["console"]:
            on_screen(house.system, secrets)
            house.books.store.append("credentials_on_screen", {"labels": sorted(secrets), "seconds": SECONDS})
    except PrivetError as error:
        house.books.store.append("credentials_waiting", {"labels": sorted(secrets), "why": str(error)})


def sealed(house: "House", wishes: dict[str, Any], secrets: dict[str, str]) -> bytes:
    """Seal the secrets to the recovery recipient: a key record and one record, as in telemetry."""
    identity, boot = house.parts.anchor.identity, house.system.boot
    stream = cose.Stream(fleet=identity.fleet, device=identity.device, purpose=PURPOSE, boot=boot, epoch=1)
    epoch = house.parts.vault.new_epoch(stream, [(wishes["id"], wishes["key"])])
    bodies = (epoch.body, *house.parts.vault.seal_records(epoch.key, stream, [(2, cbor.encode(secrets))]))
    records = [cose.message(boot, seq, body) for seq, body in enumerate(bodies, 1)]
    return cbor.encode([FORM, identity.fleet, identity.device, records])


def on_screen(system: System, secrets: dict[str, str]) -> None:
    """Show the secrets on the device's own screen for a while, then wipe it; never as an argument."""
    try:
        system.stat(SCREEN)
    except Missing:
        return
    lines = ["", "This device has made new passwords. Write them down now; they vanish in a minute.", ""]
    lines += [f"    {label.rpartition('/')[2]}:  {secret}" for label, secret in secrets.items()]
    lines += ["", "To see them once more, signed in at the device: sudo privet credentials show --once", ""]
    try:
        system.run(("tee", SCREEN), WIPE + "\r\n".join(lines).encode() + b"\r\n")
        system.run(("sleep", str(SECONDS)), seconds=SECONDS + 10)
    finally:
        system.run(("tee", SCREEN), WIPE)


def taken(system: System, left: bool) -> None:
    """Shred the sealed file once nothing waits any more."""
    if not left:
        with suppress(PrivetError):
            system.shred(SEALED)


def kept(system: System) -> str:
    """Return the sealed file as hex."""
    try:
        return system.read(SEALED).hex()
    except Missing:
        raise Missing("nothing is sealed; a profile asks for it with [recovery] recipient = …") from None

"""Beginning and ending the guarding, in this very process: what `privet setup` and `privet restore` do."""

import base64
import json
import os

import click

from agent import registry
from agent.cli.asking import agrees
from agent.cli.call import call
from agent.core.errors import Failed, PrivetError, Refused, Unreachable
from agent.core.policy import read_policy
from agent.core.secret import Secret
from agent.guard import inuse, seeds
from agent.guard import restore as putting
from agent.guard import setup as setting_up
from agent.guard.posture import Posture
from agent.guard.rules import DEVICE
from agent.guard.setup import RELEASED
from agent.system import boardkey
from agent.system.keys import FileSlot
from agent.system.real import RealSystem
from agent.system.seen import there
from agent.system.store import Store
from agent.system.vault import WorkerVault

SERVICES = ("privet-early.service", "privet-firstboot.service", "privet-guard.service", "privet-courier.service")
STAYS = (
    "New passwords, host keys, numbers and the name of the device stay: the old ones are known to everybody. "
    "What was erased from the boot partition and from the system's diary stays erased."
)


def root_only(what: str) -> None:
    """Refuse anybody but root."""
    if os.geteuid() != 0:
        raise Refused(f"only root may {what}; run it with sudo")


def preview_setup() -> None:
    """Say which programs that others use now will be closed to them; changes nothing, and says nothing about none."""
    root_only("look into every program")
    system, settings = RealSystem(), registry.settings()
    if there(system, DEVICE):
        click.echo("This device is set up already. How it stands: sudo privet status")
        return
    named = read_policy(setting_up.read_shipped(system), settings).baseline
    baseline = {name: named.get(name, setting.strictest()) for name, setting in settings.items()}
    found = inuse.look(Posture(system, settings, baseline))
    if found:
        click.echo("Others use these programs of this device now. They are closed to them when it becomes private:")
    for one in found:
        click.echo(f"  {inuse.sentence(one)}\n    to have it back for a while, afterwards: {inuse.keep(one)}")


def setup() -> None:
    """Give a device without a fleet its identity and policy, lift what restore ended, start the services."""
    root_only("set this device up")
    system = RealSystem()
    released = there(system, RELEASED)
    if there(system, DEVICE) and not released:
        click.echo("This device is set up already; nothing was changed. How it stands: sudo privet status")
        return
    if not there(system, DEVICE):
        owner = setting_up.establish(system, setting_up.read_wishes(system))
        click.echo(f"This device has an identity and a policy of its own now. Its owner's account is {owner}.")
    if released:
        system.remove(RELEASED)
        click.echo("What privet restore ended begins again.")
    click.echo(
        "Next, without your doing: passwords and keys from the factory are replaced while nothing can come in from"
    )
    click.echo("outside, then every setting is made private, and you are warned whenever one is loosened.")
    if begin(system):
        click.echo("That has begun, and may take some minutes.")
    else:
        click.echo("That begins when this device starts again.")
    click.echo("Your new password, if you got one: sudo privet credentials show --once")
    click.echo("How the device stands: sudo privet status")


def board_key(*, serial: bool) -> None:
    """Print the public half of this board's key, in base64."""
    root_only("ask for this board's key")
    system = RealSystem()
    vault = WorkerVault(Secret(system.entropy(32)))
    try:
        public = base64.b64encode(boardkey.public(system, vault)).decode()
    finally:
        vault.close()
    click.echo(f"{seeds.serial(system)},{public}" if serial else public)


def begin(system: RealSystem) -> bool:
    """Start the services where systemd runs; each decides itself whether it has work."""
    if not there(system, putting.BOOTED):
        return False
    for unit in SERVICES:
        system.run(("systemctl", "--no-block", "start", unit))
    return True


def restore(*, agreed: bool) -> None:
    """Show what would be put back and what may be open then, ask, end the guarding, and put it back."""
    root_only("put this device back as it was")
    system = RealSystem()
    wanted = putting.plan(system)
    if not wanted.kept and not wanted.lost and there(system, RELEASED):
        click.echo("Everything is back already, and nothing is guarded. To begin again: sudo privet setup")
        return
    preview(system, wanted)
    if not agreed and not agrees("Do you want this?"):
        return
    if not there(system, putting.BOOTED) and guarded():
        raise Refused("the guard runs and would set everything right again; stop it, then run privet restore again")
    putting.release(system)
    wanted = putting.plan(system)
    failed = putting.carry_out(system, wanted)
    note(system, wanted, failed)
    for sentence in failed:
        click.echo(f"Not put back: {sentence}", err=True)
    if failed:
        raise Failed(
            f"{len(failed)} thing(s) could not be put back; do what is said above, then run privet restore again"
        )
    click.echo("This device is as it was before Privet, and nothing guards it. To begin again: sudo privet setup")


def preview(system: RealSystem, wanted: putting.Plan) -> None:
    """Say before anything happens what is put back, what may be open then, and what stays."""
    click.secho("This ends Privet's guarding and puts back how this device was before it.", bold=True)
    for item in wanted.items:
        click.echo(f"  {putting.described(item)}")
    for sentence in wanted.lost:
        click.echo(f"  Cannot be put back: {sentence}")
    click.echo("  The firewall table of Privet is removed: whatever listens on this device can be reached again.")
    opens = putting.opened(system, wanted)
    if opens:
        click.secho("\nWhat may be open then, as far as it was before:", fg="yellow")
    for setting in opens:
        click.secho(f"  {setting.title}: {setting.risk}", fg="yellow")
    click.echo(f"\n{STAYS}\nNobody warns you any more, and allowances end.")


def guarded() -> bool:
    """Say whether a guard answers."""
    try:
        call("control", {"op": "version"})
    except Unreachable:
        return False
    return True


def note(system: RealSystem, wanted: putting.Plan, failed: tuple[str, ...]) -> None:
    """Write it into the journal, where there is one that can be opened; a damaged one does not stop the rest."""
    if not there(system, setting_up.STATE):
        return
    try:
        key, _ = FileSlot(system).open()
        vault = WorkerVault(key)
        try:
            store = Store(setting_up.STATE, vault, system.clock)
            body = {"things": len(wanted.items), "failed": json.dumps(list(failed))[:2000]}
            store.append("restored", body)
            store.close()
        finally:
            vault.close()
    except PrivetError as error:
        click.echo(f"The journal could not be told: {error}", err=True)

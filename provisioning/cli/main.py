"""`privet-fleet`: make a fleet, check and compile device profiles, run a broker, try it all on simulated devices."""

import importlib
import json

import click

from agent import VERSION
from agent.cli.ending import ended
from agent.core.errors import PrivetError

PROGRAM = "privet-fleet"
MOST_SAID = 2000  # letters of a sentence; what people typed stands in some of them
VERBS = {
    "init": ("provisioning.cli.init", "init", "Make a fleet: its keys, its authorities, its recipients."),
    "profile": ("provisioning.cli.profile", "profile", "Check, explain, compare and compile device profiles."),
    "authority": ("provisioning.cli.authority", "authority", "Look at the authorities, or let the root renew them."),
    "recipient": ("provisioning.cli.init", "recipient", "Add somebody who can read telemetry sealed to them."),
    "image": ("provisioning.cli.image", "image", "Build the image of a fleet's cards, and look at images."),
    "device": ("provisioning.cli.device", "device", "Prepare what one device is flashed with."),
    "batch": ("provisioning.cli.batch", "batch", "Plan devices: an id, a token and a seed for each card."),
    "targets": ("provisioning.cli.targets", "targets", "List the disks that may be written, and why others may not."),
    "flash": ("provisioning.cli.flash", "flash", "Write an image to cards: many at once, each its own, read back."),
    "inject": ("provisioning.cli.card", "inject", "Give a card that was flashed another seed."),
    "card": ("provisioning.cli.card", "card", "Read what a card tells of itself."),
    "wipe": ("provisioning.cli.card", "wipe", "Erase a card, and read back that nothing is left."),
    "serve": ("provisioning.cli.serve", "serve", "Run the enrolment server."),
    "devices": ("provisioning.cli.devices", "devices", "See devices; shut one out, give one away, end its life."),
    "ledger": ("provisioning.cli.ledger", "ledger", "Check the chain of all that happened to the devices."),
    "policy": ("provisioning.cli.policy", "policy", "Hand out policies by stages; see who has which."),
    "broker": ("provisioning.cli.broker", "broker", "Run the fleet's broker, or show its configuration."),
    "audit-broker": ("provisioning.cli.audit", "audit_broker", "Try the doors of any broker from a device's seat."),
    "collect": ("provisioning.cli.collect", "collect", "Receive telemetry, open it and show it."),
    "open": ("provisioning.cli.open", "open_group", "Hand readings on in plain text, on your own machine."),
    "readings": ("provisioning.cli.readings", "readings", "Hand out received readings; forget those over their time."),
    "recover": ("provisioning.cli.recover", "recover", "Open the new passwords that a device sealed to the fleet."),
    "simulate": ("provisioning.cli.simulate", "simulate", "Run many simulated devices against a real broker."),
    "reconnect": ("provisioning.cli.reconnect", "reconnect", "See a thousand devices come back to a killed broker."),
    "demo": ("provisioning.cli.demo", "demo", "See everything Privet does, in under a minute."),
    "completion": ("provisioning.cli.completion", "completion", "Print what your shell needs to complete commands."),
}
EXAMPLES = """\b
Examples:
  privet-fleet demo
  privet-fleet init --fleet ./fleet
  privet-fleet profile check
  privet-fleet profile compile base --fleet ./fleet
"""


class Verbs(click.Group):
    """A group that knows its verbs by name and imports a verb's module only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every verb, in the order of a fleet's life."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in VERBS:
            return None
        module, name, _ = VERBS[cmd_name]
        command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in VERBS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb; an error of ours becomes one sentence and its exit code, never a traceback."""
        try:
            return ended(PROGRAM, lambda: super(Verbs, self).invoke(ctx))
        except PrivetError as error:
            tell(ctx, error)
            ctx.exit(error.exit_code)


def tell(ctx: click.Context, error: PrivetError) -> None:
    """Say an error: one JSON object when asked for JSON, else a line per sentence."""
    if ctx.find_root().meta.get("json"):
        click.echo(json.dumps({"ok": False, "error": str(error), "code": error.exit_code}))
        return
    for sentence in str(error).splitlines():
        plain = "".join(letter if letter.isprintable() else "?" for letter in sentence[:MOST_SAID])
        click.echo(f"{PROGRAM}: {plain}", err=True)


@click.group(
    cls=Verbs, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(VERSION, prog_name=PROGRAM)
def cli() -> None:
    """Privet on the host: device profiles, keys, broker, simulated fleets, and the demo."""


def main() -> None:
    """Run the command; it exits with 0, with an error's own code (agent/core/errors.py), or 2 for wrong usage."""
    ended(PROGRAM, lambda: cli(prog_name=PROGRAM))

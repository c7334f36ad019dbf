"""The verb that writes the nodes of a broker's cluster."""

import base64
import secrets
from pathlib import Path
from typing import TextIO

import click

from agent.core.errors import BadInput
from agent.core.shown import many
from provisioning.broker import emqx, nats, rabbitmq, rabbitmq_cluster
from provisioning.broker.child import Member, Setup
from provisioning.cli.admit import from_registry
from provisioning.cli.answer import answer, answers, with_fleet
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import Fleet
from provisioning.fleet.nodes import node
from provisioning.fleet.safe import whole_file

ENGINES = ("nats", "rabbitmq", "emqx")
ROUTES = 6222  # the port of NATS' routes


@click.command(
    epilog="\b\nExample:\n  privet-fleet broker cluster nats --node a.example --node b.example --node c.example \\\n"
    "    --devices names.txt --out cluster"
)
@with_fleet
@answers
@click.argument("engine", type=click.Choice(ENGINES))
@click.option("--node", "nodes", multiple=True, required=True, help="Host name or address of a node; three of them.")
@click.option("--port", type=click.IntRange(1, 65535), default=8883, show_default=True, help="Port for devices.")
@click.option(
    "--collector", "collectors", multiple=True, default=("collector",), show_default=True,
    help="Collectors that may read.",
)  # fmt: skip
@click.option("--devices", type=click.File(), help="Names, one a line.  [default: as the registry says]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder.")
def cluster(
    fleet_directory: Path, passphrase_fd: int | None, engine: str, nodes: tuple[str, ...], port: int,
    collectors: tuple[str, ...], devices: TextIO | None, out: Path,
) -> None:  # fmt: skip
    """Write what each node of a cluster needs, into a folder of its own: configuration, certificates, keys.

    Between the nodes both ends show a certificate of an authority that is for nodes alone. Three nodes go on when one
    of them dies, five when two do.
    """
    if len(nodes) < 3 or len(nodes) % 2 == 0 or len(set(nodes)) != len(nodes):
        raise BadInput("a cluster that outlives one of its nodes has three, five or seven different ones; name them")
    if out.exists():
        raise BadInput(f"{out} is there already; choose another folder")
    fleet = open_fleet(fleet_directory, passphrase_fd)
    names = from_registry(fleet, devices)
    cookie = base64.b32encode(secrets.token_bytes(20))
    for number, host in enumerate(nodes, 1):
        setup = Setup(fleet=fleet.name, address=host, port=port, collectors=collectors, durable=True)
        files = written(fleet, engine, setup, Member(number=number, nodes=nodes), names)
        for name, content in {**files, **({".erlang.cookie": cookie} if engine == "rabbitmq" else {})}.items():
            whole_file(out / host / name, content)
    told = f"✓ {many(len(nodes), 'folder')} in {out}; carry each to its node, over a way nobody listens to."
    result = {"engine": engine, "tried": engine != "emqx", "folders": [str(out / host) for host in nodes]}
    answer(result, lambda to: to.print(told, markup=False))


def written(fleet: Fleet, engine: str, setup: Setup, member: Member, devices: list[str]) -> dict[str, bytes]:
    """Return the files of one node."""
    shown, between = fleet.server([setup.address]), node(fleet, [setup.address])
    files = {
        "broker.pem": shown.certificate,
        "broker.key": shown.key,
        "clients.pem": fleet.client_anchors(),
        "node.pem": between.certificate,
        "node.key": between.key,
        "nodes.pem": between.anchors,
    }
    if engine == "nats":
        routes = Member(number=member.number, nodes=tuple(f"{host}:{ROUTES}" for host in member.nodes))
        return files | {"nats.conf": nats.configuration(setup, devices, routes).encode()}
    if engine == "emqx":
        whole = emqx.configuration(setup) + emqx.clustered(member)
        return files | {"emqx.conf": whole.encode(), "acl.conf": emqx.access(setup).encode()}
    lines = [f'{key.removeprefix("RABBITMQ_")}="{value}"' for key, value in rabbitmq_cluster.variables(member).items()]
    return files | {
        "rabbitmq.conf": rabbitmq_cluster.clustered(setup, member).encode(),
        "rabbitmq-env.conf": ("\n".join(lines) + "\n").encode(),
        rabbitmq_cluster.OPTIONS: rabbitmq_cluster.options().encode(),
        "enabled_plugins": rabbitmq.ENABLED,
        "definitions.json": rabbitmq.definitions(setup, devices).encode(),
    }

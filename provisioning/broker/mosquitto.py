"""Debian's mosquitto with our configuration: mutual TLS, one identity per client, each confined to its own topics.

mosquitto's own switch of user happens before it reads the certificates, and fails on them: it starts as its user.
"""

import signal
from pathlib import Path

from provisioning.broker.child import STEWARD, Child, Setup, free_port, place_of
from provisioning.fleet.identity import SERVICE, Credential, checked

__all__ = ["Broker", "Setup", "access", "configuration", "free_port"]
REVOKED = "revoked.pem"
MOST_PACKET = 336 * 1024  # bytes: the largest policy or frame we send, and its topic
# TLS 1.3 is preferred; what is left of 1.2 has ephemeral keys and authenticated encryption only. Our keys are P-256.
CIPHERS = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"
CIPHERS_13 = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"

# Seconds from one writing of all queues and sessions to the next. Each writes the whole store: done at every change, a
# broker of a thousand devices takes 25 messages a second. No reading is lost for it: devices keep what a collector has
# not confirmed, and send it again when the broker is back.
SAVED = 30
FIXED = (
    "cafile clients.pem",
    "certfile broker.pem",
    "keyfile broker.key",
    "tls_version tlsv1.2",  # at least
    f"ciphers {CIPHERS}",
    f"ciphers_tls1.3 {CIPHERS_13}",
    "require_certificate true",
    "use_identity_as_username true",
    "use_username_as_clientid true",  # or a device could take over the session, and the queue, of another
    "allow_anonymous false",
    "acl_file access.conf",
    "max_connections -1",
    f"max_packet_size {MOST_PACKET}",
    "max_inflight_messages 100",
    "max_queued_messages 10000",
    f"max_queued_bytes {64 << 20}",
    "max_keepalive 300",
    "persistent_client_expiration 90d",
    "set_tcp_nodelay true",  # without it an acknowledgement takes 44 ms instead of 0.4
    "retain_available false",  # nothing stays at the broker but what a known client still has to fetch
    "sys_interval 0",  # no $SYS: who is connected, and how much, is nobody's business
    "connection_messages false",  # the log must not say who was awake when, and from which address
    "log_dest file broker.log",
    "log_type error",
    "log_type warning",
    "log_type notice",
    "log_timestamp_format %Y-%m-%dT%H:%M:%S",
)


def configuration(setup: Setup) -> str:
    """Return mosquitto.conf; BadInput for an address, port or fleet it cannot hold."""
    address, port = place_of(setup)
    domain = "ipv6" if ":" in address else "ipv4"
    lines = [f"listener {port} {address}", f"socket_domain {domain}", *FIXED]
    lines.append(f"persistence {'true' if setup.durable else 'false'}")
    if setup.durable:
        lines += ["persistence_location ./", "autosave_on_changes false", f"autosave_interval {SAVED}"]
    return "\n".join(lines) + "\n"


def access(setup: Setup) -> str:
    """Return the access list: a device has its own five topics, a collector the other end of them, nobody else any.

    But one: the steward, who hands out policies and hears which are in force.
    """
    top = f"privet/1/{checked(setup.fleet, 'fleet')}"
    own = f"{top}/%u"
    lines = [f"pattern write {own}/{leaf}" for leaf in ("up/+", "warning", "state")]
    lines += [f"pattern read {own}/{leaf}" for leaf in ("ack", "policy")]
    for name in setup.collectors:
        lines.append(f"user {SERVICE}{checked(name, 'collector')}")
        lines += [f"topic read {top}/+/{leaf}" for leaf in ("up/+", "warning", "state")]
        lines += [f"topic write {top}/+/{leaf}" for leaf in ("ack", "policy")]
    lines += [f"user {SERVICE}{STEWARD}", f"topic write {top}/+/policy", f"topic read {top}/+/state"]
    return "\n".join(lines) + "\n"


class Broker(Child):
    """mosquitto as a child process.

    `crl` are the CRLs of all authorities in `client_anchors` (provisioning.fleet.revocation): whoever they name is
    refused. A broker that was started without them cannot learn them later.
    """

    program = package = user = "mosquitto"

    def __init__(
        self, directory: Path, setup: Setup, credential: Credential, client_anchors: bytes, crl: bytes = b""
    ) -> None:
        files = {
            "mosquitto.conf": (configuration(setup) + (f"crlfile {REVOKED}\n" if crl else "")).encode(),
            "access.conf": access(setup).encode(),
            "clients.pem": client_anchors,
            "broker.pem": credential.certificate,
            "broker.key": credential.key,
            REVOKED: crl,
        }
        super().__init__(directory, setup, files)

    def words(self, program: str) -> list[str]:
        """Start it with its configuration."""
        return [program, "-c", "mosquitto.conf"]

    def revoke(self, crl: bytes) -> None:
        """Let it read new CRLs without a restart; sessions that are open stay so (provisioning.broker.evict)."""
        self.lay(REVOKED, crl)
        self.signal(signal.SIGHUP)

"""The device's side for the collector's tests: seals records with the agent's own parts."""

from collections.abc import Callable
from decimal import Decimal

from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from agent.core import cose
from agent.core.cbor import Tag, encode
from agent.core.secret import Secret
from agent.system import sealing
from provisioning.collector.receive import Collector

LATTICE, CURVE = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
KEY = MLKEM768X25519PrivateKey(LATTICE, CURVE)
HOME = ("home", LATTICE.public_key().public_bytes_raw() + CURVE.public_key().public_bytes_raw())
CONSENT = (1_795_400_000).to_bytes(8, "big") + bytes(32) + bytes([7] * 32)  # when, which words, which declaration
Make = Callable[[], Collector]


def said(collector: Collector) -> list[str]:
    """Return what the collector told its operator."""
    return collector.said  # type: ignore[attr-defined, no-any-return]


def values(collector: Collector) -> list[Decimal | str]:
    """Return the values of all readings in the order of arrival."""
    return [reading.value for reading in collector.readings()]


def number(exponent: int, mantissa: int) -> Tag:
    """Make a decimal fraction."""
    return Tag(tag=4, value=[exponent, mantissa])


def pack(*values: int, at: int = 1_795_489_000) -> bytes:
    """Return a SenML pack of temperatures in tenths, one a minute."""
    rows: list[dict[int, object]] = [
        {0: "temperature", 1: "Cel", 2: number(-1, value), **({6: 60 * n} if n else {-3: at})}
        for n, value in enumerate(values)
    ]
    return encode(rows)


class Sender:
    """One stream of one device: numbers its records, opens epochs, goes on with the ack keys of its start before."""

    def __init__(
        self,
        recipients: list[tuple[str, bytes]],
        device: str = "r7k2",
        purpose: str = "comfort",
        boot: int = 1,
        before: "Sender | None" = None,
    ) -> None:
        self.recipients, self.device, self.purpose, self.boot = recipients, device, purpose, boot
        self.fleet = "meadow"
        self.seq = 0
        self.number = 0
        self.acks: dict[str, Secret] = dict(before.acks) if before else {}
        self.key = Secret(b"")
        # Agreed to anew before each start, as when an answer made it begin.
        given = (int.from_bytes(CONSENT[:8], "big") + (boot - 1) * 1_000_000).to_bytes(8, "big")
        self.consents = {name: given + CONSENT[8:] for name, _ in recipients}

    @property
    def topic(self) -> str:
        """The topic its records go to."""
        return f"privet/1/{self.fleet}/{self.device}/up/{self.purpose}"

    @property
    def stream(self) -> cose.Stream:
        """Where its records belong."""
        return cose.Stream(
            fleet=self.fleet, device=self.device, purpose=self.purpose, boot=self.boot, epoch=self.number
        )

    def epoch(self) -> tuple[str, bytes]:
        """Open the next epoch; return its key record as a message."""
        self.seq += 1
        self.number = self.seq
        made = sealing.new_epoch(self.stream, self.recipients, self.acks, self.consents)
        self.key, self.acks = made.key, made.acks
        return self.topic, cose.message(self.boot, self.seq, made.body)

    def seal(self, plain: bytes) -> tuple[str, bytes]:
        """Seal one record; return it as a message."""
        self.seq += 1
        (body,) = sealing.seal_records(self.key, self.stream, [(self.seq, plain)])
        return self.topic, cose.message(self.boot, self.seq, body)

    def send(self, *values: int) -> tuple[str, bytes]:
        """Seal a record of readings."""
        return self.seal(pack(*values))

    def gap(self, boot: int, first: int, last: int) -> tuple[str, bytes]:
        """Seal the record that owns up to lost ones."""
        return self.seal(cose.gap_plain(boot, first, boot, last, last - first + 1))

    def released(self, answers: list[tuple[str, bytes]], recipient: str = "home") -> int:
        """Return up to which record of this boot the answers let go of, 0 when none is genuine."""
        released = 0
        for topic, payload in answers:
            answer = cose.split_ack(payload)
            plain = cose.ack_plain(self.device, self.purpose, recipient, answer.boot, answer.seq)
            genuine = hmac(self.acks[recipient].reveal(), plain) == answer.mac
            mine = (answer.purpose, answer.recipient, answer.boot) == (self.purpose, recipient, self.boot)
            if genuine and mine and topic == f"privet/1/{self.fleet}/{self.device}/ack":
                released = max(released, answer.seq)
        return released


def hmac(key: bytes, plain: bytes) -> bytes:
    """Return the HMAC-SHA256."""
    import hmac as module

    return module.digest(key, plain, "sha256")

"""A second reader of sealed telemetry, from the words of provisioning/FORMAT.md alone: cbor2 and bare primitives.

Nothing of the collector, and nothing of the agent, is used here.
"""

import hashlib
from decimal import Decimal
from typing import Any, NamedTuple

import cbor2
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.system.test_sealing import unwrap


class Row(NamedTuple):
    """One row of SenML as it was sent: `value` is a number or a text, `at` Unix seconds."""

    name: str
    unit: str
    value: Decimal | str
    at: int


class Reader:
    """A recipient with keys of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        lattice, curve = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        self.public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        private = curve.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        self.halves = {"mlkem_seed": lattice.private_bytes_raw().hex(), "x25519_private": private.hex()}
        self.keys: dict[tuple[str, str, int, int], bytes] = {}
        self.consents: dict[tuple[str, str, int, int], tuple[int, bytes, bytes]] = {}

    def opened(self, topic: str, payload: bytes) -> bytes:
        """Open one message; a key record is remembered, and gives nothing."""
        _, _, fleet, device, _, purpose = topic.split("/")
        _, boot, seq, body = cbor2.loads(payload)
        if isinstance(body, list):
            _, epoch, wrapped = body
            bound = cbor2.dumps(["privet key 1", device, purpose, boot, epoch, self.name])
            parts = cbor2.loads(unwrap(self.halves, wrapped[self.name], bound))
            self.keys[device, purpose, boot, epoch] = parts[0]
            if len(parts) == 3:
                at, words, about = parts[2][:8], parts[2][8:40], parts[2][40:]
                self.consents[device, purpose, boot, epoch] = int.from_bytes(at, "big"), words, about
            return b""
        protected, unprotected, ciphertext = body.value
        epoch = int.from_bytes(cbor2.loads(protected)[4], "big")
        external = cbor2.dumps(["privet up 1", fleet, device, purpose, boot, epoch, seq])
        bound = cbor2.dumps(["Encrypt0", protected, external])
        key = ChaCha20Poly1305(self.keys[device, purpose, boot, epoch])
        return key.decrypt(unprotected[5], ciphertext, bound)


def declared(policy: dict[str, Any], purpose: str, recipient: str) -> bytes:
    """Compute what a policy (its map, as it was signed) declares of a purpose towards a recipient: FORMAT.md 3.2."""
    (why,) = [row for row in policy["purposes"] if row["id"] == purpose]
    (who,) = [row for row in policy["recipients"] if row["id"] == recipient]
    lacking = {"keep": [], "cell": 0, "most": 0, "noise": [], "unit": "", "step": 1, "low": 0, "high": 1, "scale": 5}
    fields = [
        {name: value for name, value in row.items() if name not in lacking or value != lacking[name]}
        for row in policy["fields"]
        if row["purpose"] == purpose
    ]
    why = {name: value for name, value in why.items() if name != "recipients" and (name, value) != ("pseudonym", 0)}
    texts = purpose == "warnings" and "mqtt" in policy["channels"]
    told = ["privet declared 1", why, fields, who, texts]
    return hashlib.sha256(cbor2.dumps(told, canonical=True)).digest()


def rows(plain: bytes) -> list[Row]:
    """Read what is inside a record; a gap has no rows."""
    content: list[Any] = cbor2.loads(plain) if plain else []
    if content and content[0] == "gap":
        return []
    base, found = 0, []
    for row in content:
        base = row.get(-3, base)
        value = row[3] if 3 in row else Decimal(row[2])
        found.append(Row(row[0], row.get(1, ""), value, base + row.get(6, 0)))
    return found

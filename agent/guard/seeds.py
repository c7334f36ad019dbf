"""What a flashed card gave this device: the fleet's facts in the image, the seed in its slot; and the end of the seed.

`fleet.cbor` is in every image of a fleet and holds no secret. The seed is verified with its keys before a byte of it is
used, must be for this board, this fleet's root and the policy in the image, and then makes `device.cbor`. The token is
read from the slot each time it is needed, and kept nowhere else.
"""

import binascii
import hashlib
from contextlib import suppress
from typing import Any

from agent.core import cbor
from agent.core.enrol import ASKED, DAMAGED, EMPTY, OTHERS, RECEIPT, SEED
from agent.core.errors import BadInput, BadPolicy, Failed, Missing, PrivetError, Tampered, Unreadable
from agent.core.record import Record
from agent.core.secret import Secret
from agent.core.seed import Receipt, Seed, fits, receipt_payload
from agent.core.slot import HALF, SIZE, choose, decode_half, encode_half, halves, used
from agent.core.slot import RECEIPT as RECEIPT_HALF
from agent.guard.pair import HOME
from agent.guard.rules import DEVICE
from agent.guard.rules import SEED as POLICY
from agent.system import board, boardkey, identity
from agent.system.door import System
from agent.system.seen import there
from agent.system.vault import Vault, WorkerVault

FLEET = "/etc/privet/fleet.cbor"
SLOT = "privet.slot"
SERIAL = "/proc/device-tree/serial-number"
CERTIFICATE = f"{HOME}/cert.pem"
ROOT = f"{HOME}/ca.pem"
FACTS = {"fleet": str, "class": str, "policy_keys": list, "floor": int}


class Place(Record):
    """Where this device enrols; nowhere on a device that no fleet has flashed with a seed."""

    __slots__ = ("host", "port")
    host: str
    port: int


class Vouched(Record):
    """What stands for a seed on a device that was handed over: the token it drew, for which the fleet gave its word."""

    __slots__ = ("token",)
    token: Secret


class Found(Record):
    """What the slot holds, as `core.enrol` names it, and the seed while there is one."""

    __slots__ = ("kind", "seed")
    kind: str
    seed: Seed | Vouched | None


def read_fleet(system: System) -> dict[str, Any]:
    """Return the fleet's facts, empty on a device that no fleet has flashed in this way."""
    try:
        table = cbor.decode(system.read(FLEET, 65536))
    except Missing:
        return {}
    except BadInput as error:
        raise BadPolicy(f"{FLEET} is damaged ({error}); flash the card again") from error
    shaped = isinstance(table, dict) and all(type(table.get(name)) is kind for name, kind in FACTS.items())
    if not shaped or not table["policy_keys"]:
        raise BadPolicy(f"{FLEET} lacks a name or a key; flash the card again")
    return dict(table)


def place_of(system: System) -> str:
    """Return where the slot is, empty when this device has none."""
    for folder in board.PLACES:
        if there(system, f"{folder}/{SLOT}"):
            return f"{folder}/{SLOT}"
    return ""


def look(system: System, vault: Vault, device: str, asked: bytes) -> Found:
    """Look into the slot; `asked` is the sha256 of the token that was adopted last."""
    path = place_of(system)
    if not path:
        return Found(kind=EMPTY, seed=None)
    raw = system.read(path, 2 * SIZE)
    if len(raw) != SIZE:
        return Found(kind=OTHERS, seed=None)  # not made by us, and not ours to overwrite
    kinds = [kind_of(half) for half in halves(raw)]
    if RECEIPT_HALF in kinds:
        system.sync(path)  # a process before this one may have been killed over it
        return Found(kind=RECEIPT if kinds == [RECEIPT_HALF, RECEIPT_HALF] else DAMAGED, seed=None)
    try:
        seed = chosen(system, vault, raw)
    except Missing:
        return Found(kind=EMPTY, seed=None)
    except (Tampered, BadPolicy):
        return Found(kind=OTHERS, seed=None)  # of another fleet or board: whoever wrote it may miss it
    except BadInput:
        return Found(kind=DAMAGED, seed=None)
    if seed.device != device:
        return Found(kind=OTHERS, seed=None)
    return Found(kind=ASKED if digest_of(seed) == asked else SEED, seed=seed)


def chosen(system: System, vault: Vault, raw: bytes) -> Seed:
    """Return the good seed of a slot, verified, for this board and this fleet."""
    facts = read_fleet(system)
    if not facts:
        raise Missing(f"{FLEET} is missing, and with it the fleet's keys; flash the card again")
    seed = choose(
        raw,
        lambda message: vault.verify_policy(message, tuple(facts["policy_keys"])),
        lambda sealed: boardkey.unseal(system, vault, sealed),
    )
    fits(seed, serial(system))
    if seed.anchor != hashlib.sha256(der(system.read(ROOT, 65536))).digest():
        raise BadPolicy("the seed is for a fleet with another root certificate than the image's; flash the card again")
    return seed


def der(pem: bytes) -> bytes:
    """Return the bytes of the first certificate in a PEM file."""
    body = pem.partition(b"-----BEGIN CERTIFICATE-----")[2].partition(b"-----END")[0]
    try:
        return binascii.a2b_base64(body)
    except ValueError:
        raise BadPolicy(f"{ROOT} holds no root certificate; flash the card again") from None


def kind_of(half: bytes) -> int:
    """Return what a half says it holds, -1 when it is damaged."""
    try:
        return decode_half(half).kind
    except BadInput:
        return -1


def serial(system: System) -> str:
    """Return the serial number of this board, empty when it has none."""
    try:
        return system.read(SERIAL, 256).decode("utf-8", "replace").strip("\0\n ")
    except (Missing, Unreadable):
        return ""


def beside(kept: dict[str, Any], asked: bytes, found: Found) -> Found:
    """Return what was found in the slot, or in its place the token of a voucher that is here; a seed goes first."""
    if not kept.get("voucher") or found.kind in (SEED, ASKED):
        return found
    seed = Vouched(token=Secret(bytes(kept["token"])))
    return Found(kind=ASKED if digest_of(seed) == asked else SEED, seed=seed)


def digest_of(seed: Seed | Vouched) -> bytes:
    """Return what is remembered of a token."""
    return hashlib.sha256(seed.token.reveal()).digest()


def establish(system: System, vault: Vault | None = None) -> bool:
    """Take this device's identity from its seed, where a fleet has flashed it and it has none; True when it has one.

    Also where it has one already: a further seed may name another enrolment server, and after a reset another device.
    Before the network, at the first start; whatever is wrong with the seed is one sentence, and the device stays shut.
    """
    facts, known = read_fleet(system), there(system, DEVICE)
    if not facts:
        return known
    path = place_of(system)
    if not path:
        if known:
            return True
        raise Missing(f"this card has no {SLOT} on its boot partition; flash it again")
    raw = system.read(path, 2 * SIZE)
    if known and len(raw) == SIZE and used(raw):
        return True
    asked = vault or WorkerVault(Secret(system.entropy(32)))
    try:
        take(system, asked, facts, raw)
    except PrivetError:
        if not known:
            raise
    finally:
        if vault is None:
            asked.close()
    return True


def take(system: System, vault: Vault, facts: dict[str, Any], raw: bytes) -> None:
    """Write `device.cbor` from a seed, unless it says so already or belongs to another enrolled device."""
    seed = chosen(system, vault, raw)
    if not there(system, DEVICE) and hashlib.sha256(system.read(POLICY, 1 << 20)).digest() != seed.policy:
        raise BadPolicy("the policy on the card is not the one its seed was made for; flash the card again")
    former: dict[str, Any] = {}
    with suppress(Missing, BadInput):
        former = cbor.decode(system.read(DEVICE, 65536))
    if there(system, CERTIFICATE) and former.get("device") not in (None, seed.device):
        return
    made = {
        "fleet": facts["fleet"], "class": facts["class"], "device": seed.device, "policy_keys": facts["policy_keys"],
        "floor": max(facts["floor"], seed.floor, int(former.get("floor") or 0)),
        "enrol": {"host": seed.enrol_host, "port": seed.enrol_port},
    }  # fmt: skip
    if made != former:
        system.write(DEVICE, cbor.encode(made), 0o600)
    for path in (DEVICE, DEVICE.rpartition("/")[0]):  # a process before this one may have been killed over it
        system.sync(path)


def wipe(system: System, vault: Vault, device: str, key: Secret, now: int) -> None:
    """Overwrite the seed where it lies with a receipt signed by the device's key: half A, then half B, then look."""
    path = place_of(system)
    receipt = Receipt(device=device, key=identity.fingerprint(vault, key), time=now)
    half = encode_half(RECEIPT_HALF, identity.sign(vault, key, receipt_payload(receipt)))
    raw = system.read(path, 2 * SIZE)
    for content in (half + raw[HALF:], half + half):
        system.overwrite(path, content)
    if system.read(path, 2 * SIZE) != half + half:
        raise Failed(f"{path} does not keep what is written over the seed; the card is worn, replace it")


def read_place(system: System) -> Place | None:
    """Return where this device enrols."""
    try:
        table = cbor.decode(system.read(DEVICE, 65536))
    except (Missing, BadInput):
        return None
    place = table.get("enrol") if isinstance(table, dict) else None
    if not isinstance(place, dict) or type(place.get("host")) is not str or type(place.get("port")) is not int:
        return None
    return Place(host=place["host"], port=place["port"])

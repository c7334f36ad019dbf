"""The vectors about the seed slot of a card; part of `runner.py`, with the same limits."""

import binascii
import hashlib

from agent.core import cose, seed, slot
from agent.core.errors import BadPolicy, WrongDevice
from agent.core.secret import Secret


def mark(message):
    """Stand for a signature: neither runtime has a cipher, and the core has none to miss."""
    return hashlib.sha256(message).digest() + hashlib.sha256(b"2" + message).digest()


def verify(message):
    """Stand for the vault: return the payload when the stand-in of a signature fits."""
    taken = cose.split_sign1(message, slot.MOST)
    if taken.signature != mark(taken.signed):
        raise BadPolicy("forged")
    return taken.payload


def seed_message(a, floor):
    """Sign the seed of a case, flashed at this moment."""
    made = seed.Seed(
        device=a["device"], token=Secret(b"t" * a.get("token", 32)), enrol_host=a.get("host", "enrol.example"),
        enrol_port=443, broker_host=a.get("broker", "broker.example"), broker_port=a.get("port", 8883),
        anchor=b"a" * 32, floor=floor, policy=b"p" * 32, sequence=3, serial=a.get("serial", ""),
    )  # fmt: skip
    return cose.sign1(seed.seed_payload(made), b"kid", mark)


def masked(context, content):
    """Stand for the seal, both ways: what is bound to another context does not open."""
    key = hashlib.sha256(context).digest()
    return bytes([letter ^ key[at % 32] for at, letter in enumerate(content)])


def unsealing(a):
    """Stand for the board's key: open what was sealed to the board of the case."""

    def unseal(sealed):
        if sealed.board != hashlib.sha256(a["own"].encode()).digest()[: seed.BOARD]:
            raise WrongDevice("another board")
        return masked(seed.sealing_context(sealed.board, sealed.floor - a.get("late", 0)), sealed.sealed)

    return unseal


def half_of(a, word):
    """Make the half that a word of a case names."""
    if word[:4] == "seed":
        return slot.encode_half(slot.SEED, seed_message(a, int(word[4:])))
    if word[:6] == "sealed":
        board, floor = word[6:].split("@")
        payload = cose.split_sign1(seed_message(a, int(floor)), slot.MOST).payload
        name = hashlib.sha256(board.encode()).digest()[: seed.BOARD]
        context = seed.sealing_context(name, int(floor))
        made = seed.SealedSeed(board=name, floor=int(floor) + a.get("late", 0), sealed=masked(context, payload))
        return slot.encode_half(slot.SEED, cose.sign1(seed.sealed_payload(made), b"kid", mark))
    if word == "forged":
        return slot.encode_half(slot.SEED, cose.sign1(b"\x80", b"kid", lambda signed: bytes(64)))
    if word == "receipt":
        payload = seed.receipt_payload(seed.Receipt(device=a["device"], key=b"k" * 32, time=9))
        return slot.encode_half(slot.RECEIPT, cose.sign1(payload, b"kid", mark, cose.ES256))
    if word == "torn":
        return half_of(a, "receipt")[:80] + half_of(a, "seed5")[80:]
    if word == "newer":
        return half_of(a, "seed5")[:9] + b"\x02" + half_of(a, "seed5")[10:]
    return {"blank": slot.encode_half(slot.BLANK), "zeros": bytes(slot.HALF), "short": bytes(slot.HALF - 1)}[word]


def do_slot(a):
    """Lay two halves into a slot, and say what a device finds there; `board` is the serial of where it is."""
    first = half_of(a, a["halves"][0])
    content = first + (first if a["halves"][0] == a["halves"][1] else half_of(a, a["halves"][1]))
    if a.get("ask") == "used":
        return slot.used(content)
    found = slot.choose(content, verify, unsealing(a) if "own" in a else None)
    seed.fits(found, a.get("board", ""))
    return [found.device, found.floor, str(found.token), binascii.hexlify(hashlib.sha256(content).digest()).decode()]

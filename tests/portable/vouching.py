"""The vectors about vouchers; loaded by `runner.py` for these alone, with the same limits."""

import binascii
import hashlib

from agent.core import voucher


def do_voucher(a):
    """Write a voucher as a fleet does, let the device of the case judge it, and say how long its bytes are."""
    made = voucher.Voucher(
        fleet=a.get("fleet", "meadow"), device=a.get("device", "d-1"), token=b"t" * a.get("token", 32),
        receipt=b"r" * 32, until=a.get("until", 1000),
    )  # fmt: skip
    payload = voucher.voucher_payload(made)
    if "cut" in a:
        payload = payload[: a["cut"]]
    waits = a.get("waits", "t").encode() * 32
    voucher.admits(voucher.read_voucher(payload), "meadow", "d-1", waits, a.get("now", 999))
    return binascii.hexlify(hashlib.sha256(payload).digest()).decode()

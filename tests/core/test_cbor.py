"""CBOR: the one encoding, read and written alike here, by cbor2 and on MicroPython."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.core import cbor, utf8
from agent.core.cbor import Tag, decode, encode
from agent.core.errors import BadInput
from agent.core.secret import Secret, same_slowly

ROOT = Path(__file__).resolve().parents[2]
VECTORS = json.loads((ROOT / "tests/vectors/cbor.json").read_text())
# Tags that cbor2 gives no meaning of its own.
PLAIN_TAGS = st.sampled_from([16, 18, 24, 96, 50000, 2**32, 2**64 - 1])
NUMBERS = st.integers(-(2**64), 2**64 - 1) | st.sampled_from([2**n + d for n in (8, 16, 32, 64) for d in (-2, -1)])
LEAVES = st.none() | st.booleans() | NUMBERS | st.binary(max_size=300) | st.text(max_size=100)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(NUMBERS | st.text(max_size=30), inner, max_size=5)
        | st.builds(lambda number, value: Tag(tag=number, value=value), PLAIN_TAGS, inner)
    ),
    max_leaves=12,
)

ON_MICROPYTHON = """
import sys, json
sys.path.insert(0, sys.argv[1])
from agent.core import cbor, secret
from agent.core.errors import BadInput
vectors = json.load(open(sys.argv[1] + "/tests/vectors/cbor.json"))
right = 0
for case in vectors["good"]:
    right += cbor.encode(cbor.decode(bytes.fromhex(case[0]))) == bytes.fromhex(case[0])
for case in vectors["bad"]:
    try:
        cbor.decode(bytes.fromhex(case[0]))
        print("accepted", case)
    except BadInput:
        right += 1
one = secret.Secret(b"canary")
right += one == secret.Secret(b"canary") and one != secret.Secret(b"canarx")
right += "%s %r" % (one, one) == "<secret> <secret>"
print(right)
"""


def as_cbor2(value: object) -> object:
    """Rewrite a value with cbor2's tag class and keys in the order of RFC 8949 (cbor2 sorts as RFC 7049 did)."""
    if isinstance(value, Tag):
        return cbor2.CBORTag(value.tag, as_cbor2(value.value))
    if isinstance(value, list):
        return [as_cbor2(item) for item in value]
    if isinstance(value, dict):
        return {key: as_cbor2(value[key]) for key in sorted(value, key=cbor2.dumps)}
    return value


@given(VALUES)
def test_writes_what_cbor2_writes(value):
    """Our bytes are those of the independent implementation, given keys in bytewise order."""
    assert encode(value) == cbor2.dumps(as_cbor2(value))


@given(st.recursive(LEAVES, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=12))
def test_text_keys_agree_with_canonical_cbor2(value):
    """With text keys only, the two orders of keys are one, so a host may use cbor2's canonical form as it is."""
    assert encode(value) == cbor2.dumps(value, canonical=True)


@given(VALUES)
def test_reads_what_cbor2_writes(value):
    """What the independent implementation wrote comes back, and what we read encodes to the same bytes."""
    written = cbor2.dumps(as_cbor2(value))
    assert decode(written) == value
    assert encode(decode(written)) == written


@given(VALUES)
def test_cbor2_reads_what_we_write(value):
    """The independent implementation reads our bytes as the same value."""
    assert cbor2.loads(encode(value)) == as_cbor2(value)


@given(st.binary(max_size=200))
@example(b"\x9b" + b"\xff" * 8)
def test_bytes_of_anybody_are_one_encoding_or_bad_input(raw):
    """Arbitrary bytes raise BadInput, or are exactly what we would write for the value read."""
    try:
        value = decode(raw)
    except BadInput:
        return
    assert encode(value) == raw


@given(VALUES, st.data())
def test_damaged_bytes_are_one_encoding_or_bad_input(value, choice):
    """The same holds one changed, added or missing byte away from a good item."""
    raw = bytearray(encode(value))
    place = choice.draw(st.integers(0, len(raw) - 1))
    raw[place : place + choice.draw(st.integers(0, 2))] = choice.draw(st.binary(max_size=2))
    try:
        read = decode(bytes(raw))
    except BadInput:
        return
    assert encode(read) == bytes(raw)


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode()))
def test_our_utf8_rule_is_the_runtimes(raw):
    """The rule that guards MicroPython accepts exactly what CPython's strict decoder does."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        assert not utf8.is_utf8(raw)
    else:
        assert utf8.is_utf8(raw)


@pytest.mark.parametrize(("raw", "what"), VECTORS["good"])
def test_good_vectors_come_back(raw, what):
    """Each good vector is read and written back byte for byte."""
    assert encode(decode(bytes.fromhex(raw))).hex() == raw


@pytest.mark.parametrize(("raw", "what"), VECTORS["bad"])
def test_bad_vectors_are_refused(raw, what):
    """Each bad vector is refused with a sentence."""
    with pytest.raises(BadInput, match=";"):
        decode(bytes.fromhex(raw))


def test_micropython_agrees():
    """MicroPython, in a heap like the Pico's, reads and refuses the same vectors, and keeps a secret."""
    micropython = Path(sys.executable).parent / "micropython"
    argv = [str(micropython), "-X", "heapsize=190k", "-c", ON_MICROPYTHON, str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stderr, done.stdout) == ("", f"{len(VECTORS['good']) + len(VECTORS['bad']) + 2}\n")


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), 2**64, -(2**64) - 1, {1, 2}, {b"k": 1}, {True: 1}, {(1,): 1}, bytearray(b"x"), Decimal(1),
     "\ud800", {"\udfff": 1}, Secret(b"canary"), [Secret(b"canary")], Tag(tag=-1, value=0), Tag(tag=True, value=0)],
)  # fmt: skip
def test_what_has_no_form_is_refused_and_not_shown(value):
    """Fractions, huge numbers, other keys and kinds, half letters and secrets are refused, none of them shown."""
    with pytest.raises(BadInput) as caught:
        encode(value)
    assert "canary" not in str(caught.value)


def test_depth_and_length_have_limits_both_ways():
    """Sixteen levels and `limit` bytes are read and written, one more is not; a list within itself ends too."""
    value: list[object] = []
    for _ in range(15):
        value = [value]
    assert decode(encode(value), limit=16) == value
    with pytest.raises(BadInput, match="at most 15"):
        decode(encode(value), limit=15)
    with pytest.raises(BadInput, match="deeper than 16"):
        encode([value])
    value[0] = value
    with pytest.raises(BadInput, match="deeper"):
        encode(value)
    assert decode(encode([1]), depth=1) == [1]
    with pytest.raises(BadInput, match="deeper than 1"):
        decode(encode([[1]]), depth=1)


def test_a_short_claim_of_a_huge_length_costs_nothing():
    """Nine bytes that announce 2^64-1 items are refused before anything is set aside for them."""
    for start in (b"\x5b", b"\x7b", b"\x9b", b"\xbb"):
        with pytest.raises(BadInput):
            decode(start + b"\xff" * 8)


def test_only_bytes_are_read():
    """Text, views and None are refused by kind."""
    for value in ("00", bytearray(b"\x00"), memoryview(b"\x00"), None):
        with pytest.raises(BadInput, match="bytes"):
            decode(value)  # type: ignore[arg-type]


def test_head_is_the_start_of_an_item():
    """`head` writes what stands before members of an array written elsewhere."""
    assert cbor.head(4, 4) == b"\x84" and cbor.head(2, 300) == b"\x59\x01\x2c"


def test_a_secret_shows_nothing():
    """Printing, formatting, hashing, pickling and comparing give nothing away."""
    import pickle

    secret = Secret(b"canary")
    assert f"{secret} {secret!r} {[secret]}" == "<secret> <secret> [<secret>]"
    assert secret == Secret(b"canary") and secret != Secret(b"canarx") and secret != b"canary"
    assert secret.reveal() == b"canary"
    for leak in (pickle.dumps, hash):
        with pytest.raises(TypeError):
            leak(secret)


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_the_slow_compare_is_equality(a, b):
    """What MicroPython compares with says the same as ==."""
    assert same_slowly(a, b) == (a == b) and same_slowly(a, a)

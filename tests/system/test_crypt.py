"""The shim over libcrypt: every scheme of a shadow file is checked, none is taken for another."""

import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.errors import BadInput
from agent.system import crypt
from tests.credentials.images import SCHEMES, hashed

ENTROPY = bytes(range(32))
# Test vectors of the SHA-crypt specification, of crypt_blowfish, and of OpenSSL's MD5 crypt.
VECTORS = {
    "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5": "Hello world!",
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1": (
        "Hello world!"
    ),
    "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW": "U*U",
    "$1$saltstr$QM9HTGmcCulEKt42JFhZ/.": "Hello world!",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_recognised(scheme):
    """The right password matches, a near one does not, in each scheme that a shadow file can hold."""
    made = hashed("raspberr", scheme)  # eight letters: DES looks at no more
    assert crypt.matches("raspberr", made)
    assert not any(crypt.matches(wrong, made) for wrong in ("Raspberr", "raspber", "", " raspberr"))
    assert crypt.strength(made) in (crypt.STRONG, crypt.LEGACY)


@pytest.mark.parametrize("vector", VECTORS)
def test_published_vectors(vector):
    """What other implementations computed is computed here."""
    assert crypt.matches(VECTORS[vector], vector)
    assert not crypt.matches(VECTORS[vector] + "!", vector)


@pytest.mark.parametrize("field", ["", "!", "*", "!!", "x", "*0", "*1", "!$6$abc$def", "$6$", "$unknown$a$b", "\0"])
def test_what_is_no_hash_opens_to_nothing(field):
    """Locked, damaged and empty fields match no password, not even the empty one or themselves."""
    for password in ("", "x", field.replace("\0", "")):
        assert not crypt.matches(password, field)


@given(st.text(max_size=60), st.text(max_size=700))
@settings(max_examples=150, deadline=None)
def test_any_text_is_answered(field, password):
    """Whatever stands in a shadow file or is typed: an answer, never an error."""
    assert crypt.matches(password, field) in (True, False)
    assert crypt.strength(field) in crypt.STRENGTHS


def test_costly_schemes_are_known_as_such():
    """The schemes made slow on purpose are told from the quick ones."""
    assert {name for name in SCHEMES if crypt.costly(hashed("raspberry", name))} == {
        "yescrypt", "gost-yescrypt", "scrypt", "bcrypt", "bcrypt-y", "sha1",
    }  # fmt: skip


def test_a_salt_needs_entropy_and_a_scheme():
    """Too little entropy and an unknown scheme are refused; two salts differ."""
    with pytest.raises(BadInput, match="16 bytes"):
        crypt.salt("$6$", b"short")
    with pytest.raises(BadInput, match="no salt"):
        crypt.salt("$nothing$", ENTROPY)
    assert crypt.salt("$y$", os.urandom(32)) != crypt.salt("$y$", os.urandom(32))


def test_patient_work_is_nicer_than_its_caller():
    """The work runs at lower priority, the caller keeps its own, results and errors come back."""
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    got = crypt.patiently(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    assert got == crypt.PATIENCE > mine
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine
    with pytest.raises(ZeroDivisionError):
        crypt.patiently(lambda: 1 // 0)


def test_des_is_des():
    """Published examples of single DES, both ways; a key or block of another length is refused."""
    key, plain, made = (bytes.fromhex(word) for word in ("133457799bbcdff1", "0123456789abcdef", "85e813540f0ab405"))
    assert crypt.des(key, plain) == made and crypt.des(key, made, back=True) == plain
    assert crypt.des(bytes(8), bytes(8)).hex() == "8ca64de9c1b123a7"
    with pytest.raises(BadInput, match="8 bytes"):
        crypt.des(b"short", plain)

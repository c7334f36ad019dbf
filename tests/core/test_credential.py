"""Rotations cannot skip a step, secrets are even and typeable, lists are read strictly."""

import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core import credential as c
from agent.core.errors import BadInput
from agent.core.secret import Secret
from tests.house import ROOT

KINDS = ("linux_account", "ssh_host_key")


@given(st.sampled_from(c.STATES), st.sampled_from(c.STANDINGS))
def test_every_state_over_every_standing_ends(state, standing):
    """From wherever a cut leaves a credential, the acts lead to the end, with the old one gone unless it was alien."""
    acts = []
    for _ in range(6):
        act = c.next_act(state, standing)
        if act == c.DONE:
            break
        acts.append(act)
        standing = c.NEW if act == c.INSTALL else standing
        state = c.next_state(act)
    assert c.next_act(state, standing) == c.DONE
    assert standing != c.OLD
    assert len(acts) <= 5


def test_the_whole_way_is_add_prove_durable_clean():
    """A factory credential goes through every act in the one right order."""
    state, standing, acts = c.FACTORY, c.OLD, []
    while (act := c.next_act(state, standing)) != c.DONE:
        acts.append(act)
        standing = c.NEW if act == c.INSTALL else standing
        state = c.next_state(act)
    assert acts == [c.STAGE, c.INSTALL, c.PROVE, c.CLEAN]
    assert state == c.RETIRED


def test_nothing_is_put_in_that_the_owner_could_not_know():
    """No state without a kept secret ever leads to putting one in."""
    for standing in c.STANDINGS:
        assert c.next_act(c.FACTORY, standing) != c.INSTALL
        assert c.next_act(c.RETIRED, standing) != c.INSTALL


@pytest.mark.parametrize("state", [*c.STATES, "", "half"])
def test_an_unknown_standing_or_state_is_refused(state):
    """A damaged record stops the rotation with a sentence instead of guessing."""
    with pytest.raises(BadInput, match="start the device again"):
        c.next_act(state, "sideways" if state in c.STATES else c.OLD)
    with pytest.raises(BadInput):
        c.next_state(c.DONE)


def test_the_gate_is_first_and_last():
    """Phases: shut, each kind, prove, open, provisioned; then nothing more."""
    phase, seen = "", []
    while phase != c.PROVISIONED:
        phase = c.next_phase(phase, KINDS)
        seen.append(phase)
    assert seen == ["shut", "rotate linux_account", "rotate ssh_host_key", "prove", "open", "provisioned"]
    assert c.next_phase(c.PROVISIONED, KINDS) == c.PROVISIONED


@given(st.text(max_size=30))
def test_any_recorded_phase_but_the_last_begins_at_the_gate(phase):
    """Whatever a cut or damage left as the phase, the gate is shut again first."""
    assert c.resume(phase) == (c.PROVISIONED if phase == c.PROVISIONED else c.SHUT)
    assert c.next_phase("rotate something forgotten", KINDS) == c.SHUT


@given(st.binary(min_size=c.ENTROPY, max_size=c.ENTROPY))
def test_a_secret_is_readable_and_typeable(entropy):
    """Four groups of five letters, none that looks like another or moves between keyboards."""
    try:
        secret = c.generate(entropy)
    except BadInput:
        assert sum(byte < 255 for byte in entropy) < c.GROUPS * c.GROUP
        return
    text = secret.reveal().decode()
    assert [len(group) for group in text.split(" ")] == [c.GROUP] * c.GROUPS
    assert set(text.replace(" ", "")) <= set(c.LETTERS)
    assert not set(c.LETTERS) & set("iloamqwyz0123456789")
    assert text not in repr(secret) and text not in f"{secret}"


def test_a_secret_has_more_than_eighty_bits():
    """The claim in BITS is what the letters give."""
    assert len(set(c.LETTERS)) ** (c.GROUPS * c.GROUP) > 2**c.BITS > 2**80


def test_generated_secrets_are_all_different_and_on_no_list():
    """10,000 of them, from nothing but fresh randomness: none twice, none a known password."""
    known = {password for _, password in c.read_pairs((ROOT / "agent/credentials/factory_passwords.txt").read_text())}
    made = [c.generate(os.urandom(c.ENTROPY)).reveal().decode() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert not known & {form for one in made for form in (one, one.replace(" ", ""))}


def test_no_letter_is_likelier_than_another():
    """Over all byte values each letter appears equally often: no modulo bias."""
    seen = Counter()
    for byte in range(256):
        try:
            seen.update(c.generate(bytes([byte]) * 20).reveal().decode().replace(" ", ""))
        except BadInput:
            assert byte == 255
    assert len(seen) == len(c.LETTERS)
    assert len(set(seen.values())) == 1


def test_too_little_entropy_is_refused():
    """A short read of entropy gives no short secret."""
    with pytest.raises(BadInput, match="too few"):
        c.generate(b"\x01" * 19)
    with pytest.raises(BadInput):
        c.generate(b"\xff" * 200)


def test_candidates_try_the_users_own_first():
    """Its own pairs, its name, an empty one, then all others; none twice."""
    pairs = (("root", "toor"), ("pi", "raspberry"), ("pi", "pi"), ("admin", "toor"), ("pi", "last"))
    assert c.candidates("pi", pairs) == ("raspberry", "pi", "last", "", "toor")
    assert c.candidates("eve", pairs) == ("eve", "", "toor", "raspberry", "pi", "last")


@given(st.lists(st.tuples(st.text(st.characters(exclude_characters=":\n\r"), min_size=1), st.text())))
def test_candidates_hold_every_password_once(pairs):
    """No password of the list is left out, none is tried twice."""
    made = c.candidates("pi", tuple(pairs))
    assert len(made) == len(set(made))
    assert set(made) == {"pi", ""} | {password for _, password in pairs}


def test_pairs_are_read_as_written():
    """Comments and empty lines are left out; a password may hold a colon, a hash, spaces, or nothing."""
    text = "# a list\n\nroot:\nadmin:a:b\r\nx:#1 \n"
    assert c.read_pairs(text) == (("root", ""), ("admin", "a:b"), ("x", "#1 "))
    with pytest.raises(BadInput, match="correct the list"):
        c.read_pairs("root toor")


def test_recognise_stops_at_the_match_and_hides_it():
    """The first match is returned wrapped; nothing after it is tried; no match is None."""
    tried = []

    def check(password, hashed):
        tried.append(password)
        return password == hashed

    assert c.recognise("b", ("a", "b", "c"), check) == Secret(b"b")
    assert tried == ["a", "b"]
    assert c.recognise("z", ("a",), check) is None


def test_a_found_credential_shows_no_secret():
    """What was found prints its label and the reason, never the password."""
    found = c.Found(kind="k", label="pi", reason="known", owner=True, old=Secret(b"raspberry"), trace=b"t")
    assert "raspberry" not in repr(found)

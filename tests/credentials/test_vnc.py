"""The vnc kind: which files hold a password, what 8 characters mean, and how a server is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.credential import ENTROPY, OTHER
from agent.core.errors import BadInput, Failed, Missing
from agent.core.secret import Secret
from agent.credentials import BACK, SHIPPED
from agent.credentials import vnc as kind
from agent.system import crypt
from agent.system.parts import Credential
from agent.system.simulated.programs import x11vnc
from tests.credentials.products import PRODUCTS, at_vnc, fresh

GIVEN = Secret(b"bcdBCD23")
# What vncpasswd of TigerVNC 1.12 wrote for "raspberry" and, for looking only, "viewonly1".
REAL = bytes.fromhex("c3abbea3b003a0b23b33820a27ba4dd0")
HOME = "/home/pi/.vnc/passwd"


def device(blob=None):
    """Make a device with a running server, and another password file when given."""
    system = PRODUCTS["vnc"].made()
    if blob is not None:
        system.edit(x11vnc.FILE, blob)
    return system


def reasons(system, params=None, memory=None):
    """Return label and reason of what is found, without the advice."""
    found = kind.find(system, params or {}, memory or fresh())
    assert all(one.reason.endswith(kind.ADVICE) for one in found)
    return {one.label: one.reason.removesuffix(kind.ADVICE) for one in found}


def later():
    """Return what a kind remembers on a device that was provisioned once."""
    memory = fresh()
    memory.first = False
    return memory


def test_the_module_is_a_credential():
    """It has the shape that first boot asks for, and needs no params."""
    part: Credential = kind
    assert part.PARAMS == ()


def test_files_are_those_of_the_real_program():
    """What vncpasswd wrote is read, cut at 8 characters as VNC does, and written alike."""
    assert kind.passwords(REAL) == (b"raspberr", b"viewonly")
    assert kind.hidden(b"raspberry") + kind.hidden(b"viewonly1") == REAL


@given(st.binary(max_size=12).filter(lambda word: b"\0" not in word))
def test_what_is_hidden_is_shown(password):
    """The form of a file is undone, up to the 8 characters that count."""
    assert kind.shown(kind.hidden(password)) == password[:8]


@given(st.binary(min_size=ENTROPY, max_size=ENTROPY))
def test_a_new_password_fits(entropy):
    """Eight characters that are not mistaken for one another, whatever the entropy; too little of it is refused."""
    made = kind.generate(entropy + entropy).reveal().decode()
    assert len(made) == 8 and set(made) <= set(kind.LETTERS)
    with pytest.raises(BadInput, match="too few"):
        kind.generate(entropy[:7])


def test_the_alphabet_is_what_the_text_says():
    """42 distinct characters make 43 bits."""
    assert len(set(kind.LETTERS)) == len(kind.LETTERS) == 42 and 42**8 > 2**43


@given(st.lists(st.binary(max_size=20), max_size=6), st.sampled_from([b"", b"RFB 003.008\n", b"RFB 003.003\n\0\0\0\2"]))
def test_any_server_is_heard_out(parts, greeting):
    """Whatever a server says in whatever portions, the conversation ends and says yes, no or nothing."""
    talk = kind.login(b"word")
    assert next(talk) == b""
    verdict = None
    try:
        for part in (greeting, *parts, b"", b"", b"", b""):
            talk.send(part)
    except StopIteration as end:
        verdict = end.value
    assert verdict in (True, False, None)


@pytest.mark.parametrize("version", [b"003", b"007", b"008", b"889"])
def test_every_version_is_spoken(version):
    """Servers of RFB 3.3, 3.7, 3.8 and Apple's odd number are answered in their own words."""
    challenge = bytes(range(16))
    key = kind.mirrored(kind.cut(b"word"))
    expected = crypt.des(key, challenge[:8]) + crypt.des(key, challenge[8:])
    talk = kind.login(b"word")
    next(talk)
    answer = talk.send(b"RFB 003.%s\n" % version)
    if version == b"003":
        assert answer == b"RFB 003.003\n"
        assert talk.send(b"\0\0\0\2") == b""
    else:
        assert answer == min(b"RFB 003.%s\n" % version, kind.VERSION)
        assert talk.send(b"\2\x12\2") == b"\2"
    assert talk.send(challenge) == expected
    with pytest.raises(StopIteration) as end:
        talk.send(b"\0\0\0\0")
    assert end.value.value is True


def test_homes_and_more_files():
    """Files in every home and in the usual places are found, and those that the profile names; other sizes are none."""
    system = device(kind.hidden(b"my own"))
    system.edit(
        "/etc/passwd",
        b"pi:x:1000:1000::/home/pi:/bin/sh\nann:x:1001:1001::/home/ann/:/bin/sh\nodd:x:1\nslash:x:2:2::/:/x\n",
    )
    system.edit(HOME, kind.hidden(b"raspberry"), mode=0o600, uid=1000, gid=1000)
    system.edit("/home/ann/.config/tigervnc/passwd", kind.hidden(b"password"))
    system.edit("/etc/vncpasswd", b"seven..")
    system.edit("/srv/secret", kind.hidden(b"12345678"))
    found = reasons(system, {"files": ("/srv/secret",)}, later())
    assert found == dict.fromkeys(("/home/ann/.config/tigervnc/passwd", "/srv/secret", HOME), kind.KNOWN)
    (pi,) = [one for one in kind.find(system, {}, later()) if one.label == HOME]
    kind.replace(system, {}, pi, GIVEN)
    stat = system.stat(HOME)
    assert (stat.uid, stat.gid, stat.mode, stat.size) == (1000, 1000, 0o600, 8)


def test_until_provisioned_every_password_is_the_images():
    """A password on no list goes too at the first boot, unless the profile says that the owner set it."""
    blob, label = kind.hidden(b"my own"), x11vnc.FILE
    assert reasons(device(blob)) == {label: SHIPPED}
    assert reasons(device(blob), {"shipped": "known"}) == {} == reasons(device(blob), memory=later())
    assert reasons(device(blob), {"factory": ("x:my own",)}, later()) == {label: kind.KNOWN}
    assert reasons(device(kind.hidden(b"my own") + kind.hidden(b"raspberry")), memory=later()) == {label: kind.KNOWN}


def test_a_retired_password_that_is_back():
    """What this device retired is found whenever it is back; what it made itself is left alone."""
    blob, memory = kind.hidden(b"my own"), fresh()
    system = device(blob)
    (found,) = kind.find(system, {}, memory)
    kind.replace(system, {}, found, GIVEN)
    kind.remember(system, {}, found, memory)
    assert reasons(system, memory=memory) == {}
    memory.first = False
    system.edit(x11vnc.FILE, blob)
    assert reasons(system, memory=memory) == {x11vnc.FILE: BACK}


def test_a_server_that_goes_by_the_old_one_is_noticed():
    """A server that takes the factory's password fails the proof, unless another file has it whose turn comes."""
    system = device()
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, {}, found, GIVEN)
    system.edit("/srv/old", kind.hidden(b"raspberry"))
    system.running("x11vnc")[0].argv = ("/usr/bin/x11vnc", "-rfbauth", "/srv/old")
    with pytest.raises(Failed, match="a VNC server on port 5900 goes by the factory password"):
        kind.prove(system, {}, found, GIVEN)
    kind.prove(system, {"ports": (5901,)}, found, GIVEN)
    kind.prove(system, {"files": ("/srv/old",)}, found, GIVEN)
    system.running("x11vnc")[0].argv = ("/usr/bin/x11vnc", "-rfbauth", x11vnc.FILE)
    kind.prove(system, {}, found, GIVEN)
    assert at_vnc(system, GIVEN.reveal()) and not at_vnc(system, b"raspberry")
    assert not at_vnc(system, b"look")  # the second password of the file is gone with it


def test_a_file_that_is_gone():
    """A file that somebody removed is another's doing."""
    system = device()
    (found,) = kind.find(system, {}, fresh())
    system.remove(x11vnc.FILE)
    assert kind.standing(system, {}, found, GIVEN) == OTHER
    kind.clean(system, {}, found)
    with pytest.raises(Missing, match="is gone"):
        kind.prove(system, {}, found, GIVEN)


@pytest.mark.parametrize("params", [{"shipped": "x"}, {"files": "/x"}, {"files": ("x",)}])
def test_wrong_params_are_refused(params):
    """Values of another form are refused and the sentence says what to correct."""
    with pytest.raises(BadInput, match=r"vnc: .*correct the profile"):
        kind.find(device(), params, fresh())


@pytest.mark.parametrize("ports", [(0,), 5900, ("5900",), (True,)])
def test_wrong_ports_are_refused(ports):
    """Ports are a list of numbers."""
    with pytest.raises(BadInput, match=r"vnc: ports .*correct the profile"):
        kind.ports({"ports": ports})

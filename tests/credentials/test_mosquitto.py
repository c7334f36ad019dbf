"""The mosquitto kind: which users are found, how its files are read, and what its proof believes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.credential import OTHER
from agent.core.errors import BadInput, Failed, Missing
from agent.core.secret import Secret
from agent.credentials import BACK, BLANK, KNOWN, SHIPPED
from agent.credentials import mosquitto as kind
from agent.system.parts import Credential
from tests.credentials.products import MOSQUITTO, PASSWD, PRODUCTS, at_broker, field, fresh

NEW = Secret(b"bcdef ghjkn prstu vxbcd")
# Made by mosquitto_passwd 2.0.11 (`-U`), and in the form of mosquitto 1 by the same program (`-H sha512`).
REAL = (
    "$7$101$nMnpU0j75J8PV9NQ$4F2Dss9x/y+bxpaQTF1x0J+9tYfHMN2JHuXfY+QuEyNtWocjZO1YHvBOC/JrsEZkBFU92HCV5uQ3bmkbWgQ2Vg=="
)
DAMAGED = (
    "",
    "raspberry",
    "$7$",
    "$7$101$a$b",
    "$7$0$AAAA$AAAA",
    "$7$x$AAAA$AAAA",
    "$6$AAAA",
    "$8$AAAA$AAAA",
    "$7$101$é$AAAA",
)


def device(users=None):
    """Make a device with a running broker, and other users when given."""
    system = PRODUCTS["mosquitto"].made()
    if users is not None:
        system.edit(PASSWD, users)
        system.reload("mosquitto", "/run/mosquitto/mosquitto.pid")
    return system


def reasons(system, params=None, memory=None):
    """Return label and reason of what is found."""
    return {found.label: found.reason for found in kind.find(system, params or {}, memory or fresh())}


def test_the_module_is_a_credential():
    """It has the shape that first boot asks for, and needs no params."""
    part: Credential = kind
    assert part.PARAMS == ()


def test_the_arithmetic_is_the_brokers():
    """A hash that the real program made fits its password and no other; damage fits nothing."""
    assert kind.matches("raspberry", REAL) and not kind.matches("raspberrz", REAL)
    for damaged in DAMAGED:
        assert not kind.matches("raspberry", damaged) and not kind.matches("", damaged)
    assert not kind.matches("x", f"$7${kind.SLOWEST + 1}$AAAA$AAAA")


@given(st.binary(min_size=1, max_size=80), st.binary(min_size=12, max_size=12))
def test_what_is_hashed_matches(password, salt):
    """A new field fits the password it was made of, and no longer one."""
    made = kind.hashed(password, salt).decode()
    assert kind.matches(password.decode("utf-8", "surrogateescape"), made)
    assert not kind.matches(password.decode("utf-8", "surrogateescape") + "x", made)


@given(st.binary(max_size=300), st.binary(min_size=1, max_size=8))
def test_another_field_moves_no_other_byte(blob, user):
    """Of any file whatever, giving one user another field changes that user's lines and nothing else."""
    made = kind.changed(blob, user, b"$7$1$AAAA$AAAA")
    before, after = blob.split(b"\n"), made.split(b"\n")
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert old == new or (old.startswith(user + b":") and new == user + b":$7$1$AAAA$AAAA")
    rest = {name: fields for name, fields in kind.read_users(blob).items() if name != user}
    assert rest == {name: fields for name, fields in kind.read_users(made).items() if name != user}


@given(st.lists(st.binary(max_size=9), max_size=5))
def test_any_answer_is_read(parts):
    """Whatever bytes in whatever portions come back, the conversation ends and says a code or nothing."""
    talk = kind.connect(b"user", b"password" * 40)
    assert next(talk)[:1] == b"\x10"
    code = None
    try:
        for part in (*parts, b"", b""):
            talk.send(part)
    except StopIteration as end:
        code = end.value
    assert code is None or 0 <= code < 256


def test_known_users_alone():
    """A known password, the user's own name and an empty one are found; a private one is not, until asked for all."""
    users = b"a:%s\nb:%s\nc:%s\nd:%s\nbroken:raspberry\n" % (
        field(b"raspberry"), field(b"b"), field(b""), field(b"private"),
    )  # fmt: skip
    assert reasons(device(users)) == {"a": KNOWN, "b": KNOWN, "c": BLANK}
    everyone = reasons(device(users), {"shipped": "all"})
    assert everyone == {"a": KNOWN, "b": KNOWN, "c": BLANK, "d": SHIPPED, "broken": SHIPPED}
    assert reasons(device(b"d:%s\n" % field(b"private")), {"factory": ("d:private",)}) == {"d": KNOWN}


def test_what_was_looked_at_is_remembered():
    """A private user is tried against the list once, again when it grows; a retired line that is back is found."""
    system, memory = device(b"d:%s\n" % field(b"private")), fresh()
    assert reasons(system, memory=memory) == {} and len(memory.cleared) == 1
    assert reasons(system, {"factory": ("d:private",)}, memory) == {"d": KNOWN}
    (found,) = kind.find(system, {"factory": ("d:private",)}, memory)
    kind.replace(system, {}, found, NEW)
    kind.remember(system, {}, found, memory)
    memory.first = False
    system.edit(PASSWD, b"d:%s\n" % field(b"private"))
    memory.cleared.clear()
    assert reasons(system, memory=memory) == {"d": BACK}


def test_several_files_and_a_user_twice():
    """Users of further password files are told apart, and each line of a user that stands twice is replaced."""
    system = device(b"a:%s\n#a:x\na:%s\n" % (field(b"a"), field(b"other")))
    system.edit("/etc/mosquitto/mosquitto.conf", MOSQUITTO + b"include_dir /etc/mosquitto/conf.d\n")
    system.edit("/etc/mosquitto/conf.d/more.conf", b"listener 1884\npassword_file /srv/more\n")
    system.edit("/etc/mosquitto/conf.d/loop.conf", b"include_dir /etc/mosquitto/conf.d\n")
    system.edit("/srv/more", b"a:%s\n" % field(b"admin"))
    assert set(reasons(system)) == {"a", "a in /srv/more"}
    for found in kind.find(system, {}, fresh()):
        kind.replace(system, {}, found, NEW)
    assert system.read(PASSWD).count(b"$7$101$") == 2 and b"#a:x" in system.read(PASSWD)
    assert reasons(system) == {}


def test_only_plain_doors_within_reach_are_tried():
    """Listeners with TLS, for web sockets, on a Unix socket or on another address are not spoken to."""
    lines = [
        *(("listener", "1883"), ("listener", "8883"), ("certfile", "x"), ("keyfile", "y"), ("listener", "9001")),
        *(("protocol", "websockets"), ("listener", "1884 192.0.2.7"), ("listener", "0 /run/x")),
        *(("listener", "1885 ::1"), ("listener", "")),
    ]
    assert kind.doors(lines) == (1883, 1885)
    assert kind.doors([("listener", "1886"), ("certfile", "x")]) == (1886,), "without its key it takes all in the clear"
    assert kind.doors([]) == (1883,)
    assert kind.doors([("port", "1999")]) == (1999,)
    assert kind.doors([("port", "1999"), ("bind_address", "192.0.2.7")]) == ()


def test_a_broker_that_goes_by_the_old_file_is_noticed():
    """The proof asks the running broker: one that did not read again fails it, though the file is right."""
    system = device()
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, {}, found, NEW)
    assert at_broker(system, b"raspberry") and not at_broker(system, NEW.reveal())
    system.edit("/run/mosquitto/mosquitto.pid", b"")
    with pytest.raises(Failed, match="does not go by the new password"):
        kind.prove(system, {}, found, NEW)
    for process in system.running("mosquitto"):
        system.stop(process.pid)
    kind.prove(system, {}, found, NEW)  # nobody listens: the file is what counts


def test_a_user_who_is_gone():
    """A user whom somebody removed is another's doing: nothing is put in, and the sentence says so."""
    system = device()
    (found,) = kind.find(system, {}, fresh())
    system.edit(PASSWD, b"")
    assert kind.standing(system, {}, found, NEW) == OTHER
    kind.clean(system, {}, found)
    with pytest.raises(Missing, match="the MQTT user sensor is gone"):
        kind.replace(system, {}, found, NEW)


def test_copies_lose_the_old_line_alone():
    """A copy keeps the other users' lines; an editor's own form that names the user is removed; others stay."""
    system = device()
    system.edit(PASSWD + ".bak", b"other:x\n")
    system.edit("/etc/mosquitto/.passwd.swp", b"b0VIM sensor\0")
    (found,) = kind.find(system, {}, fresh())
    old = kind.read_users(system.read(PASSWD))[b"sensor"][0]
    kind.replace(system, {}, found, NEW)
    kind.clean(system, {}, found)
    assert system.entries("/etc/mosquitto") == ("mosquitto.conf", "passwd", "passwd.bak", "passwd~")
    assert old not in system.read(PASSWD + "~") and b"mine:" in system.read(PASSWD + "~")


@pytest.mark.parametrize("params", [{"shipped": "some"}, {"factory": "x"}, {"configuration": 7}])
def test_wrong_params_are_refused(params):
    """Values of another form change nothing and say what to correct."""
    with pytest.raises(BadInput, match=r"mosquitto: .*correct the profile"):
        kind.find(device(), params, fresh())

"""The node_red kind: hashes in a program that is never rewritten, and an editor that counts refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.credential import OTHER
from agent.core.errors import BadInput, Failed, Missing
from agent.core.secret import Secret
from agent.credentials import BACK, KNOWN, SHIPPED
from agent.credentials import node_red as kind
from agent.system.parts import Credential
from agent.system.simulated.programs import node_red as editor
from tests.credentials.products import PRODUCTS, SETTINGS, at_node_red, bcrypt, fresh

GIVEN = Secret(b"bcdef ghjkn prstu vxbcd")
CHEAP = {"cost": 4}
EXAMPLE = "$2a$08$zZWtXTja0fB1pzD4sHCMyOCMYz2Z6dNbM6tl8sJogENOMcxWV9DN."  # of the settings that ship, in a comment
OTHERS = bcrypt("my own secret")
PIECES = st.sampled_from(
    [*("//", "/*", "*/", '"', "'", "`", "\\", "\n", "/", "[", "]", "(", "= ", "{", "}", "adminAuth: ", "é", "x", " "),
     'username: "a"', f'password: "{EXAMPLE}"', f"pass: '{OTHERS}'"]
)  # fmt: skip
PROGRAMS = st.lists(PIECES, max_size=25).map("".join)


def device(program=None):
    """Make a device with a running Node-RED, and other settings when given."""
    system = PRODUCTS["node_red"].made()
    if program is not None:
        system.edit(editor.FILE, program.encode("utf-8", "surrogateescape"))
    return system


def reasons(system, params=None, memory=None):
    """Return label and reason of what is found."""
    return {found.label: found.reason for found in kind.find(system, params or {}, memory or fresh())}


def test_the_module_is_a_credential():
    """It has the shape that first boot asks for, and needs no params."""
    part: Credential = kind
    assert part.PARAMS == ()


def test_the_example_in_the_comment_is_none():
    """Of the settings that ship only what is in force is found; a comment may stand in a string or pattern."""
    (one,) = kind.read_entries("/x", SETTINGS % OTHERS)
    assert (one.user, one.section, one.field) == ("pi", "adminAuth", OTHERS)


@given(PROGRAMS, st.sampled_from([EXAMPLE, OTHERS]))
def test_of_any_program_only_hashes_change(program, old):
    """Whatever the program, its length stays, and where it differs the old hash stood and the new one stands."""
    new = bcrypt("new")
    made = kind.put(program, old, new)
    assert len(made) == len(program) == len(kind.bare(program))
    assert made.replace(new, old) == program.replace(new, old)
    assert [one.place for one in kind.read_entries("", made)] == [one.place for one in kind.read_entries("", program)]
    assert old not in [one.field for one in kind.read_entries("", made)]


def test_a_hash_of_another_form_is_not_put_in():
    """What is not sixty letters of bcrypt would break the program, and is refused."""
    for wrong in ("", OTHERS[:-1] + '"', OTHERS + "x"):
        with pytest.raises(Failed, match="no bcrypt hash"):
            kind.put(SETTINGS % OTHERS, OTHERS, wrong)


def test_every_door_of_the_file():
    """The editor's users, and the one of the pages, are told apart; the same name again gets another label."""
    users = "".join('{ username: "%s", password: "%s" },' % (name, bcrypt("raspberry")) for name in ("pi", "pi"))
    pages = "httpNodeAuth: {user:\"pi\", pass:'%s'}" % bcrypt("raspberry")
    program = 'module.exports = { adminAuth: { users: [%s] }, %s, x: {a: "%s"} }' % (users, pages, bcrypt("raspberry"))
    place = f"in {editor.FILE}"
    labels = [f"- (httpNodeAuth) {place}", f"pi (httpNodeAuth) {place}", f"pi {place}", f"pi {place} again"]
    assert reasons(device(program)) == dict.fromkeys(labels, KNOWN)


def test_who_is_found():
    """A private password stays, unless the maker says that the image brings it or names it."""
    program, label = SETTINGS % OTHERS, f"pi in {editor.FILE}"
    assert reasons(device(program)) == {}
    assert reasons(device(program), {"shipped": "all"}) == {label: SHIPPED}
    assert reasons(device(program), {"factory": ("pi:my own secret",)}) == {label: KNOWN}
    memory = fresh()
    assert reasons(device(program), memory=memory) == {} and len(memory.cleared) == 1
    memory.first = False
    memory.retired.update(one.mark() for one in kind.entries(device(program), {}).values())
    memory.cleared.clear()
    assert reasons(device(program), memory=memory) == {label: BACK}


def test_open_logins_are_forgotten():
    """Tokens that were given for the old password are gone, and the file keeps its owner."""
    system = device()
    system.edit("/home/pi/.node-red/.sessions.json", b"{}", uid=1000)
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, CHEAP, found, GIVEN)
    assert system.entries("/home/pi/.node-red") == ("settings.js", "settings.js.bak")
    assert system.stat(editor.FILE).uid == 1000


def test_copies_get_the_new_hash():
    """The copy beside the file is mended where the old hash stood, and else as it was."""
    system = device()
    before, old = system.read(editor.FILE + ".bak"), bcrypt("raspberry").encode()
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, CHEAP, found, GIVEN)
    kind.clean(system, {}, found)
    assert system.read(editor.FILE + ".bak") == system.read(editor.FILE) != before
    assert old not in system.read(editor.FILE + ".bak")


def test_an_editor_that_goes_by_the_old_one():
    """A running Node-RED that nobody starts again fails the proof, and is not shut by our tries."""
    system = device()
    (found,) = kind.find(system, {}, fresh())
    kind.replace(system, CHEAP, found, GIVEN)
    system.edit("/run/nodered.pid", b"")
    with pytest.raises(Failed, match="does not go by the new password"):
        kind.prove(system, {}, found, GIVEN)
    assert max(system.running("node-red")[0].state.refused.values(), default=0) < editor.LIMIT
    assert at_node_red(system, b"raspberry")
    system.stop(system.running("node-red")[0].pid)
    kind.prove(system, {}, found, GIVEN)


def test_a_password_that_is_gone():
    """Settings that somebody rewrote are another's doing."""
    system = device()
    (found,) = kind.find(system, {}, fresh())
    system.edit(editor.FILE, b"module.exports = {}")
    assert kind.standing(system, {}, found, GIVEN) == OTHER
    kind.clean(system, {}, found)
    with pytest.raises(Missing, match="is gone; start the device again"):
        kind.replace(system, CHEAP, found, GIVEN)


def test_wrong_params_are_refused():
    """Values of another form are refused and the sentence says what to correct."""
    system = device()
    (found,) = kind.find(system, {}, fresh())
    with pytest.raises(BadInput, match="cost is a number"):
        kind.replace(system, {"cost": 99}, found, GIVEN)
    with pytest.raises(BadInput, match="files is a list"):
        kind.find(system, {"files": "/x"}, fresh())

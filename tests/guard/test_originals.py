"""Originals are there before the change, whenever power goes; what was recorded too late is caught."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agent import registry
from agent.core.plan import Own, Remove, Write
from agent.guard import originals, restore
from agent.guard.executor import apply
from agent.system.door import System
from agent.system.parts import Step
from agent.system.simulated import SimulatedSystem

# What restore does not bring back: new passwords, new host keys, Privet's own memory, empty folders of drop-ins.
NEW = ("/etc/shadow", "/etc/passwd", "/etc/.pwd.lock", "/etc/ssh/ssh_host_", "/var/lib/privet", "/etc/privet")
SETTINGS = registry.settings()
Tree = dict[str, tuple[bytes, object]]


def tree(system: SimulatedSystem) -> Tree:
    """Return every file on the disk with content and rights, without what may differ."""
    return {
        path: (bytes(node.content), node.rights)
        for path, node in system.disk.walk()
        if not node.volatile and node.kind != "directory" and not path.startswith(NEW)
    }


WRITES = (
    Write(path="/etc/x/a", content=b"ours\n", mode=0o600, uid=0, gid=0),
    Own(path="/etc/x/keep", mode=0o600, uid=0, gid=0),
    Write(path="/etc/x.d/zz-privet.conf", content=b"ours\n", mode=0o644, uid=0, gid=0),
)


def small(steps: tuple[Step, ...] = ()) -> SimulatedSystem:
    """Give a device with two files, after these steps."""

    def lay(system: SimulatedSystem) -> None:
        system.edit("/etc/x/a", b"first", mode=0o640, gid=4)
        system.edit("/etc/x/keep", b"")
        system.hand.directory("/var/lib/privet", 0o700)

    system = SimulatedSystem(image=lay, shipped=False)
    apply(system, steps)
    return system


def files_back(system: SimulatedSystem) -> None:
    """Restore what has no daemons."""
    wanted = restore.plan(system)
    restore.release(system)
    assert restore.carry_out(system, wanted) == ()


def test_power_may_go_at_any_call_of_restoring():
    """After a cut anywhere a second restore ends as the first would have: no record goes before all is back."""
    files = tree(small())
    calls = small(WRITES).count(files_back)
    for lose in ("all", "none"):
        for k in range(1, calls + 1):
            system = small(WRITES)
            assert system.kill_at(k, files_back, lose)
            system.sweep(["/etc/x", "/etc/x.d"])
            files_back(system)
            assert tree(system) == files, k
    assert calls > 30


def test_the_record_is_durable_before_the_change():
    """Power goes at each call while files are changed: restoring then still brings the image back."""
    files = tree(small())
    calls = small().count(lambda system: apply(system, WRITES))
    for lose in ("all", "none", "torn"):
        for k in range(1, calls + 1):
            system = small()
            assert system.kill_at(k, lambda system: apply(system, WRITES), lose)
            system.sweep(["/etc/x", "/etc/x.d", originals.FOLDER])
            files_back(system)
            assert tree(system) == files, k
    assert calls > 30


def test_a_record_that_comes_after_the_change_is_caught():
    """The twin records once the change is made: some cut leaves a change without its original."""
    files = tree(small())

    def late(system: System) -> None:
        """Apply, then record what is already ours."""
        apply(system, WRITES, lambda system, steps: None)
        originals.record(system, WRITES)

    lost = 0
    for k in range(1, small().count(late) + 1):
        system = small()
        assert system.kill_at(k, late, "all")
        files_back(system)
        lost += tree(system) != files
    assert lost


ACTS = st.sampled_from(["write", "own", "remove"])
NAMES = st.sampled_from(["a", "b", "privet-c"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ACTS, NAMES, st.binary(max_size=4), st.sampled_from([0o600, 0o644])), max_size=12))
def test_whatever_we_do_to_files_comes_back(acts: list[tuple[str, str, bytes, int]]):
    """Any steps on files, in any order, and nobody else: afterwards all is byte for byte as before."""
    system = SimulatedSystem(shipped=False)
    system.edit("/etc/x/a", b"first", mode=0o640, gid=4)
    system.edit("/etc/x/keep", b"")
    before = tree(system)
    for act, name, content, mode in acts:
        path = f"/etc/x/{name}"
        if act == "write":
            apply(system, (Write(path=path, content=content, mode=mode, uid=0, gid=0),))
        elif act == "remove":
            apply(system, (Remove(path=path),))
        elif name in system.entries("/etc/x"):
            apply(system, (Own(path=path, mode=mode, uid=0, gid=0),))
    files_back(system)
    assert tree(system) == before

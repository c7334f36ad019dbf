"""What was recorded before the first change puts a device back as it was; without the record it does not."""

from collections.abc import Callable

from agent import registry
from agent.core.original import UNIT, thing
from agent.core.plan import Own, Run, Write
from agent.guard import originals, restore
from agent.guard.executor import apply
from agent.guard.posture import Posture
from agent.guard.setup import RELEASED
from agent.system.door import System
from agent.system.parts import Step
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.programs.sysctl import matching
from provisioning.simulate.pi import CHEAP, raspberry_pi
from tests.guard.conftest import Kept

# What restore does not bring back: passwords, host keys, the device's numbers and name, Privet's own memory.
NEW: tuple[str, ...] = (
    "/etc/shadow",
    "/etc/passwd",
    "/etc/.pwd.lock",
    "/etc/ssh/ssh_host_",
    "/var/lib/privet",
    "/etc/privet",
)
NEW += (
    "/etc/machine-id",
    "/etc/hostname",
    "/etc/hosts",
    "/var/lib/systemd/random-seed",
    "/var/lib/dbus/machine-id",
    "/boot/",
)
SETTINGS = registry.settings()
Tree = dict[str, tuple[bytes, object]]


def tree(system: SimulatedSystem) -> Tree:
    """Return every file on the disk with content and rights, without what may differ."""
    return {
        path: (bytes(node.content), node.rights)
        for path, node in system.disk.walk()
        if not node.volatile and node.kind != "directory" and not path.startswith(NEW)
    }


def live(system: SimulatedSystem) -> dict[str, str]:
    """Return the kernel's values, which units run, and whether our table is loaded."""
    keys = {key for pattern in ("kernel/*", "fs/*", "net/*/conf/*/*") for key in matching(system, pattern)}
    keys.discard("kernel/hostname")  # a neutral name stays, as new keys do
    found = {key: system.read(originals.PROC + key).decode().strip() for key in keys}
    shown = system.run(("systemctl", "show", "--property=ActiveState", "--", "bluetooth.service"))
    found["bluetooth"] = shown.out.decode().strip()
    found["table"] = str(restore.ours_loaded(system))
    return found


def everything(system: System, value: Callable[[str], object], recorder: object = originals.record) -> list[str]:
    """Bring every setting to a value of choice, as the guard does; returns the settings that were changed."""
    posture, done = Posture(system, SETTINGS, {}), []
    for name in sorted(SETTINGS):
        wanted = value(name)
        if not posture.probe(SETTINGS[name]).absent:
            apply(system, posture.steps(name, wanted), recorder)  # type: ignore[arg-type]
            done.append(name)
    return done


def strictest(name: str) -> object:
    """Return the private option."""
    return SETTINGS[name].strictest()


def pi() -> SimulatedSystem:
    """Give a Raspberry Pi that runs, with all that its image opens."""
    system = SimulatedSystem(image=raspberry_pi(CHEAP))
    system.hand.directory("/var/lib/privet", 0o700)
    return system


def back(system: SimulatedSystem) -> tuple[str, ...]:
    """Restore as the command does."""
    wanted = restore.plan(system)
    restore.release(system)
    return restore.carry_out(system, wanted)


def test_every_setting_goes_there_and_back():
    """All settings enforced, then restored: files byte for byte with rights, kernel, units, firewall as before."""
    system = pi()
    files, running = tree(system), live(system)
    changed = everything(system, strictest)
    assert len(changed) >= 18
    assert tree(system) != files
    assert live(system) != running
    assert back(system) == ()
    assert tree(system) == files
    assert live(system) == running
    assert system.entries(originals.FOLDER) == ()


def test_a_guard_that_forgets_to_record_is_caught():
    """The twin applies without recording: nothing can be put back, and the comparison says so."""
    system = pi()
    files = tree(system)
    everything(system, strictest, lambda system, steps: None)
    back(system)
    assert tree(system) != files


def test_a_recorder_that_comes_too_late_is_caught():
    """The twin records after the change: what it keeps is ours, and stays."""
    system = pi()
    running = live(system)

    def late(system: System, steps: tuple[Step, ...]) -> None:
        apply(system, steps, lambda system, steps: None)
        originals.record(system, steps)

    everything(system, strictest, late)
    back(system)
    assert live(system) != running


def test_a_whole_guard_leaves_a_device_that_can_be_put_back(fresh: Kept):
    """First boot, a waiver, its end: afterwards restore brings everything back but what it says it does not."""
    files, running = tree(fresh.system), live(fresh.system)
    fresh.start()
    fresh.loosen("radio.bluetooth", "on")
    fresh.ask("tighten", setting="radio.bluetooth")
    fresh.loosen("kernel.dmesg", "0")
    fresh.stop()
    wanted = restore.plan(fresh.system)
    opens = {setting.id for setting in restore.opened(fresh.system, wanted)}
    assert opens >= {"firewall.inbound", "ssh.password", "radio.bluetooth"}
    assert back(fresh.system) == ()
    assert tree(fresh.system) == files
    assert live(fresh.system) == running


def test_what_somebody_else_changed_stays_beside():
    """A file of ours that was edited is removed, one of theirs gets its old content; copies stay beside."""
    system = pi()
    system.edit("/etc/app.conf", b"old\n", mode=0o640, gid=4)
    steps = (Write(path="/etc/app.conf", content=b"ours\n", mode=0o600, uid=0, gid=0),)
    apply(system, (*steps, Write(path="/etc/app.d/privet.conf", content=b"ours\n", mode=0o644, uid=0, gid=0)))
    system.edit("/etc/app.conf", b"theirs\n")
    system.edit("/etc/app.d/privet.conf", b"theirs too\n")
    said = " ".join(restore.described(item) for item in restore.plan(system).items)
    assert "/etc/app.conf gets its former content back; somebody else has changed it since: a copy stays as" in said
    assert back(system) == ()
    assert system.read("/etc/app.conf") == b"old\n"
    assert (system.stat("/etc/app.conf").mode, system.stat("/etc/app.conf").gid) == (0o640, 4)
    assert system.read("/etc/app.conf.privet-kept") == b"theirs\n"
    assert system.entries("/etc/app.d") == ("privet.conf.privet-kept",)


def test_the_first_state_counts():
    """However often we write, the original is the one from before the first time."""
    system = pi()
    system.edit("/etc/app.conf", b"old\n")
    for content in (b"one\n", b"two\n", b"one\n"):
        apply(system, (Write(path="/etc/app.conf", content=content, mode=0o644, uid=0, gid=0),))
    assert back(system) == ()
    assert system.read("/etc/app.conf") == b"old\n"
    assert "app.conf.privet-kept" not in system.entries("/etc")


def test_ours_from_an_older_version_is_removed():
    """A file with our name that stood before records were kept was not there before us."""
    system = pi()
    step = Write(path="/etc/sysctl.d/zz-privet-x.conf", content=b"# x\n", mode=0o644, uid=0, gid=0)
    system.edit(step.path, step.content)
    apply(system, (step,))
    assert back(system) == ()
    assert "zz-privet-x.conf" not in system.entries("/etc/sysctl.d")


def test_guarding_ends_first():
    """The marker is durable before anything is put back."""
    system = pi()
    everything(system, strictest)
    restore.release(system)
    system.crash("all")
    assert system.read(RELEASED)


def test_one_thing_that_fails_does_not_keep_the_others():
    """A file that became a folder is told; the rest is back, and the record of the failed one stays for another try."""
    system = pi()
    system.edit("/etc/app.conf", b"old\n")
    system.edit("/etc/other.conf", b"old\n")
    for path in ("/etc/app.conf", "/etc/other.conf"):
        apply(system, (Write(path=path, content=b"ours\n", mode=0o644, uid=0, gid=0),))
    system.hand.discard("/etc/app.conf")
    system.hand.directory("/etc/app.conf")
    failed = back(system)
    assert len(failed) == 1
    assert "/etc/app.conf is not a file any more; move it away" in failed[0]
    assert system.read("/etc/other.conf") == b"old\n"
    system.hand.discard("/etc/app.conf")
    assert back(system) == ()
    assert system.read("/etc/app.conf") == b"old\n"


def test_a_damaged_record_is_named():
    """Rot in one record is told with what to do, and hides no other."""
    system = pi()
    for path in ("/etc/app.conf", "/etc/other.conf"):
        apply(system, (Write(path=path, content=b"ours\n", mode=0o644, uid=0, gid=0),))
    system.edit(originals.path_of(thing("file", "/etc/app.conf")), b"\xff")
    wanted = restore.plan(system)
    assert len(wanted.lost) == len(wanted.items) == 1
    assert "is damaged; keep a copy" in wanted.lost[0]


def test_access_lists():
    """A home with an access list loses it to the setting, whatever it gave to what is made there, and gets all back."""
    system = pi()
    given = b"\2\0\0\0 who may read", b"\2\0\0\0 who may read what is made here"
    system.hand.rights("/home/pi", 0o755, 1000, 1000)
    system.list_access("/home/pi", *given)
    setting = SETTINGS["files.home"]
    posture = Posture(system, {"files.home": setting}, {"files.home": setting.strictest()})
    assert posture.probe(setting).live == "*"
    apply(system, posture.steps("files.home", setting.strictest()))
    assert (system.access_lists("/home/pi"), system.stat("/home/pi").mode) == ((b"", b""), 0o700)
    assert posture.probe(setting).live == setting.strictest()
    assert "/home/pi gets its access list back" in [restore.described(item) for item in restore.plan(system).items]
    assert back(system) == ()
    assert (system.access_lists("/home/pi"), system.stat("/home/pi").mode) == (given, 0o755)


def test_rights_and_units():
    """Rights that somebody else changed since are told; a unit that did not run is stopped again."""
    system = pi()
    system.edit("/etc/app.conf", b"x", mode=0o644)
    apply(system, (Own(path="/etc/app.conf", mode=0o600, uid=0, gid=0),))
    apply(system, (Run(argv=("systemctl", "start", "wayvnc.service"), stdin=b""),))
    system.own("/etc/app.conf", 0o666, 0, 0)
    items = {item.kept.thing.name: item for item in restore.plan(system).items}
    assert restore.described(items["/etc/app.conf"]).endswith("back (0644); somebody else has changed it since")
    assert restore.described(items["wayvnc.service"]) == "wayvnc.service stops, as before"
    assert back(system) == ()
    assert system.stat("/etc/app.conf").mode == 0o644
    found = originals.look(system, thing(UNIT, "wayvnc.service"))
    assert found is not None
    assert found.form == "inactive"

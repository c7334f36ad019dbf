"""The SSH provider on the simulated device: what it reads, what it does, what it costs, and that it misses nobody."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import registry
from agent.core.assess import Reading, assess
from agent.core.plan import Write
from agent.core.record import Value, replace
from agent.core.setting import Setting
from agent.guard.executor import apply
from agent.providers.linux import sshd_option
from agent.system.door import Outcome, Stat
from agent.system.simulated.openssh import Broken, Configuration
from agent.system.simulated.programs import ssh, sshd
from agent.system.simulated.system import SimulatedSystem

MAIN = "/etc/ssh/sshd_config"
DROP = "/etc/ssh/sshd_config.d"
PASSWD = b"root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\nftp:x:8:8::/srv:/usr/sbin/nologin\n"
GROUP = b"root:x:0:\nsudo:x:27:pi\npi:x:1000:\nftp:x:8:\n"
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sshd_option.json").read_text())
SSH = {name: s for name, s in registry.settings().items() if s.provider == "sshd_option" and s.enforce}


class Counted(SimulatedSystem):
    """A device that counts the programs it is asked to run."""

    runs = 0

    def run(self, argv: tuple[str, ...], stdin: bytes = b"", seconds: int = 20) -> Outcome:
        """Count, and run."""
        self.runs += 1
        return super().run(argv, stdin, seconds)


def device(files: dict[str, str | None] | None = None) -> Counted:
    """Make a device whose server has loaded these files."""

    def image(made: SimulatedSystem) -> None:
        made.edit("/etc/passwd", PASSWD)
        made.edit("/etc/group", GROUP)
        for path, content in (files or {}).items():
            if content is None:
                made.hand.discard(path)
            else:
                made.edit(path, content.encode())

    return Counted(image=image)


def probe(made: SimulatedSystem, option: str) -> Reading:
    """Probe one option."""
    return sshd_option.probe(made, {"option": option})


def enforce(made: SimulatedSystem, setting: Setting, value: Value) -> None:
    """Bring a setting to a value, as the guard does."""
    params = sshd_option.prepare(made, setting.params)
    apply(made, sshd_option.steps(params, value))


def plain(value: Any) -> Any:
    """Turn a value of a vector into that of a setting."""
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_vectors(vector: dict[str, Any]) -> None:
    """Each state of the files reads as written down."""
    reading = probe(device(vector["files"]), vector["option"])
    assert (reading.kept, reading.live) == (plain(vector["kept"]), plain(vector["live"])), reading
    assert (reading.kept is None) <= bool(reading.cause)


@pytest.mark.parametrize("name", sorted(SSH))
def test_every_option_of_every_setting_can_be_made_to_hold(name: str) -> None:
    """probe(apply(steps(v))) is at least as strict as v; a second time nothing changes; removing our file undoes it."""
    setting = SSH[name]
    lattice = setting.lattice()
    for option in setting.options:
        made = device()
        before = probe(made, str(setting.params["option"]))
        enforce(made, setting, option.value)
        reading = probe(made, str(setting.params["option"]))
        assert reading.live is not None and lattice.leq(reading.live, option.value), reading
        assert reading.kept is not None and lattice.leq(reading.kept, option.value), reading
        files = {path: made.read(path) for path in (MAIN, sshd_option.drop_in(setting.params))}
        enforce(made, setting, option.value)
        assert {path: made.read(path) for path in files} == files
        made.reboot()
        assert probe(made, str(setting.params["option"])).kept == reading.kept
        made.remove(sshd_option.drop_in(setting.params))
        made.reload("ssh.service", "/run/sshd.pid")
        assert probe(made, str(setting.params["option"])) == before


def test_strictest_everywhere_is_ok_and_the_owner_keeps_the_key() -> None:
    """With all SSH settings at their strictest every finding is ok, passwords are refused, a key still enters."""
    made = device({"/etc/shadow": "root:*:1::::::\npi::1::::::\n"})
    for setting in SSH.values():
        enforce(made, setting, setting.strictest())
    for setting in SSH.values():
        reading = registry.provider("sshd_option").probe(made, setting.params)
        assert assess(setting, setting.strictest(), reading, (), made.clock()).status == "ok", reading
    assert not ssh.login(made, "pi", "")
    made.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/run/key"))
    made.edit("/home/pi/.ssh/authorized_keys", made.read("/run/key.pub"))
    words = ("-o", "IdentityFile=/run/key", "-o", "PreferredAuthentications=publickey")
    assert made.run(("ssh", *words, "-l", "pi", "--", "127.0.0.1", "true")).code == 0


def test_an_unchanged_device_runs_no_program() -> None:
    """Once everything was looked at, looking again runs nothing; an edit is noticed all the same."""
    made = device()
    first = {name: probe(made, str(s.params["option"])) for name, s in SSH.items()}
    assert made.runs > 0
    made.runs = 0
    made.tick(300)
    assert {name: probe(made, str(s.params["option"])) for name, s in SSH.items()} == first
    assert made.runs == 0
    made.edit(f"{DROP}/a.conf", b"PermitRootLogin yes\n")
    assert probe(made, "PermitRootLogin").kept == "yes"
    assert made.runs > 0


def test_a_server_that_was_not_reloaded_is_judged_by_what_it_loaded() -> None:
    """Seen before, its old ways are known exactly; the reload brings it to its files."""
    made = device({f"{DROP}/a.conf": "PermitRootLogin forced-commands-only\n"})
    assert probe(made, "PermitRootLogin").live == "forced-commands-only"
    made.edit(f"{DROP}/a.conf", b"PermitRootLogin no\n")
    reading = probe(made, "PermitRootLogin")
    assert (reading.live, reading.kept) == ("forced-commands-only", "no")
    assert "before they changed" in reading.cause
    made.reload("ssh.service", "/run/sshd.pid")
    assert probe(made, "PermitRootLogin") == Reading(live="no", kept="no", cause="", absent=False)


def test_cold_and_not_reloaded_the_door_is_tried() -> None:
    """Never seen before: what the door shows open is open, what it does not show is unknown; nothing is left."""
    made = device({f"{DROP}/a.conf": "PermitRootLogin yes\nX11Forwarding yes\n"})
    made.hand.directory("/root/.ssh", 0o700)
    made.edit(f"{DROP}/a.conf", b"PermitRootLogin no\nPasswordAuthentication no\n")
    for option, live in (("PermitRootLogin", "yes"), ("PasswordAuthentication", "yes"), ("Forwarding", None)):
        assert probe(made, option).live == live
    assert made.entries("/root/.ssh") == made.entries("/run/privet-door") == ()


def test_a_key_file_of_the_owner_is_not_touched() -> None:
    """The door of root is not tried where that would change a file of the owner; then it is unknown."""
    made = device({f"{DROP}/a.conf": "PermitRootLogin yes\n", "/root/.ssh/authorized_keys2": "mine\n"})
    made.edit(f"{DROP}/a.conf", b"PermitRootLogin no\n")
    assert probe(made, "PermitRootLogin").live is None
    assert made.read("/root/.ssh/authorized_keys2") == b"mine\n"


def test_accounts_that_change_are_noticed() -> None:
    """A group that opens passwords counts as soon as somebody is in it."""
    made = device({f"{DROP}/a.conf": "PasswordAuthentication no\nMatch Group guests\nPasswordAuthentication yes\n"})
    assert probe(made, "PasswordAuthentication").kept == "no"
    made.edit("/etc/group", GROUP + b"guests:x:99:pi\n")
    reading = probe(made, "PasswordAuthentication")
    assert (reading.live, reading.kept) == ("yes", "yes")
    assert "Match Group guests" in reading.cause


def test_causes_name_the_place() -> None:
    """The cause says which line of which file, which Match, or which command line it is."""
    made = device({f"{DROP}/a.conf": "\nPermitRootLogin=yes\n"})
    assert f"'PermitRootLogin yes' in line 2 of {DROP}/a.conf" in probe(made, "PermitRootLogin").cause
    made = device({"/etc/default/ssh": "SSHD_OPTS=-oPermitRootLogin=yes\n"})
    assert "-o PermitRootLogin=yes in the unit ssh.service" in probe(made, "PermitRootLogin").cause
    made = device({f"{DROP}/a.conf": "PermitRootLogin no\n"})
    sshd.launch(made, ("/usr/sbin/sshd", "-p", "2222", "-o", "PermitRootLogin yes", "-o", "PidFile=/run/2.pid"))
    reading = probe(made, "PermitRootLogin")
    assert (reading.live, reading.kept) == ("yes", "no")
    assert "command line of process" in reading.cause


def test_not_installed_is_absent_and_stopped_is_shut() -> None:
    """Without the program the setting is absent; with it and no server running, only the files can open anything."""
    made = device()
    made.stop(made.running("sshd")[0].pid)
    reading = probe(made, "PasswordAuthentication")
    assert (reading.live, reading.kept) == ("no", "yes")
    made.hand.discard("/usr/sbin/sshd")
    assert probe(made, "PasswordAuthentication").absent


def test_a_broken_configuration_does_not_stop_the_server() -> None:
    """The steps test the configuration before the reload, so a foreign mistake costs nobody the way in."""
    made = device()
    made.edit(f"{DROP}/a.conf", b"NoSuchOption 1\n")
    with pytest.raises(Exception, match="sshd failed"):
        enforce(made, SSH["ssh.root"], "no")
    assert made.running("sshd")


@pytest.mark.parametrize(
    "main", ["PermitRootLogin yes\n", "Match all\nPermitRootLogin yes\n", f"Match User x\nInclude {DROP}/*.conf\n"]
)
def test_prepare_puts_our_line_first_when_needed(main: str) -> None:
    """The main file is rewritten only when our drop-in would not be read first, and only once."""
    made = device({MAIN: main})
    enforce(made, SSH["ssh.root"], "no")
    assert made.read(MAIN) == b"Include /etc/ssh/sshd_config.d/000-privet-*.conf\n" + main.encode()
    assert probe(made, "PermitRootLogin").kept == "no"
    assert sshd_option.prepare(made, SSH["ssh.root"].params) == SSH["ssh.root"].params
    shipped = device()
    steps = sshd_option.steps(sshd_option.prepare(shipped, SSH["ssh.root"].params), "no")
    assert [s.path for s in steps if isinstance(s, Write)] == [f"{DROP}/000-privet-permitrootlogin.conf"]


def test_watches_follow_the_includes() -> None:
    """Once seen, a directory that is included from elsewhere is watched too."""
    made = device({MAIN: "Include /srv/more/*.conf\n", "/srv/more/a.conf": ""})
    assert "/srv/more" not in sshd_option.watches({"option": "PermitRootLogin"})
    probe(made, "PermitRootLogin")
    assert {"/srv/more", "/etc/ssh", "/run"} <= set(sshd_option.watches({"option": "PermitRootLogin"}))


@given(st.text(alphabet="Match Use\n\"'\\=#*,!/0125.:\t -PermitRootLogin", max_size=200))
def test_no_file_makes_the_probe_fail(text: str) -> None:
    """Whatever stands in a file, the probe answers; and never stricter than a server that accepts the file."""
    made = device({f"{DROP}/a.conf": text})
    reading = probe(made, "PermitRootLogin")
    server = Configuration(made.read, made.entries)
    try:
        server.load(MAIN, ())
    except (Broken, ValueError):
        assert reading.kept is None
        return
    theirs = server.effective({"user": "root", "addr": "8.8.8.8"}, ("root",))["permitrootlogin"]
    word = {"without-password": "prohibit-password"}.get(theirs, theirs)
    assert reading.kept is None or SSH["ssh.root"].lattice().leq(word, reading.kept), reading


def test_what_changed_while_the_server_began_is_not_taken_for_loaded() -> None:
    """At first sight, a change as near to the server's number as reading the files takes shows nothing; a reload does.

    Its twin: the same change, and then a server that has read it.
    """
    words = ("AllowTcpForwarding", "X11Forwarding", "AllowAgentForwarding", "AllowStreamLocalForwarding")
    shut = "".join(f"{word} no\n" for word in words).encode()
    for loads, live in ((False, None), (True, ())):
        made = device({MAIN: "AllowTcpForwarding yes\n"})
        made.edit(MAIN, shut)
        if loads:
            made.reload("ssh.service", "/run/sshd.pid")
        else:
            made.edit("/run/sshd.pid", made.read("/run/sshd.pid"))
        reading = probe(made, "Forwarding")
        assert (reading.live, reading.kept) == (live, ()), reading


class Slow(SimulatedSystem):
    """A device that keeps its first programs waiting; its server notes its number 0.1 s after its files change."""

    waits = 0

    def run(self, argv: tuple[str, ...], stdin: bytes = b"", seconds: int = 20) -> Outcome:
        """Take 0.2 s while the device is busy."""
        if argv[0].endswith("sshd") and self.waits:
            self.waits -= 1
            time.sleep(0.2)
        return super().run(argv, stdin, seconds)

    def stat(self, path: str) -> Stat:
        """Give the number's file its time."""
        found = super().stat(path)
        return replace(found, changed=found.changed + 10**8) if path == "/run/sshd.pid" else found


@pytest.mark.parametrize(("waits", "live"), [(1, ()), (99, None)])
def test_a_busy_moment_is_not_what_reading_takes(waits: int, live: Value | None) -> None:
    """How long reading takes is timed anew before a change near the server's start is called unknown.

    The twin is a device on which it always takes longer than what lies between the two.
    """
    words = ("AllowTcpForwarding", "X11Forwarding", "AllowAgentForwarding", "AllowStreamLocalForwarding")
    made = Slow()
    made.edit(MAIN, "".join(f"{word} no\n" for word in words).encode())
    made.edit("/run/sshd.pid", made.read("/run/sshd.pid"))
    made.waits = waits
    assert probe(made, "Forwarding").live == live
    assert made.waits < waits

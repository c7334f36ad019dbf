"""Kernel values, sudo, file rights, units and the log on a light device: the real programs say what is true."""

import pytest

from tests.device.enforced import enforce, look
from tests.device.lab import Device

PI = "/etc/sudoers.d/010_pi-nopasswd"


def may(device: Device, user: str, *command: str) -> bool:
    """Say whether sudo runs a command for a user who gives no password."""
    return device.run(["runuser", "-u", user, "--", "sudo", "-n", *command]).returncode == 0


def redirects(device: Device) -> set[str]:
    """Return all values of accept_redirects the kernel has."""
    return set(device.must(["sh", "-c", "cat /proc/sys/net/ipv?/conf/*/accept_redirects"]).split())


def test_network_values_hold_in_the_kernel_and_in_the_files(device: Device) -> None:
    """Every interface gets the value; one loose interface is found; a stranger's explicit line loses to ours."""
    device.must(["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"])
    device.must(["sysctl", "-q", "-w", "net.ipv4.conf.lan0.accept_redirects=1"])
    assert look(device, "net.redirects")["live"] == "1"
    device.write("/etc/sysctl.d/50-mine.conf", "net.ipv4.conf.lan0.accept_redirects = 1\n")
    assert enforce(device, "net.redirects", "0") == ""
    assert redirects(device) == {"0"}
    assert look(device, "net.redirects") == {"live": "0", "kept": "0", "cause": "", "absent": False}
    device.must(["sysctl", "-q", "-w", "net.ipv6.conf.lan1.accept_redirects=1"])
    assert look(device, "net.redirects")["live"] == "1"
    assert look(device, "net.redirects")["kept"] == "0"


def test_what_the_files_say_is_what_systemd_sets(device: Device) -> None:
    """Our reading of sysctl.d agrees with systemd-sysctl itself, for masks, order, patterns, exclusions, separators."""
    key = "net/ipv4/conf/lo/accept_redirects"
    cases = [
        {"10-a.conf": "net.ipv4.conf.lo.accept_redirects=1", "20-b.conf": f"{key}=0"},
        {"10-a.conf": f"{key}=1", "20-b.conf": "net.ipv4.conf.*.accept_redirects=0"},
        {"10-a.conf": "net.ipv4.conf.*.accept_redirects=0", "20-b.conf": "-net.ipv4.conf.lo.accept_redirects=1"},
        {"10-a.conf": "net/ipv4/conf/*/accept_redirects = 0\n-net/ipv4/conf/all/accept_redirects"},
        {"10-a.conf": f"{key}=1\n; {key}=0\n#{key}=0", "b": f"{key}=0"},
        {"10-a.conf": f"{key}=0", "/usr/lib/sysctl.d/10-a.conf": f"{key}=1"},
        {"20-a.conf": f"{key}=0", "/usr/lib/sysctl.d/30-a.conf": f"{key}=1"},
        {"99-z.conf": f"{key}=0", "/etc/sysctl.conf": f"{key}=1"},
        {"zz.conf": f"{key}=0", "/etc/sysctl.conf": f"{key}=1"},
    ]
    script = (
        "import json, sys\nfrom agent.system import sysctl_files as sysctl\nfrom agent.system.real import RealSystem\n"
        "print(json.dumps(sysctl.after_start(sysctl.lines(RealSystem()), sys.argv[1])))"
    )
    device.must(["mkdir", "-p", "/run/systemd/system"])
    for case in cases:
        for other in ("0", "1"):
            device.must(["sh", "-c", "rm -f /etc/sysctl.d/*0-* /etc/sysctl.d/[bz]* /usr/lib/sysctl.d/[1-3]0-a.conf"])
            device.write("/etc/sysctl.conf", "")
            for name, text in case.items():
                device.write(name if name.startswith("/") else f"/etc/sysctl.d/{name}", text + "\n")
            device.must(["sysctl", "-q", "-w", f"net.ipv4.conf.lo.accept_redirects={other}"])
            device.must(["/usr/lib/systemd/systemd-sysctl"])
            ours = device.ask(script, key)
            theirs = device.read(f"/proc/sys/{key}").strip()
            assert theirs == (other if ours is None else ours), case


@pytest.mark.parametrize(
    "line",
    [
        "pi ALL=(ALL) NOPASSWD: ALL",
        "User_Alias A = pi\nA ALL = NOPASSWD: ALL",
        "%sudo ALL=(ALL) NOPASSWD: /bin/ls, ALL",
        "Defaults !authenticate",
        "Defaults:pi !authenticate",
        "Defaults exempt_group=pi",
        "pi ALL=(ALL) NOPASSWD: ALL\npi ALL=(ALL) NOTAFTER=20200101000000Z PASSWD: ALL",
    ],
)
def test_sudo_asks_again(device: Device, line: str) -> None:
    """What ran unasked asks for a password after the steps, seen by real sudo; removing our file undoes it."""
    device.write(PI, line + "\n", 0o440)
    assert may(device, "pi", "id")
    assert look(device, "sudo.nopasswd")["live"]
    assert enforce(device, "sudo.nopasswd", []) == ""
    assert not may(device, "pi", "id")
    assert look(device, "sudo.nopasswd") == {"live": [], "kept": [], "cause": "", "absent": False}
    device.must(["runuser", "-u", "pi", "--", "sh", "-c", "echo raspberry | sudo -S -p '' id"])
    assert enforce(device, "sudo.nopasswd", []) == ""
    device.must(["visudo", "-c"])
    device.remove("/etc/sudoers.d/zz-privet-nopasswd")
    assert may(device, "pi", "id")


def test_sudo_rules_said_again_grant_what_they_granted(device: Device) -> None:
    """Tags, refusals, groups, several users and runas: sudo allows each user the same before and after, but asks."""
    device.must(["useradd", "-m", "-G", "users", "eve"])
    device.must(["useradd", "-m", "bob"])
    device.write(
        PI,
        "pi ALL=(ALL) NOPASSWD: ALL\n"
        "pi,%users ALL=(root:adm) NOEXEC: /bin/ls -l \\:x, !/bin/su\n"
        "bob ALL=(pi) NOPASSWD: /bin/cat /etc/x\\,y, /usr/bin/id\nbob ALL = !/usr/bin/id\n",
        0o440,
    )
    before = granted(device)
    assert {True, False} == set(before.values())
    assert may(device, "bob", "-u", "pi", "id")
    assert enforce(device, "sudo.nopasswd", []) == ""
    assert granted(device) == before
    assert not may(device, "bob", "-u", "pi", "id")
    assert look(device, "sudo.nopasswd")["live"] == []


def granted(device: Device) -> dict[str, bool]:
    """Ask sudo which of some commands each user may run as whom, password or not."""
    found = {}
    commands = ("/bin/su", "/bin/ls", "/bin/ls -l :x", "/usr/bin/id", "/bin/cat /etc/x,y", "/bin/cat /etc/x")
    for user in ("pi", "bob", "eve"):
        for runas in ("root", "pi"):
            for command in commands:
                done = device.run(["sudo", "-l", "-U", user, "-u", runas, *command.split()])
                found[f"{user} as {runas}: {command}"] = done.returncode == 0
    return found


def test_a_right_taken_away_does_not_live_on_in_our_file(device: Device) -> None:
    """When a rule goes, our repetition of it is outdated: that is a finding, and enforcing takes it away."""
    device.write(PI, "bob ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    device.must(["useradd", "-m", "bob"])
    assert enforce(device, "sudo.nopasswd", []) == ""
    device.remove(PI)
    assert look(device, "sudo.nopasswd")["live"] == ["outdated:zz-privet-nopasswd"]
    assert enforce(device, "sudo.nopasswd", []) == ""
    assert look(device, "sudo.nopasswd")["live"] == []
    assert "not allowed" in device.must(["sudo", "-l", "-U", "bob"])


def test_the_only_administrator_is_not_locked_out(device: Device) -> None:
    """Where nobody has a password to become root with, nothing is changed, and it says so."""
    device.write(PI, "pi ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    device.must(["passwd", "-q", "-l", "pi"])
    assert "no password" in enforce(device, "sudo.nopasswd", [])
    assert may(device, "pi", "id")
    assert look(device, "sudo.nopasswd")["live"] == ["pi:ALL"]


def test_a_broken_sudoers_is_unknown_not_fine(device: Device) -> None:
    """Rules that sudo's own reader refuses are never taken for strict."""
    device.write(PI, "pi ALL=(ALL NOPASSWD ALL\n", 0o440)
    found = look(device, "sudo.nopasswd")
    assert found["live"] is None and "visudo -c" in found["cause"]


def test_one_password_counts_for_one_terminal(device: Device) -> None:
    """The image's global ticket is found; afterwards it is not; without an end is the loosest."""
    assert look(device, "sudo.ticket")["live"] == "terminal"
    device.write(PI, "Defaults timestamp_type=global\n", 0o440)
    assert look(device, "sudo.ticket")["live"] == "global"
    assert enforce(device, "sudo.ticket", "terminal") == ""
    assert look(device, "sudo.ticket")["live"] == "terminal"
    device.write(PI, "Defaults timestamp_timeout=-1\n", 0o440)
    assert look(device, "sudo.ticket")["live"] == "forever"
    assert enforce(device, "sudo.ticket", "terminal") == ""
    assert look(device, "sudo.ticket")["live"] == "terminal"


def test_rights_of_files(device: Device) -> None:
    """Loosened by chmod, chown or a link in its place, found; set back; somebody else then cannot read."""
    for name, value, path, mode in (
        ("files.shadow", "root:shadow:0640", "/etc/shadow", "644"),
        ("files.ssh_host_keys", "root:root:0600", "/etc/ssh/ssh_host_ed25519_key", "644"),
        ("files.home", "self:self:0700", "/home/pi", "755"),
    ):
        device.must(["chmod", mode, path])
        assert look(device, name)["live"].endswith(mode)
        assert enforce(device, name, value) == ""
        assert look(device, name)["live"] == look(device, name)["kept"] == value
        assert device.run(["runuser", "-u", "nobody", "--", "ls", f"{path}/."]).returncode != 0
        assert device.run(["runuser", "-u", "nobody", "--", "cat", path]).returncode != 0
    device.must(["chown", "pi", "/etc/ssh/ssh_host_ed25519_key"])
    assert look(device, "files.ssh_host_keys")["live"] == "pi:root:0600"
    assert enforce(device, "files.ssh_host_keys", "root:root:0600") == ""
    device.must(["sh", "-c", "mv /etc/shadow /etc/shadow.old && ln -s shadow.old /etc/shadow"])
    assert look(device, "files.shadow")["live"] == "*"
    assert enforce(device, "files.shadow", "root:shadow:0640") != ""


def test_units_offline(device: Device) -> None:
    """Without a running systemd the files decide; what systemd-analyze makes of our drop-in is a false condition."""
    unit = "/usr/lib/systemd/system/avahi-daemon.service"
    device.must(["cp", "/usr/bin/sleep", "/usr/sbin/avahi-daemon"])
    text = "[Unit]\nDescription=x\n[Service]\nExecStart=/usr/sbin/avahi-daemon 1000\n"
    device.write(unit, text + "[Install]\nWantedBy=multi-user.target\n")
    assert look(device, "mdns.announce") == {"live": "off", "kept": "off", "cause": "", "absent": False}
    device.must(["systemctl", "--root=/", "enable", "avahi-daemon.service"])
    assert look(device, "mdns.announce")["kept"] == "on"
    assert enforce(device, "mdns.announce", "off") == ""
    assert look(device, "mdns.announce")["kept"] == "off"
    device.must(["systemd-analyze", "verify", "--recursive-errors=no", unit])
    device.write("/etc/systemd/system/avahi-daemon.service.d/zzz.conf", "[Unit]\nConditionPathExists=\n")
    assert look(device, "mdns.announce")["kept"] == "on"
    device.must(["systemctl", "--root=/", "mask", "avahi-daemon.service"])
    assert look(device, "mdns.announce")["kept"] == "off"
    sleeper = device.spawn(["/usr/sbin/avahi-daemon", "1000"])
    device.must(["systemctl", "--root=/", "unmask", "avahi-daemon.service"])
    for _ in range(50):
        if look(device, "mdns.announce")["live"] == "on":
            break
    assert look(device, "mdns.announce")["live"] == "on"
    device.must(["pkill", "-x", "avahi-daemon"])
    sleeper.wait()
    for pipe in (sleeper.stdin, sleeper.stdout, sleeper.stderr):
        assert pipe is not None
        pipe.close()


def test_the_log_is_read_as_systemd_reads_it(device: Device) -> None:
    """Our order of journald's files is that of systemd-analyze cat-config; spans mean what systemd says they mean."""
    device.write("/usr/lib/systemd/journald.conf.d/40-a.conf", "[Journal]\nStorage=volatile\nMaxRetentionSec=1week\n")
    device.write("/etc/systemd/journald.conf.d/50-b.conf", "[Journal]\nStorage=persistent\nForwardToSyslog=no\n")
    device.write("/run/systemd/journald.conf.d/50-b.conf", "[Journal]\nStorage=none\n")
    script = (
        "import json\nfrom agent.providers.linux import journald\nfrom agent.system.real import RealSystem\n"
        "print(json.dumps(journald.configuration(RealSystem())[0]))"
    )
    shown = device.must(["systemd-analyze", "cat-config", "systemd/journald.conf"])
    pairs = [line.split("=", 1) for line in shown.splitlines() if "=" in line and not line.startswith("#")]
    assert device.ask(script) == dict(pairs)
    assert look(device, "log.storage")["kept"] == "persistent"
    assert look(device, "log.retention")["kept"] == 38  # a week, and the month that one file may span
    spans = ["7day", "1month 2d", "2h30min", "90", "1y", "3 weeks", "1w2d", "500ms", "1.5h"]
    script = "import json, sys\nfrom agent.system.spans import microseconds\n"
    script += "print(json.dumps([microseconds(span) for span in sys.argv[1:]]))"
    ours = device.ask(script, *spans)
    for span, mine in zip(spans, ours, strict=True):
        line = next(x for x in device.must(["systemd-analyze", "timespan", span]).splitlines() if "s: " in x)
        assert mine == int(line.split()[-1]), span

"""The life of an installed package on a booted device: drift, reboot, upgrade, a broken firewall, removal."""

from pathlib import Path

from tests.boot.lab import HERE, Booted, Lab
from tests.boot.shipped import LATE, active, findings, login, loose, newer, privet, status
from tests.house import ROOT

SSH = "/etc/ssh/sshd_config.d/00-mine.conf"
LOOSE = "Match all\n    PasswordAuthentication yes\n"
FIREWALL = "/etc/privet/firewall/inbound.json"
ANNOUNCE = "mdns.announce"


def greeting(device: Booted) -> str:
    """Return what the next person who signs in is told."""
    return device.run(["cat", "/run/motd.d/50-privet"]).stdout.decode()


def loosen(device: Booted, how_long: str) -> None:
    """Let the device announce itself for a while, as its owner."""
    done = privet(device, "loosen", ANNOUNCE, "on", "--for", how_long, "--reason", "a test", "--yes")
    assert done.returncode == 0, done.stderr.decode()


def answers(device: Booted, host: str = HERE[0], port: int = 22) -> bool:
    """Say whether a door takes a connection from the neighbour's place."""
    knocking = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.boot.sampler import knock; "
    knocking += f"sys.exit(not knock({host!r}, {port}))"
    return device.neighbour(["python3", "-c", knocking]).returncode == 0


def test_drift_by_hand_is_told_and_undone(shipped: Booted, tmp_path: Path):
    """SSH opened by hand is shut again within seconds under a real systemd, and the greeting says so."""
    shipped.start()
    active(shipped)
    shipped.write(SSH, LOOSE)
    shipped.until(lambda: "SSH with a password: now yes" in greeting(shipped), 30, "the warning")
    shipped.until(lambda: findings(shipped).get("ssh.password") == "ok", 30, "the setting to be back")
    assert login(shipped, tmp_path) == "refused"


def test_a_reboot_keeps_what_was_and_asks_nothing_twice(shipped: Booted):
    """Machine-id, waiver, journal and the owner's answers are the same after a reboot; first boot is not run again."""
    shipped.start()
    active(shipped)
    first = privet(shipped, "credentials", "show", "--once").stdout.decode()
    assert "linux_account/pi" in first
    machine = shipped.read("/etc/machine-id")
    assert len(machine.strip()) == 32
    shadow = shipped.must(["grep", "^pi:", "/etc/shadow"])
    loosen(shipped, "2h")
    assert findings(shipped)[ANNOUNCE] == "waived"
    shipped.reboot()
    active(shipped)
    assert shipped.read("/etc/machine-id") == machine
    assert shipped.must(["grep", "^pi:", "/etc/shadow"]) == shadow
    shipped.until(lambda: findings(shipped).get(ANNOUNCE) == "waived", 30, "the waiver to be found")
    assert len(shipped.must(["journalctl", "--list-boots"]).splitlines()) >= 2
    assert privet(shipped, "journal", "--verify").returncode == 0
    assert "Nothing is waiting" in privet(shipped, "credentials", "show", "--once").stdout.decode()
    assert shipped.property("privet-firstboot.service", "ConditionResult") == "no"


def test_a_loosening_lasts_its_time_across_a_reboot_and_ends_by_itself(shipped: Booted):
    """Two minutes given, some of them before a reboot and the rest after it; then it is private again, unasked."""
    shipped.start()
    active(shipped)
    loosen(shipped, "2m")
    shipped.reboot()
    active(shipped)
    shipped.until(lambda: findings(shipped).get(ANNOUNCE) == "waived", 60, "the rest of the time")
    shipped.until(lambda: findings(shipped).get(ANNOUNCE) == "ok", 180, "the time to be over")
    assert "The time you gave is over" in greeting(shipped) + privet(shipped, "journal").stdout.decode()


def test_what_networkd_sets_anew_is_private_from_the_second_start_on(shipped: Booted):
    """A network file that is silent on IPv6 privacy gets a drop-in: the next start is private, untold."""
    value = "/proc/sys/net/ipv6/conf/eth0/use_tempaddr"
    shipped.start()
    active(shipped)
    shipped.until(lambda: findings(shipped).get("net.ipv6_privacy") == "ok", 30, "the first start to be private")
    assert shipped.read(value).strip() == "2"
    addresses = shipped.must(["ip", "-br", "address", "show", "eth0"])
    assert HERE[0] in addresses and HERE[1] in addresses, "the network was cut"
    made = privet(shipped, "journal").stdout.decode().count("net.ipv6_privacy")
    assert made > 0, "the first start had nothing to mend"
    shipped.reboot()
    active(shipped)
    shipped.until(lambda: findings(shipped).get("net.ipv6_privacy") == "ok", 30, "the second look")
    assert privet(shipped, "journal").stdout.decode().count("net.ipv6_privacy") == made, "it was mended once more"
    shipped.off()
    shipped.chroot(["systemctl", "--root=/", "mask", "privet-guard.service"])
    shipped.start()
    assert shipped.read(value).strip() == "2"
    # The twin: without the drop-in the same start sets it back.
    shipped.off()
    shipped.chroot(["sh", "-c", "rm -r /etc/systemd/network/10-lab.network.d"])
    shipped.start()
    shipped.until(lambda: shipped.read(value).strip() == "0", 20, "systemd-networkd to set it back")


def test_a_broken_firewall_file_leaves_it_shut_told_and_repaired(shipped: Booted):
    """With a kept file that nft cannot load nothing comes in; the guard writes it anew, opens the door, and says so."""
    shipped.start()
    active(shipped)
    shipped.until(lambda: answers(shipped), 20, "the door to be open")
    shipped.off()
    shipped.lay(FIREWALL, '{"nftables": [{"add": {"table": {"family": "inet", "name": "privet"}}}, {"oops"')
    shipped.chroot(["systemctl", "--root=/", "mask", "privet-guard.service"])
    shipped.start()
    assert shipped.exists("/usr/sbin/sshd")
    assert "started shut" in shipped.journal("-b", "-u", "privet-early.service")
    assert not any(answers(shipped, host) for host in HERE)
    assert shipped.must(["ss", "-Hltn", "sport = :22"]) != "", "it is the firewall that is shut, the door is there"
    shipped.must(["systemctl", "unmask", "privet-guard.service"])
    shipped.must(["systemctl", "start", "privet-guard.service"])
    shipped.until(lambda: answers(shipped), 30, "the guard to repair it")
    assert findings(shipped)["firewall.inbound"] == "ok"
    assert "not as it should be when this device started" in privet(shipped, "journal").stdout.decode()


def test_twin_a_sound_firewall_file_opens_before_the_guard(shipped: Booted):
    """The same start with the file as it was: the door is open without the guard, so it was the file that shut it."""
    shipped.start()
    active(shipped)
    shipped.off()
    shipped.chroot(["systemctl", "--root=/", "mask", "privet-guard.service"])
    shipped.start()
    shipped.until(lambda: answers(shipped), 20, "the door to be open")


def test_without_python_nothing_comes_in(shipped: Booted):
    """When the early start cannot run at all, a unit without Python shuts the device in until the guard is there."""
    shipped.start()
    active(shipped)
    shipped.off()
    shipped.lay("/usr/lib/privet/privet-early", "raise SystemExit(70)\n")
    shipped.chroot(["systemctl", "--root=/", "mask", "privet-guard.service"])
    shipped.start()
    assert shipped.property("privet-shut.service", "Result") == "success"
    assert not any(answers(shipped, host) for host in HERE)
    shipped.must(["systemctl", "unmask", "privet-guard.service"])
    shipped.must(["systemctl", "start", "privet-guard.service"])
    shipped.until(lambda: answers(shipped), 30, "the guard, which does work, to open what it had left open")


def test_upgrade_while_it_runs(shipped: Booted, deb: Path, tmp_path: Path):
    """A newer package is installed under the running guard: it is started anew, and what the owner allowed stays."""
    shipped.start()
    active(shipped)
    loosen(shipped, "2h")
    before = shipped.property("privet-guard.service", "MainPID")
    shipped.write("/root/newer.deb", newer(deb, tmp_path).read_bytes())
    shipped.must(["dpkg", "-i", "/root/newer.deb"], seconds=180)
    active(shipped)
    assert shipped.property("privet-guard.service", "MainPID") != before
    assert shipped.must(["dpkg-query", "-W", "-f=${Version}", "privet"]).endswith("+newer")
    shipped.until(lambda: findings(shipped).get(ANNOUNCE) == "waived", 30, "the waiver to be found")
    assert status(shipped)["shut_in"] is False


def test_removal_and_purge_on_a_running_device(shipped: Booted):
    """Removal stops everything and leaves settings private; purge takes state, policy and account."""
    shipped.start()
    active(shipped)
    shipped.must(["dpkg", "-r", "privet"], seconds=120)
    assert shipped.run(["pgrep", "-f", "/usr/lib/privet"]).returncode != 0
    assert shipped.exists("/var/lib/privet/state.db")
    shipped.must(["dpkg", "--purge", "privet"], seconds=120)
    left = ["/var/lib/privet", "/etc/privet", "/usr/lib/privet", "/run/privet"]
    assert [path for path in left if shipped.exists(path)] == []
    assert shipped.run(["getent", "passwd", "privet"]).returncode != 0
    shipped.reboot()
    assert shipped.up() == "running"


def test_installed_on_a_running_device_that_no_fleet_knows(lab: Lab, deb: Path, tmp_path: Path):
    """`dpkg -i` on a device that is up makes it private by itself; the factory password is refused from then on."""
    with lab.device(name="found") as device:
        device.start()
        assert login(device, tmp_path) == "let-in"
        device.write("/root/privet.deb", deb.read_bytes())
        device.must(["dpkg", "-i", "/root/privet.deb"], seconds=180)
        active(device, seconds=120)
        assert login(device, tmp_path) == "refused"
        assert loose(device, LATE) == {}

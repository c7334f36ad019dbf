"""The mutants of tests/mutants that are made of files, on a real Debian tree and through the real door."""

import json
from collections import Counter

import pytest

from tests.device.lab import Device

# What is not simulated there: the files of Debian's own packages, real links and rights, cvtsudoers, apt-config.
KINDS = (
    "apt_periodic", "conf_switch", "device_access", "getty", "kernel_module", "nm_conf", "sudoers", "swap",
    "systemd_unit", "time_servers", "udev_property", "wifi_security",
)  # fmt: skip
PROGRAMS = ("/usr/sbin/NetworkManager", "/usr/libexec/udisks2/udisksd", "/usr/bin/unattended-upgrade",
            "/usr/lib/systemd/systemd-coredump", "/usr/bin/whoopsie", "/usr/libexec/fwupd/fwupd",
            "/etc/update-motd.d/50-motd-news", "/usr/sbin/lightdm")  # fmt: skip
HOME = "[connection]\ntype=wifi\n[wifi]\nssid=Home\n[wifi-security]\nkey-mgmt=sae\npsk=a long one\n"


@pytest.fixture
def ready(served: Device) -> Device:
    """Give a device on which what the settings are about is there."""
    for path in PROGRAMS:
        served.must(["sh", "-c", 'test -e "$1" || { mkdir -p "${1%/*}" && : >"$1"; }', "sh", path])
    served.must(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"])
    served.write(
        "/usr/lib/NetworkManager/conf.d/20-connectivity-debian.conf", "[connectivity]\nuri=http://x.example/\n"
    )
    served.write("/etc/NetworkManager/system-connections/Home.nmconnection", HOME, 0o600)
    served.write("/etc/popularity-contest.conf", 'MY_HOSTID="aa55"\nPARTICIPATE="no"\n')
    served.must(["rm", "-f", "/usr/lib/systemd/systemd-timesyncd"])
    return served


def test_no_mutant_of_files_is_missed_on_a_real_tree(ready: Device) -> None:
    """Each is found, or is rightly no finding, and is over when its files are as they were."""
    done = ready.module("tests.device.mutating", "seeing", *KINDS)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    rows = json.loads(done.stdout)
    wrong = [row for row in rows if row[2] != row[3] or row[4] != "ok"]
    assert not wrong, "\n".join(map(str, wrong))
    counted = Counter(row[0] for row in rows)
    print(dict(counted))
    assert sum(counted.values()) >= 120 and len(counted) >= 18
    assert {row[3] for row in rows} == {"ok", "loosened"}


def test_a_blind_probe_is_caught_on_a_real_tree(ready: Device) -> None:
    """The known-bad twin: the same mutants, looked at by probes that overlook some places, miss some."""
    done = ready.module("tests.device.mutating", "blind", *KINDS)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    missed = Counter(row[0] for row in json.loads(done.stdout) if (row[2], row[3]) == ("ok", "loosened"))
    assert len(missed) >= 8, missed

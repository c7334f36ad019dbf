"""What apt's daily work does: its own script decides, our verdict must agree."""

import pytest

from tests.device.enforced import enforce, look
from tests.device.lab import Device

FOLDER = "/etc/apt/apt.conf.d"
# Lets the real script do its work with a stub for what would go to the network, and tells whether it was called.
SCRIPT = """
printf '#!/bin/sh\\necho "$0 $@" >>/tmp/called\\n' >/tmp/stub; chmod 755 /tmp/stub
cp /tmp/stub /usr/bin/apt-get; cp /tmp/stub /usr/bin/unattended-upgrade
rm -f /tmp/called /var/lib/apt/periodic/*
/usr/lib/apt/apt.systemd.daily update; /usr/lib/apt/apt.systemd.daily install
grep -q 'apt-get.*update' /tmp/called && grep -v -e --help /tmp/called | grep -q /unattended-upgrade
"""


def works(device: Device) -> bool:
    """Say whether the daily work fetches lists and installs upgrades."""
    return device.run(["sh", "-c", SCRIPT], seconds=60).returncode == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", "on"),
        ('APT::Periodic::Enable "0";\n', "off"),
        ('APT { Periodic { Unattended-Upgrade "0"; }; };\n', "off"),
        ('APT::Periodic::Update-Package-Lists "0";\n', "off"),
        ('apt::periodic::UNATTENDED-UPGRADE "always";\n', "on"),
        ("#clear APT::Periodic;\n", "off"),
    ],
)
def test_what_we_say_is_what_the_daily_work_does(served: Device, text: str, value: str) -> None:
    """On where the real script updates and upgrades, off where it does not; after the steps it does."""
    served.write(f"{FOLDER}/60mine", text)
    assert look(served, "update.periodic")["live"] == value
    assert works(served) == (value == "on")
    assert enforce(served, "update.periodic", "on") == ""
    assert look(served, "update.periodic")["live"] == "on"
    assert works(served)


def test_a_server_that_lets_others_read_along_is_switched_off(served: Device) -> None:
    """The real packages' units are on as they ship; afterwards none of them would start."""
    assert look(served, "cleartext.services")["kept"] == "on"
    assert enforce(served, "cleartext.services", "off") == ""
    assert look(served, "cleartext.services")["kept"] == "off"
    ftp = served.spawn(["/usr/sbin/vsftpd", "-obackground=NO", "-olisten=YES", "-olisten_ipv6=NO"])
    served.listener(21)
    assert look(served, "cleartext.services")["live"] == "on"
    assert "tcp/21@any:vsftpd" in look(served, "net.listeners")["live"]
    ftp.kill()

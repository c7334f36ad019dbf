"""Programs that systemd starts for people on a booted device: the guard finds one that runs, and ends it."""

from tests.boot.lab import Booted
from tests.boot.shipped import active, findings, status

UNIT = "rpi-connect.service"
TEXT = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=default.target\n"
# The bus of a person, as dbus-user-session brings it.
SOCKET = "[Socket]\nListenStream=%t/bus\n[Install]\nWantedBy=sockets.target\n"
BUS = "[Service]\nExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --syslog-only\n"
USER = ["systemctl", "--user", "--machine=pi@.host"]


def runs(device: Booted) -> bool:
    """Ask the person's own systemd."""
    return device.run([*USER, "is-active", UNIT]).stdout.strip() == b"active"


def test_a_unit_of_one_person_is_ended_and_stays_so(shipped: Booted):
    """It runs for pi, by a link in pi's home; after enforcement it is off, also when pi's systemd starts anew."""
    shipped.start()
    active(shipped)
    assert findings(shipped).get("remote.connect", "absent") == "absent"
    shipped.write("/usr/lib/systemd/user/dbus.socket", SOCKET)
    shipped.write("/usr/lib/systemd/user/dbus.service", BUS)
    shipped.must(["systemctl", "--global", "enable", "dbus.socket"])
    shipped.must(["loginctl", "enable-linger", "pi"])
    shipped.until(lambda: shipped.exists("/run/user/1000/bus"), 60, "the systemd of pi")
    shipped.write(f"/usr/lib/systemd/user/{UNIT}", TEXT)
    shipped.must([*USER, "daemon-reload"])
    shipped.must([*USER, "enable", "--now", UNIT])
    assert runs(shipped)
    shipped.must(["privet", "enforce"])
    shipped.until(lambda: findings(shipped).get("remote.connect") == "ok", 30, "the unit to be ended")
    assert not runs(shipped)
    shipped.must(["systemctl", "restart", "user@1000.service"])
    shipped.until(lambda: shipped.exists("/run/user/1000/bus"), 60, "the systemd of pi")
    assert not runs(shipped)
    told = " ".join(row["text"] for row in status(shipped)["warnings"])
    assert "account at the maker" in told

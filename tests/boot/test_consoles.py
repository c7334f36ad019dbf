"""Consoles and listeners on a booted device: what systemd itself makes of units is what the guard says and mends."""

from tests.boot.lab import Booted
from tests.boot.shipped import active, findings, status

# As raspi-config writes it.
AUTOLOGIN = "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin pi --noclear %I $TERM\n"
DROP_IN = "/etc/systemd/system/getty@tty1.service.d/autologin.conf"


def found(device: Booted, setting: str) -> set[str]:
    """Return the words of a set as the guard found them."""
    row = next(row for row in status(device)["findings"] if row["setting"] == setting)
    return set(row["found"].split(", "))


def test_a_console_that_signs_in_is_mended(shipped: Booted):
    """Systemd would start agetty with the account; the guard finds it and systemd then starts it without."""
    shipped.start()
    active(shipped)
    assert findings(shipped)["login.console"] == "ok"
    shipped.write(DROP_IN, AUTOLOGIN)
    shipped.must(["systemctl", "daemon-reload"])
    shipped.must(["privet", "enforce"])
    shipped.until(lambda: findings(shipped).get("login.console") == "ok", 30, "the console to be mended")
    effective = shipped.must(["systemctl", "show", "--property=ExecStart", "getty@tty1.service"])
    assert "--noclear" in effective and "autologin" not in effective
    told = " ".join(row["text"] for row in status(shipped)["warnings"])
    assert "text console" in told


def test_a_socket_that_systemd_holds_is_named_by_its_unit(shipped: Booted):
    """Nothing runs yet, but whoever knocks is let in: the socket unit is the finding."""
    shipped.start()
    active(shipped)
    shipped.write("/etc/systemd/system/echo.socket", "[Socket]\nListenStream=7777\nAccept=yes\n")
    shipped.write("/etc/systemd/system/echo@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n")
    shipped.must(["systemctl", "daemon-reload"])
    shipped.must(["systemctl", "start", "echo.socket"])
    shipped.must(["privet", "enforce"])
    assert "tcp/7777@any:echo.socket" in found(shipped, "net.listeners")


def test_services_of_a_persons_own_are_found(shipped: Booted):
    """A person's own systemd starts a server, and would start one that is switched off: found, and named."""
    shipped.start()
    active(shipped)
    folder = "/home/pi/.config/systemd/user"
    rest = "[Install]\nWantedBy=default.target\n"
    shipped.write(f"{folder}/mine.service", f"[Service]\nExecStart=/usr/bin/python3 -m http.server 7878\n{rest}")
    shipped.write(f"{folder}/tell.service", f"[Service]\nExecStart=/usr/sbin/avahi-daemon --no-rlimits\n{rest}")
    shipped.must(["chown", "-R", "pi:", "/home/pi/.config"])
    assert findings(shipped)["mdns.announce"] == "ok"
    shipped.must(["loginctl", "enable-linger", "pi"])
    person = ["runuser", "-u", "pi", "--", "env", "XDG_RUNTIME_DIR=/run/user/1000", "systemctl", "--user"]
    shipped.until(lambda: shipped.run([*person, "daemon-reload"]).returncode == 0, 30, "the person's own systemd")
    shipped.must([*person, "enable", "tell.service"])
    shipped.must([*person, "enable", "--now", "mine.service"])
    shipped.until(
        lambda: shipped.run(["sh", "-c", "ss -ltn | grep -q :7878"]).returncode == 0, 30, "the person's own server"
    )
    shipped.must(["privet", "enforce"])
    assert any(word.startswith("tcp/7878@any:") for word in found(shipped, "net.listeners"))
    row = next(row for row in status(shipped)["findings"] if row["setting"] == "mdns.announce")
    assert row["status"] == "loosened" and "tell.service of pi" in row["cause"]
    shipped.must([*person, "disable", "tell.service"])
    shipped.must(["privet", "enforce"])
    assert findings(shipped)["mdns.announce"] == "ok"

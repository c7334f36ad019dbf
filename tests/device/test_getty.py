"""Text consoles: the real agetty and login, started as the units say, with a person who only has a keyboard."""

import pytest

from tests.device.enforced import enforce, look
from tests.device.lab import Device

# Starts what a unit starts on a terminal of its own, types one command, and says whether a shell answered it.
SIT_DOWN = r"""
import json, os, pty, select, shlex, sys, time
from agent.providers.linux import getty
from agent.system.real import RealSystem

command = getty.effective(RealSystem(), sys.argv[1]).lstrip("-")
words = [word.replace("\\\\u", "\\u").replace("%I", "tty1").replace("$TERM", "vt100") for word in shlex.split(command)]
child, terminal = pty.fork()
if not child:
    words = ["-" if word == "tty1" else word for word in words]
    os.execve(words[0], words, {"TERM": "vt100", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
said, end, typed = b"", time.monotonic() + 15, False
while time.monotonic() < end and b"uid=1000" not in said and b"assword" not in said:
    if not select.select([terminal], [], [], 0.2)[0]:
        if said and not typed:
            os.write(terminal, b"id\r")
            typed = True
        continue
    try:
        said += os.read(terminal, 4096)
    except OSError:
        break
os.kill(child, 9)
print(json.dumps(b"uid=1000(pi)" in said))
"""
RASPI_CONFIG = "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin pi --noclear %I $TERM\n"
NAME = "login.console"


@pytest.mark.parametrize(
    ("unit", "path", "text"),
    [
        ("getty@tty1.service", "/etc/systemd/system/getty@tty1.service.d/autologin.conf", RASPI_CONFIG),
        ("getty@.service", "/etc/systemd/system/getty@.service.d/x.conf", RASPI_CONFIG.replace("--autologin ", "-a")),
        (
            "serial-getty@ttyAMA0.service",
            "/usr/local/lib/systemd/system/serial-getty@ttyAMA0.service.d/x.conf",
            RASPI_CONFIG.replace("autologin pi", "autologin=pi"),
        ),
        ("getty@tty1.service", "/etc/systemd/system/getty@tty1.service", RASPI_CONFIG),
        ("getty@.service", "/etc/systemd/system/getty@.service.d/x.conf", RASPI_CONFIG.replace("login pi", " pi")),
        ("getty@.service", "/etc/systemd/system/getty@.service.d/x.conf", RASPI_CONFIG.replace("--autologin", "-Ja")),
        (
            "getty@.service",
            "/etc/systemd/system/getty@.service.d/x.conf",
            RASPI_CONFIG.replace("--autologin pi", '-n -o "-f pi"'),
        ),
    ],
)
def test_whoever_sits_down_is_asked_who_they_are(device: Device, unit: str, path: str, text: str) -> None:
    """Signed in without a word where we say so; after the steps only a prompt; without our file signed in again."""
    assert look(device, NAME)["live"] == []
    assert not device.ask(SIT_DOWN, unit)
    device.run(["rm", "-f", path])
    device.write(path, text)
    assert unit in look(device, NAME)["live"]
    assert device.ask(SIT_DOWN, unit)
    assert enforce(device, NAME, []) == ""
    assert look(device, NAME)["live"] == look(device, NAME)["kept"] == []
    assert not device.ask(SIT_DOWN, unit)
    device.remove(f"/etc/systemd/system/{unit}.d/zz-privet-sign-in.conf")
    assert device.ask(SIT_DOWN, unit)

"""The simulated SSH server answers as the real one does, configuration by configuration."""

import itertools

from agent.system.simulated.openssh import MAIN, OPTIONS
from agent.system.simulated.system import SimulatedSystem
from tests.device.lab import Device

BASE = "UsePAM yes\nKbdInteractiveAuthentication no\n"
DROP = "/etc/ssh/sshd_config.d"
PASSWD = b"root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n"
GROUP = b"root:x:0:\nsudo:x:27:pi\npi:x:1000:\n"

FILES: tuple[dict[str, str], ...] = (
    {MAIN: BASE},
    {MAIN: "include sshd_config.d/*.conf\n" + BASE, f"{DROP}/b.conf": "PermitRootLogin yes\n"},
    {MAIN: "Include sshd_config.d/*.conf\nPermitRootLogin no\n", f"{DROP}/b.conf": "PermitRootLogin=yes\n"},
    {MAIN: "PERMITROOTLOGIN forced-commands-only\nPasswordAuthentication = no\n"},
    {MAIN: 'PermitRootLogin "no" # why\n\n  # comment\n"X11Forwarding" yes\n'},
    {MAIN: BASE + "PasswordAuthentication no\nMatch User pi\n\tPasswordAuthentication yes\n"},
    {MAIN: BASE + "PasswordAuthentication no\nMatch User *,!pi\n\tPasswordAuthentication yes\n"},
    {MAIN: BASE + "Match Group sudo\nPasswordAuthentication no\nMatch all\nPasswordAuthentication yes\n"},
    {MAIN: BASE + "Match Address 10.0.0.0/8,!10.1.0.0/16\n AllowTcpForwarding no\n"},
    {MAIN: BASE + "Match Address 192.168.* User root\n PermitRootLogin no\n AllowTcpForwarding local\n"},
    {MAIN: BASE + "Match LocalPort 2222 Address ::1/128\n GatewayPorts clientspecified\n"},
    {MAIN: BASE + "Match User=pi\n Include extra\nPermitTunnel no\n", "/etc/ssh/extra": "PermitTunnel ethernet\n"},
    {
        MAIN: BASE + "Match User pi\n Include extra\nMatch all\n PermitTunnel point-to-point\n",
        "/etc/ssh/extra": "Match Address 10.0.0.0/8\n PermitTunnel ethernet\n",
    },
    {MAIN: BASE + "Match Host *.home,127.0.0.1\n X11Forwarding yes\n"},
    {MAIN: "ChallengeResponseAuthentication yes\nKbdInteractiveAuthentication no\nPermitEmptyPasswords yes\n"},
    {MAIN: "NoSuchOption yes\n"},
    {MAIN: "PasswordAuthentication maybe\n"},
    {MAIN: "PasswordAuthentication\n"},
    {MAIN: "Match Nonsense x\n"},
    {MAIN: "Match User\n PasswordAuthentication no\n"},
)
PLACES = ("127.0.0.1", "10.0.0.5", "10.1.0.5", "192.168.1.9", "::1")
CASES = tuple(
    f"user={user},host={address},addr={address},laddr=127.0.0.1,lport={port}"
    for user, address, port in itertools.product(("root", "pi", "nobody-here"), PLACES, ("22", "2222"))
)
RUN = """
cd /; for case in "$@"; do /usr/sbin/sshd -T -C "$case" 2>/dev/null || echo failed; echo ---; done
"""


def real(device: Device, files: dict[str, str]) -> list[dict[str, str] | None]:
    """Ask the real server about every case; None where it does not accept the files."""
    device.must(["sh", "-c", f"rm -rf {DROP} /etc/ssh/extra; mkdir {DROP}"])
    for path, content in files.items():
        device.write(path, content)
    return [picked(part) for part in device.must(["sh", "-c", RUN, "sh", *CASES]).split("---\n")[:-1]]


def simulated(files: dict[str, str]) -> list[dict[str, str] | None]:
    """Ask the simulated server."""
    device = SimulatedSystem()
    for path, content in {**files, "/etc/passwd": PASSWD.decode(), "/etc/group": GROUP.decode()}.items():
        device.edit(path, content.encode())
    found = []
    for case in CASES:
        outcome = device.run(("/usr/sbin/sshd", "-T", "-C", case))
        found.append(picked(outcome.out.decode() if outcome.code == 0 else "failed\n"))
    return found


def picked(text: str) -> dict[str, str] | None:
    """Keep the answers that the simulated server gives too."""
    if text.endswith("failed\n"):
        return None
    pairs = dict(line.partition(" ")[::2] for line in text.splitlines())
    return {key: pairs[key].lower() for key in OPTIONS if key in pairs}


def test_answers_are_equal(device: Device) -> None:
    """For each configuration and each of 30 connections, every option has the same value in both."""
    answered = 0
    for files in FILES:
        for case, theirs, ours in zip(CASES, real(device, files), simulated(files), strict=True):
            assert ours == theirs, (files, case)
            answered += theirs is not None
    assert answered == 15 * len(CASES), "the configurations that a server accepts were all asked about"

"""Whose keys open the device: every place the real sshd takes them from."""

import pytest

from tests.device.enforced import look
from tests.device.lab import Device

CONFIG = "/etc/ssh/sshd_config.d/50-mine.conf"


def made(device: Device, name: str) -> tuple[str, str]:
    """Make a key; return its public line and its fingerprint as ssh-keygen shows it."""
    path = f"/root/{name}"
    device.must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path])
    return device.read(f"{path}.pub"), device.must(["ssh-keygen", "-l", "-f", path]).split()[1]


def enters(device: Device, name: str, user: str = "pi") -> bool:
    """Say whether the real server lets somebody in with a key."""
    chosen = ("BatchMode=yes", "StrictHostKeyChecking=no", "IdentitiesOnly=yes", "LogLevel=QUIET")
    options = [word for option in chosen for word in ("-o", option)]
    argv = ["ssh", "-F", "none", *options, "-i", f"/root/{name}", f"{user}@127.0.0.1", "true"]
    return device.run(argv).returncode == 0


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ("", "/home/pi/.ssh/authorized_keys"),
        ("", "/home/pi/.ssh/authorized_keys2"),
        ("AuthorizedKeysFile /etc/ssh/keys/%u\n", "/etc/ssh/keys/pi"),
        ("Match User pi\n  authorizedKEYSfile /etc/hidden/%U\n", "/etc/hidden/1000"),
        ("Include /etc/ssh/more.conf\n", "/etc/more/pi"),
    ],
)
def test_a_key_is_found_wherever_the_server_takes_it(device: Device, config: str, path: str) -> None:
    """The key that opens is the key we name, by the fingerprint that ssh-keygen shows; a comment is none."""
    line, print_of = made(device, "stranger")
    device.write("/etc/ssh/more.conf", "AuthorizedKeysFile /etc/more/%u\n")
    device.write(CONFIG, config)
    device.must(["install", "-d", "-m", "755", path.rpartition("/")[0]])
    if path.startswith("/home"):
        device.must(["chown", "pi:pi", "/home/pi/.ssh"])
    device.write(path, f"# {line}")
    device.sshd()
    assert look(device, "ssh.authorized_keys")["live"] == []
    assert not enters(device, "stranger")
    device.write(path, f'# somebody\nno-pty,from="127.0.0.1" {line}')
    if path.startswith("/home"):
        device.must(["chown", "pi:pi", path])
    assert enters(device, "stranger")
    assert look(device, "ssh.authorized_keys")["live"] == [f"pi:{print_of}"]


def test_a_program_and_an_authority_are_found(device: Device) -> None:
    """Whoever answers for keys, and whoever may certify them, opens the device without any listed key."""
    line, print_of = made(device, "authority")
    made(device, "guest")
    device.must(["ssh-keygen", "-q", "-s", "/root/authority", "-I", "guest", "-n", "pi", "/root/guest.pub"])
    device.write("/etc/ssh/authority.pub", line)
    device.write(CONFIG, "TrustedUserCAKeys /etc/ssh/authority.pub\n")
    device.sshd()
    assert enters(device, "guest")
    assert look(device, "ssh.authorized_keys")["live"] == [f"*:ca:{print_of}"]
    device.write(CONFIG, "Match User pi\nAuthorizedKeysCommand /usr/bin/cat /root/x\nAuthorizedKeysCommandUser root\n")
    assert look(device, "ssh.authorized_keys")["live"] == ["*:command:/usr/bin/cat"]

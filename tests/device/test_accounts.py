"""Accounts on a real system: made by its own tools, entered through real PAM."""

import pytest

from tests.device.enforced import look
from tests.device.lab import PASSWORD, Device


def set_password(device: Device, name: str, password: str, *options: str) -> None:
    """Give an account a password, as its owner would."""
    device.must(["chpasswd", *options], f"{name}:{password}\n".encode())


@pytest.mark.parametrize("scheme", [(), ("-c", "SHA512"), ("-c", "DES")])
def test_a_known_password_is_found_whatever_its_scheme(device: Device, scheme: tuple[str, ...]) -> None:
    """The published one is found at once, a private one is not, and PAM lets the same ones in."""
    set_password(device, "pi", PASSWORD, *scheme)
    assert look(device, "accounts.known_password", patiently=False)["live"] == ["pi:known"]
    set_password(device, "pi", "3 unlisted words", *scheme)
    assert look(device, "accounts.known_password")["live"] == []


def test_blank_locked_and_second_roots(device: Device) -> None:
    """What passwd -d, passwd -l and useradd -o make is what we say, and su agrees that blank opens."""
    set_password(device, "pi", PASSWORD)
    device.must(["useradd", "-m", "-s", "/bin/bash", "guest"])
    device.must(["passwd", "-q", "-d", "guest"])
    device.must(["passwd", "-q", "-l", "pi"])
    device.must(["useradd", "-o", "-u", "0", "-g", "0", "-M", "-d", "/root", "-s", "/bin/bash", "backup2"])
    assert look(device, "accounts.known_password")["live"] == ["guest:blank", "pi:locked"]
    assert look(device, "accounts.sign_in")["live"] == ["backup2:root", "guest"]
    assert device.run(["runuser", "-u", "nobody", "--", "su", "guest", "-c", "id"]).returncode == 0


def test_who_can_sign_in(device: Device) -> None:
    """A password or a key opens; a shell that takes nobody, and a locked account without a key, do not."""
    assert look(device, "accounts.sign_in")["live"] == ["uid:1000"]
    device.must(["passwd", "-q", "-l", "pi"])
    assert look(device, "accounts.sign_in")["live"] == []
    device.key("root")
    assert look(device, "accounts.sign_in")["live"] == ["root"]
    device.must(["usermod", "-s", "/usr/sbin/nologin", "root"])
    assert look(device, "accounts.sign_in")["live"] == []


def test_an_unlikely_password_is_found_a_little_later(device: Device) -> None:
    """A costly hash holds nobody up: unknown at the first look, never fine, then what is listed for another name."""
    for password, found in (("dietpi", ["pi:known"]), ("3 unlisted words", [])):
        set_password(device, "pi", password)
        first = look(device, "accounts.known_password", patiently=False)
        assert (first["live"], first["kept"]) == (None, None)
        assert "still being compared" in first["cause"]
        assert look(device, "accounts.known_password")["live"] == found

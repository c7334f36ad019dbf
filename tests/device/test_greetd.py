"""Being signed in at the screen without a password, by the real greetd: whoever switches it on is pi, or is not."""

from tests.device import tree
from tests.device.enforced import enforce, look
from tests.device.lab import Device, Lab

CONFIG = "/etc/greetd/config.toml"
SHIPPED = '[terminal]\nvt = "none"\n\n# The greeter.\n[default_session]\ncommand = "true"\nuser = "_greetd"\n'
FIRST = '\n[initial_session]\ncommand = "sh -c \'id -un >/tmp/signed-in\'"\nuser = "pi"\n'


def signed_in(device: Device) -> str:
    """Start greetd, and say who is at the screen without having been asked."""
    device.must(["rm", "-f", "/tmp/signed-in", "/run/greetd.run"])
    told = device.run(["timeout", "10", "greetd"])
    assert b"configuration error" not in told.stderr, told.stderr
    return device.run(["cat", "/tmp/signed-in"]).stdout.decode().strip()


def test_greetd_asks() -> None:
    """With a first session pi is signed in; after the steps nobody is, and greetd starts with all else as it was."""
    lab = Lab(tree.RADIOS)
    with lab.device() as device:
        device.write(CONFIG, SHIPPED)
        assert look(device, "login.desktop")["live"] == [] and signed_in(device) == ""
        device.write(CONFIG, SHIPPED + FIRST)
        assert look(device, "login.desktop")["live"] == ["desktop"] and signed_in(device) == "pi"
        assert enforce(device, "login.desktop", []) == ""
        assert look(device, "login.desktop")["live"] == [] and signed_in(device) == ""
        assert device.read(CONFIG).strip() == SHIPPED.strip()
    lab.close()

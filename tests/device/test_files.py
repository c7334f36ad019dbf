"""Rights of files that hold keys: what another user of the device can really read, before and after."""

import pytest

from tests.device.enforced import enforce, look
from tests.device.lab import Device

SECRET = "psk=correct horse battery"
# setting, strictest, file, its owner, the rights that make it loose, what the probe then says
CASES = [
    ("files.wifi_keys", "root:root:0600", "/etc/NetworkManager/system-connections/Home.nmconnection", "root", "644"),
    ("files.wifi_keys", "root:root:0600", "/etc/wpa_supplicant/wpa_supplicant-wlan0.conf", "root", "644"),
    ("files.service_keys", "any:any:0640", "/etc/letsencrypt/archive/home.example/privkey1.pem", "root", "644"),
    ("files.service_keys", "any:any:0640", "/etc/mosquitto/certs/hub.key", "mosquitto", "604"),
    ("files.home_keys", "self:self:0600", "/home/pi/.ssh/id_ed25519", "pi", "644"),
    ("files.home_keys", "self:self:0600", "/home/pi/.netrc", "pi", "644"),
]


def reads(device: Device, user: str, path: str) -> bool:
    """Say whether a user gets the secret out of a file."""
    return SECRET in device.run(["runuser", "-u", user, "--", "cat", path]).stdout.decode()


@pytest.fixture
def open_homes(device: Device) -> Device:
    """Give a device on which only the rights of the files themselves keep anybody out."""
    device.must(["chmod", "755", "/home/pi"])
    return device


@pytest.mark.parametrize(("name", "strict", "path", "owner", "mode"), CASES, ids=[case[2] for case in CASES])
def test_a_key_is_read_by_its_owner_alone(
    open_homes: Device, name: str, strict: str, path: str, owner: str, mode: str
) -> None:
    """Somebody else reads it, which is found; after the steps he does not, and whose it is still does."""
    device = open_homes
    device.write(path, SECRET + "\n")
    folder = path.rpartition("/")[0]
    device.must(["chown", f"{owner}:", path, *([folder] if owner == "pi" else [])])
    device.must(["chmod", mode, path])
    assert reads(device, "nobody", path)
    assert look(device, name)["live"].endswith(mode)
    assert enforce(device, name, strict) == ""
    assert not reads(device, "nobody", path)
    assert reads(device, owner, path)
    assert look(device, name)["live"] == look(device, name)["kept"] == strict
    assert device.must(["stat", "-c", "%U", path]).strip() == owner


def test_nothing_of_others_is_given_away(device: Device) -> None:
    """What lies in a home and is not that person's, under whatever name, is told and left as it is."""
    before = device.must(["stat", "-c", "%a %U %G", "/etc/shadow"])
    device.must(["ln", "/etc/shadow", "/home/pi/.netrc"])
    device.must(["ln", "-s", "/etc/gshadow", "/home/pi/.pgpass"])
    assert look(device, "files.home_keys")["live"] == "*"
    assert enforce(device, "files.home_keys", "self:self:0600") == ""
    assert look(device, "files.home_keys")["live"] == "*"
    assert device.must(["stat", "-c", "%a %U %G", "/etc/shadow"]) == before


def test_the_schedule_still_runs_and_is_nobodys_to_see(device: Device) -> None:
    """A file that could not be run cannot be run afterwards either; folders stay folders for root."""
    device.write("/etc/crontab", f"# {SECRET}\n")
    device.write("/etc/cron.d/mine", f"# {SECRET}\n")
    device.must(["chmod", "755", "/etc/cron.d"])
    assert reads(device, "nobody", "/etc/crontab") and reads(device, "nobody", "/etc/cron.d/mine")
    assert enforce(device, "files.schedule", "root:root:0700") == ""
    assert not reads(device, "nobody", "/etc/crontab") and not reads(device, "nobody", "/etc/cron.d/mine")
    assert device.must(["stat", "-c", "%a", "/etc/crontab", "/etc/cron.d"]).split() == ["600", "700"]
    assert look(device, "files.schedule")["live"] == "root:root:0700"

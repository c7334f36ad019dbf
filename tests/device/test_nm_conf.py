"""Our reading of NetworkManager's files beside what the real one makes of them."""

import json

from tests.device import tree
from tests.device.enforced import enforce, look
from tests.device.lab import Device

RECIPE = tree.RADIOS  # devices that have NetworkManager

KEYS = (
    "wifi.cloned-mac-address", "ethernet.cloned-mac-address", "wifi.scan-rand-mac-address", "ipv6.ip6-privacy",
    "ipv6.addr-gen-mode", "uri", "enabled",
)  # fmt: skip
READ = """
import json
from agent.providers.linux import nm_conf
from agent.system.real import RealSystem
found = {}
for section, key, value in nm_conf.configuration(RealSystem()):
    found[f"{section} {key}"] = value
print(json.dumps(found))
"""
CASES: list[dict[str, str]] = [
    {},
    {"/etc/NetworkManager/conf.d/a.conf": "[connection]\nwifi.cloned-mac-address=random\n"},
    {
        "/usr/lib/NetworkManager/conf.d/a.conf": "[connection]\nwifi.cloned-mac-address=random\n",
        "/etc/NetworkManager/conf.d/a.conf": "[connection]\nethernet.cloned-mac-address=stable\n",
    },
    {
        "/usr/lib/NetworkManager/conf.d/zz.conf": "[device]\nwifi.scan-rand-mac-address=yes\n",
        "/etc/NetworkManager/NetworkManager.conf": "[device]\nwifi.scan-rand-mac-address=no\n",
    },
    {
        "/run/NetworkManager/conf.d/b.conf": "[device]\nwifi.scan-rand-mac-address=no\n",
        "/usr/lib/NetworkManager/conf.d/b.conf": "[device]\nwifi.scan-rand-mac-address=yes\n",
        "/usr/lib/NetworkManager/conf.d/c.conf": "[connection]\nethernet.cloned-mac-address = permanent\n",
    },
    {
        "/etc/NetworkManager/NetworkManager.conf": "[connection]\nwifi.cloned-mac-address=preserve\n",
        "/etc/NetworkManager/conf.d/99-x.conf": "# a note\n[connection]\n;wifi.cloned-mac-address=random\n",
        "/etc/NetworkManager/conf.d/zz-y.conf": "[connection]\nwifi.cloned-mac-address=stable-ssid\n",
        "/etc/NetworkManager/conf.d/zzz": "[connection]\nwifi.cloned-mac-address=permanent\n",
    },
]


def printed(device: Device) -> dict[str, str]:
    """Return what the real NetworkManager has come to, of the keys that we are about."""
    found, section = {}, ""
    for line in device.must(["NetworkManager", "--print-config"]).splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        key, equals, value = line.partition("=")
        if equals and key in KEYS:
            found[f"{section} {key}"] = value
    return found


def test_what_we_read_is_what_it_takes_up(device: Device) -> None:
    """Order of folders and files, names that hide each other, comments, blanks: the last word is the same."""
    for case in CASES:
        device.must(
            [
                "sh",
                "-c",
                "rm -rf /etc/NetworkManager/conf.d/* /run/NetworkManager/conf.d /usr/lib/NetworkManager/conf.d/*",
            ]
        )
        device.write("/etc/NetworkManager/NetworkManager.conf", "[main]\nplugins=keyfile\n")
        for path, text in case.items():
            device.write(path, text)
        ours = {key: value for key, value in device.ask(READ).items() if key.split(" ")[1] in KEYS}
        assert ours == printed(device), (case, json.dumps(ours))


def test_our_file_has_the_last_word(device: Device) -> None:
    """After enforcement the real one says what we wanted, whatever others wrote before; without it, it did not."""
    device.write("/etc/NetworkManager/conf.d/99-theirs.conf", "[connection]\nwifi.cloned-mac-address=permanent\n")
    assert printed(device)["connection wifi.cloned-mac-address"] == "permanent"
    assert enforce(device, "net.mac", "stable") == ""
    assert printed(device) == {
        "connection ethernet.cloned-mac-address": "stable",
        "connection wifi.cloned-mac-address": "stable",
    }
    assert look(device, "net.mac")["kept"] == "stable"


def test_what_is_off_is_off_for_the_real_one(device: Device) -> None:
    """Connectivity checks, and what stands for connections that say nothing themselves."""
    device.write("/etc/NetworkManager/conf.d/a.conf", "[connectivity]\nuri=http://ping.example/\n")
    assert look(device, "pings.connectivity")["kept"] == "yes"
    assert look(device, "net.ipv6_identifier")["kept"] == "0"
    for name, value in (("pings.connectivity", "no"), ("net.ipv6_identifier", "1"), ("net.ipv6_connections", "2")):
        assert enforce(device, name, value) == ""
        assert look(device, name)["kept"] == value
    said = printed(device)
    assert said["connectivity enabled"] in {"no", "false"}
    assert said["connection ipv6.addr-gen-mode"] == "1"
    assert said["connection ipv6.ip6-privacy"] == "2"
    assert "invalid" not in device.must(["sh", "-c", "NetworkManager --print-config 2>&1 >/dev/null"])

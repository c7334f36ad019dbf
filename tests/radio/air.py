"""Access points of every kind on virtual radios, what a client of the machine can join of them, and what is in the air.

All stand in a network namespace of their own, are called the same and have the same password: only their locks differ.
The radios of the machine hear them as any card hears its neighbours; hwsim0 hears everything, as somebody nearby does.
"""

import json
from functools import partial

from tests.vm.guest import Guest

NAME, PASSWORD = "home", "correct horse battery"
DEVICE = "02:00:00:00:00:00"  # the number of the machine's own radio, which it was made with
SPACE = "air"
PSK = f"wpa_passphrase={PASSWORD}\n"
KINDS = {
    "open": "",
    "wep": 'wep_default_key=0\nwep_key0="abcde"\n',
    "wpa": f"wpa=1\nwpa_key_mgmt=WPA-PSK\nwpa_pairwise=TKIP\n{PSK}",
    "wpa2-tkip": f"wpa=2\nwpa_key_mgmt=WPA-PSK\nrsn_pairwise=TKIP\n{PSK}",
    "wpa-and-wpa2": f"wpa=3\nwpa_key_mgmt=WPA-PSK\nwpa_pairwise=TKIP\nrsn_pairwise=CCMP\n{PSK}",
    "wpa2-aes": f"wpa=2\nwpa_key_mgmt=WPA-PSK\nrsn_pairwise=CCMP\n{PSK}",
    "wpa3": f"wpa=2\nwpa_key_mgmt=SAE\nrsn_pairwise=CCMP\nieee80211w=2\nsae_password={PASSWORD}\n",
    "owe": "wpa=2\nwpa_key_mgmt=OWE\nrsn_pairwise=CCMP\nieee80211w=2\n",
}
POINT = f"driver=nl80211\nssid={NAME}\nhw_mode=g\nchannel=1\nbeacon_int=300\n"

# In the guest: bring the client to each access point in turn; say which let it in, and with which locks. That one does
# not is known when the client has seen it in a scan and twice found nothing that suits it.
JOIN = """
import json, subprocess, sys, time
def ask(*words):
    argv = ["wpa_cli", "-p", "/run/client", "-i", "wlan0", *words]
    return subprocess.run(argv, capture_output=True, text=True).stdout
def rows(text):
    return dict(row.split("=", 1) for row in text.splitlines() if "=" in row)
found = {}
for kind, point in json.loads(sys.argv[1]).items():
    ask("disconnect")
    ask("bssid", "0", point)
    ask("bss_flush", "0")
    begun = len(open("/run/client.log", errors="replace").read())
    ask("enable_network", "0")
    ask("reconnect")
    end = time.monotonic() + 300
    while time.monotonic() < end:
        now = rows(ask("status"))
        if now.get("wpa_state") == "COMPLETED" and now.get("bssid") == point:
            found[kind] = [now.get("pairwise_cipher", ""), now.get("group_cipher", ""), now.get("key_mgmt", "")]
            break
        said = open("/run/client.log", errors="replace").read()[begun:]
        refused = "CTRL-EVENT-SSID-TEMP-DISABLED" in said or said.count("CTRL-EVENT-ASSOC-REJECT") > 1
        if refused or (ask("bss", point).strip() and said.count("No suitable network found") > 1):
            break
        if now.get("wpa_state") != "SCANNING":
            time.sleep(0.05)
            continue
        ask("scan", "freq=2412")
        time.sleep(0.2)
    else:
        raise SystemExit("neither joined nor refused: " + kind + str(now) + said[-3000:])
print(json.dumps(found))
"""


class Air:
    """The access points around one machine."""

    def __init__(self, guest: Guest, *kinds: str) -> None:
        """Give the machine its radio, and have these access points around it."""
        self.guest = guest
        self.kinds = kinds
        guest.must(["modprobe", "mac80211_hwsim", f"radios={len(kinds) + 1}"])
        guest.must(["ip", "netns", "add", SPACE])
        for number, kind in enumerate(kinds, 1):
            card = guest.read(f"/sys/class/net/wlan{number}/phy80211/name").strip()
            guest.must(["iw", "phy", card, "set", "netns", "name", SPACE])
            guest.write(f"/run/air/{kind}.conf", f"interface=wlan{number}\n{POINT}{KINDS[kind]}", 0o600)
            self.starts(f"air-{kind}", "ip", "netns", "exec", SPACE, "hostapd", f"/run/air/{kind}.conf")
        for number, kind in enumerate(kinds, 1):
            shows = ("ip", "netns", "exec", SPACE, "iw", "dev", f"wlan{number}", "info")
            guest.machine.until(partial(self.says, shows, "type AP"), f"the access point {kind}")
        guest.must(["ip", "link", "set", "hwsim0", "up"])

    def says(self, argv: tuple[str, ...], words: str) -> bool:
        """Say whether a program prints these words."""
        return words in self.guest.must(argv)

    def starts(self, unit: str, *argv: str) -> None:
        """Start a program that stays."""
        self.guest.must(["systemd-run", "--quiet", "--collect", f"--unit={unit}", *argv])

    def stops(self, unit: str) -> None:
        """End such a program and forget it."""
        self.guest.run(["systemctl", "stop", f"{unit}.service"])

    def points(self) -> dict[str, str]:
        """Return the number of each access point."""
        return {kind: f"02:00:00:00:{number:02x}:00" for number, kind in enumerate(self.kinds, 1)}

    def joined(self, block: str) -> dict[str, list[str]]:
        """Have wpa_supplicant join by one network block; return the ciphers and the key agreement with whom it did."""
        lines = f'network={{\n\tssid="{NAME}"\n\tscan_freq=2412\n{block}}}\n'
        self.guest.write("/run/client.conf", f"ctrl_interface=/run/client\nap_scan=1\n{lines}", 0o600)
        self.starts("client", "wpa_supplicant", "-d", "-f", "/run/client.log", "-i", "wlan0", "-c", "/run/client.conf")
        self.guest.await_path("/run/client/wlan0")
        try:
            found: dict[str, list[str]] = json.loads(
                self.guest.must(["python3", "-c", JOIN, json.dumps(self.points())], seconds=3000)
            )
        finally:
            self.stops("client")
            self.guest.must(["rm", "-f", "/run/client.log"])
        return found

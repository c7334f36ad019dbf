"""Networks that a client joins, and the numbers that it calls out: our word beside access points and the air itself."""

from collections.abc import Iterator

import pytest

from tests.radio.air import DEVICE, KINDS, NAME, PASSWORD, Air
from tests.radio.asked import enforce, look
from tests.vm.figures import tell
from tests.vm.guest import Guest

GUARD = "privet-guard.service"
WISHED = "/etc/wpa_supplicant/test.conf"
HOME = "/etc/NetworkManager/system-connections/home.nmconnection"
FOREIGN = "/etc/NetworkManager/conf.d/99-foreign.conf"
WORDS = ("key_mgmt", "proto", "pairwise", "group", "ieee80211w", "owe_only")
PSK = f'\tpsk="{PASSWORD}"\n'
# What stands in a network block of wpa_supplicant's, and what it comes to.
BLOCKS = {
    "a password alone": (PSK, "wpa2"),
    "WPA2 alone": (f"{PSK}\tproto=RSN\n", "wpa2"),
    "AES, but not for all": (f"{PSK}\tproto=RSN\n\tpairwise=CCMP\n", "wpa2"),
    "AES alone": (f"{PSK}\tproto=RSN\n\tpairwise=CCMP\n\tgroup=CCMP\n", "wpa2-aes"),
    "WPA alone": (f"{PSK}\tproto=WPA\n", "weak"),
    "WPA3 alone": (f"{PSK}\tkey_mgmt=SAE\n\tieee80211w=2\n", "wpa3"),
    "WPA3 or older": (f"{PSK}\tkey_mgmt=SAE WPA-PSK\n\tieee80211w=1\n", "wpa2"),
    "open": ("\tkey_mgmt=NONE\n", "open"),
    "WEP": ('\tkey_mgmt=NONE\n\twep_key0="abcde"\n', "weak"),
    "encrypted or open": ("\tkey_mgmt=OWE\n\tieee80211w=2\n", "open"),
    "encrypted with whoever is there": ("\tkey_mgmt=OWE\n\tieee80211w=2\n\towe_only=1\n", "weak"),
}
# The same of a connection of NetworkManager's.
CONNECTIONS = {
    "a password alone": (f"key-mgmt=wpa-psk\npsk={PASSWORD}\n", "wpa2"),
    "AES, but not for all": (f"key-mgmt=wpa-psk\npsk={PASSWORD}\nproto=rsn;\npairwise=ccmp;\n", "wpa2"),
    "AES alone": (f"key-mgmt=wpa-psk\npsk={PASSWORD}\nproto=rsn;\npairwise=ccmp;\ngroup=ccmp;\n", "wpa2-aes"),
    "WPA3 alone": (f"key-mgmt=sae\npsk={PASSWORD}\n", "wpa3"),
    "encrypted with whoever is there": ("key-mgmt=owe\n", "weak"),
    "open": ("", "open"),
}


@pytest.fixture(scope="module")
def air(guest: Guest) -> Iterator[Air]:
    """Give access points of every kind around a machine whose guard leaves it alone."""
    guest.must(["systemctl", "stop", GUARD, "NetworkManager", "wpa_supplicant"])
    yield Air(guest, *KINDS)
    guest.must(["systemctl", "stop", "air-*"])


def meant(joined: dict[str, list[str]]) -> str:
    """Say what our word has to be for what a client joined: the loosest lock that it took."""
    pairs = [said[:2] for said in joined.values()]
    if ["NONE", "NONE"] in pairs:
        return "open"
    if set(joined) == {"wpa3"}:
        return "wpa3"
    if "wpa2-aes" not in joined:
        return "weak"
    return "wpa2" if any("TKIP" in pair for pair in pairs) else "wpa2-aes"


@pytest.mark.parametrize("block", BLOCKS)
def test_what_we_say_of_a_network_is_what_is_joined(air: Air, block: str) -> None:
    """Each block of wpa_supplicant's is tried on all eight access points; the loosest that lets it in is our word."""
    lines, word = BLOCKS[block]
    joined = air.joined(lines)
    air.guest.must(["cp", "/run/client.conf", WISHED])
    try:
        assert joined and meant(joined) == word, joined
        assert look(air.guest, "wifi.security")["kept"] == word, joined
    finally:
        air.guest.must(["rm", WISHED])
    tell(f"a client with {block} ({word}) joins {', '.join(joined)}")


def connection(guest: Guest, security: str, more: str = "") -> None:
    """Let NetworkManager know one network, by a file of its own kind."""
    lines = f"[connection]\nid=home\nuuid=11111111-2222-3333-4444-555555555555\ntype=wifi\n[wifi]\nssid={NAME}\n{more}"
    lines += f"[wifi-security]\n{security}" if security else ""
    guest.write(HOME, f"{lines}[ipv4]\nmethod=disabled\n[ipv6]\nmethod=disabled\n", 0o600)


def up(guest: Guest) -> None:
    """Have NetworkManager begin anew, and wait until it has joined its network."""
    guest.must(["systemctl", "stop", "NetworkManager", "wpa_supplicant"])
    guest.must(["ip", "link", "set", "wlan0", "down"])
    guest.must(["systemctl", "start", "wpa_supplicant", "NetworkManager"])
    state = ["nmcli", "--get-values", "GENERAL.STATE", "device", "show", "wlan0"]
    guest.machine.until(lambda: guest.run(state).stdout.startswith(b"100 "), "wlan0 to be connected")


@pytest.mark.parametrize("name", CONNECTIONS)
def test_what_we_say_of_a_connection_is_what_is_joined(air: Air, name: str) -> None:
    """NetworkManager is made to join; by what it asked of wpa_supplicant, all eight access points are tried."""
    security, word = CONNECTIONS[name]
    guest = air.guest
    connection(guest, security)
    try:
        up(guest)
        asked = ""
        for key in WORDS:
            said = guest.must(["wpa_cli", "-i", "wlan0", "get_network", "0", key]).split("\n")[-1]
            # 3 is wpa_supplicant's word for "not said": where its own default is meant.
            asked += f"\t{key}={said}\n" if (key, said) != ("ieee80211w", "3") else ""
        assert look(guest, "wifi.security")["kept"] == word
        guest.must(["systemctl", "stop", "NetworkManager", "wpa_supplicant"])
        joined = air.joined(asked if "PSK" not in asked and "SAE" not in asked else asked + PSK)
        assert joined and meant(joined) == word, (asked, joined)
    finally:
        guest.must(["rm", "-f", HOME])
        guest.must(["systemctl", "stop", "NetworkManager", "wpa_supplicant"])


def heard(air: Air) -> dict[str, set[str]]:
    """Let NetworkManager look for its network and join it; return which numbers the air bore, by what they were for."""
    guest = air.guest
    air.starts("ear", "sh", "-c", "exec tcpdump -i hwsim0 -l -e -nn 'type mgt' >/run/ear 2>/run/ear-said")
    guest.machine.until(lambda: "listening" in guest.read("/run/ear-said"), "the capture")
    up(guest)
    air.stops("ear")
    found: dict[str, set[str]] = {"looks": set(), "joins": set()}
    for line in guest.read("/run/ear").splitlines():
        words = line.partition("SA:")[2]
        for act, kind in (("looks", "Probe Request"), ("joins", "Assoc Request")):
            if kind in words:
                found[act].add(words[:17])
    assert found["looks"] and found["joins"], "nothing was heard, so nothing is shown"
    return found


def test_the_air_bears_the_number_that_we_say(air: Air) -> None:
    """Loosened, everybody nearby hears the number of the hardware; enforced, nobody does; and that is what is found."""
    guest = air.guest
    guest.must(["ip", "link", "set", "enp0s3", "down"])  # the wired network is another's
    mine = {DEVICE}
    connection(guest, f"key-mgmt=wpa-psk\npsk={PASSWORD}\n")
    guest.must(["sh", "-c", "rm -f /etc/NetworkManager/conf.d/zz-privet-*"])
    loose = "[connection]\nwifi.cloned-mac-address=preserve\n[device]\nwifi.scan-rand-mac-address=no\n"
    guest.write(FOREIGN, loose)
    try:
        assert heard(air) == {"looks": mine, "joins": mine}
        assert {look(guest, "net.mac")[part] for part in ("live", "kept")} == {"preserve"}
        assert look(guest, "wifi.scan")["kept"] == "no"

        assert enforce(guest, "net.mac", "stable") == ""
        found = look(guest, "net.mac")  # what is connected still bears it
        assert (found["live"], found["kept"]) == ("preserve", "stable") and "connects anew" in found["cause"]
        now = heard(air)
        assert now["looks"] == mine and not now["joins"] & mine
        assert {look(guest, "net.mac")[part] for part in ("live", "kept")} == {"stable"}

        assert enforce(guest, "wifi.scan", "yes") == ""
        first, second = heard(air), heard(air)
        assert not first["looks"] & mine and not second["looks"] & (mine | first["looks"])
        assert first["joins"] == second["joins"] == now["joins"]  # always the same for one network
        assert look(guest, "wifi.scan")["kept"] == "yes"

        connection(guest, f"key-mgmt=wpa-psk\npsk={PASSWORD}\n", "cloned-mac-address=permanent\n")
        assert heard(air)["joins"] == mine
        found = look(guest, "net.mac")
        assert (found["live"], found["kept"]) == ("preserve", "preserve") and "home.nmconnection" in found["cause"]
    finally:
        guest.must(["systemctl", "stop", "NetworkManager", "wpa_supplicant"])
        guest.must(["rm", "-f", HOME, FOREIGN])
        guest.must(["ip", "link", "set", "enp0s3", "up"])

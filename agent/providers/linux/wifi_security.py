"""How the Wi-Fi networks that this device knows keep others from reading along.

No params. Values: wpa3 (nothing older is joined), wpa2-aes (WPA2 with AES alone), wpa2 (and what its access point may
still ask for: the first WPA, TKIP), weak (WEP, the first WPA alone, encryption with whoever is there), open. Read from
NetworkManager's connections, from wpa_supplicant's files and from those of ifupdown. A device joins a network it knows
wherever one of that name is near, also one that somebody else set up; so what it knows is what it would do, and what is
live is what is kept. Which networks it knows is its owner's to say: it is found and told.
"""

import re

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import PrivetError
from agent.core.record import Params, Value
from agent.system import board
from agent.system.door import System
from agent.system.seen import names

PARAMS: tuple[str, ...] = ()
LADDER = ("wpa3", "wpa2-aes", "wpa2", "weak", "open")
LATEST = {"sae", "ft-sae", "sae-ext-key", "ft-sae-ext-key", "wpa-eap-suite-b-192"}
AES = {"ccmp", "ccmp-256", "gcmp", "gcmp-256"}
CIPHERS = ("proto", "pairwise", "group")  # what a network may be locked with; a list that is not there is a long one
PROFILES = (
    "/etc/NetworkManager/system-connections", "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
)  # fmt: skip
SUPPLICANT, INTERFACES = "/etc/wpa_supplicant", "/etc/network"
BLOCK = re.compile(r"^[ \t]*network[ \t]*=[ \t]*\{(.*?)^[ \t]*\}", re.MULTILINE | re.DOTALL)


def probe(system: System, params: Params) -> Reading:
    """Join all networks; absent where the device knows none."""
    try:
        found = [*by_connections(system), *by_supplicant(system), *by_interfaces(system)]
    except PrivetError as error:
        return unread(str(error))
    if not found:
        return absent("this device knows no Wi-Fi network")
    value, name = max(found, key=lambda one: LADDER.index(one[0]))
    reading = seen(value, value)
    cause = f"the network {name}" if value != LADDER[0] else ""
    return Reading(live=reading.live, kept=reading.kept, cause=cause, absent=False)


def steps(params: Params, option: Value) -> tuple[()]:
    """Nothing: the network at the other end would have to change as well."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where the networks are kept."""
    return (*PROFILES, SUPPLICANT, INTERFACES, f"{INTERFACES}/interfaces.d")


def text_of(system: System, path: str) -> str:
    """Return a file's text, empty when it is not there."""
    return (board.there(system, path) or b"").decode("utf-8", "replace")


def by_connections(system: System) -> list[tuple[str, str]]:
    """Return how each connection by Wi-Fi is kept, and its name."""
    found = []
    for folder in PROFILES:
        for name in names(system, folder):
            if name.startswith(".") or name.endswith("~"):
                continue
            keys, section = {}, ""
            for raw in text_of(system, f"{folder}/{name}").splitlines():
                line = raw.strip()
                if line.startswith("["):
                    section = line.strip("[] ")
                elif "=" in line and not line.startswith(("#", ";")):
                    key, _, value = line.partition("=")
                    keys[f"{section}.{key.strip()}"] = value.strip()
            if keys.get("connection.type") in {"wifi", "802-11-wireless"}:
                found.append((judged(keys), name.removesuffix(".nmconnection")))
    return found


def judged(keys: dict[str, str]) -> str:
    """Judge one connection; the section has a name of before as well."""
    said = {
        key.rpartition(".")[2]: value for key, value in keys.items() if "wireless-security" in key or "wifi-sec" in key
    }
    said |= {key.rpartition(".")[2]: value for key, value in keys.items() if key.startswith("wifi-security.")}
    kind = said.get("key-mgmt", "")
    if kind in {"sae", "owe", "wpa-psk", "wpa-eap", "wpa-eap-suite-b-192"}:
        proto, pairwise, group = (set(said.get(key, "").replace(";", " ").split()) for key in CIPHERS)
        return locked({kind}, proto, pairwise, group)
    return "weak" if kind in {"none", "ieee8021x"} and any(key.startswith("wep-") for key in said) else "open"


def locked(kinds: set[str], proto: set[str], pairwise: set[str], group: set[str], *, fallback: bool = False) -> str:
    """Judge what a network that has a lock is joined with: the loosest of the ways to agree on keys that are listed.

    An access point for WPA and WPA2 sends what is for all by TKIP, to clients with AES as well (`group`). `fallback`:
    a client of wpa_supplicant's that asks for encryption without a password takes a network without any, too.
    """
    if kinds <= LATEST:
        return "wpa3"
    if "owe" in kinds and fallback:
        return "open"
    if "owe" in kinds or proto == {"wpa"}:
        return "weak"
    aes = all(ciphers and ciphers <= AES for ciphers in (pairwise, group))
    return "wpa2-aes" if aes and proto and proto <= {"rsn", "wpa2"} else "wpa2"


def by_supplicant(system: System) -> list[tuple[str, str]]:
    """Return how each network of wpa_supplicant is kept, and its name."""
    found = []
    for name in names(system, SUPPLICANT):
        if not name.endswith(".conf"):
            continue
        for block in BLOCK.findall(text_of(system, f"{SUPPLICANT}/{name}")):
            rows = [line.strip().partition("=") for line in block.splitlines() if not line.strip().startswith("#")]
            keys = {key.strip(): value.strip() for key, _, value in rows if value}
            kinds = set(keys.get("key_mgmt", "WPA-PSK WPA-EAP").partition("#")[0].lower().split())
            if "none" in kinds:
                value = "weak" if any(key.startswith("wep_key") for key in keys) else "open"
            elif kinds == {"ieee8021x"}:
                value = "weak"
            else:
                proto, pairwise, group = (set(keys.get(key, "").lower().split()) for key in CIPHERS)
                value = locked(kinds, proto, pairwise, group, fallback=keys.get("owe_only", "0") == "0")
            found.append((value, keys.get("ssid", "").strip('"') or "without a name"))
    return found


def by_interfaces(system: System) -> list[tuple[str, str]]:
    """Return how each network of ifupdown is kept, and its name; one by wpa-conf is wpa_supplicant's."""
    paths = [f"{INTERFACES}/interfaces"]
    paths += [f"{INTERFACES}/interfaces.d/{name}" for name in names(system, f"{INTERFACES}/interfaces.d")]
    found: list[tuple[str, str]] = []
    for path in paths:
        keys: dict[str, str] = {}
        for row in [*(line.split() for line in text_of(system, path).splitlines()), ["iface"]]:
            if row and row[0] == "iface":
                named = keys.get("wpa-ssid") or keys.get("wireless-essid", "")
                if named:
                    found.append((of_interface(keys), named))
                keys = {}
            elif len(row) > 1 and not row[0].startswith("#"):
                keys[row[0].lower()] = row[1].strip('"')
    return found


def of_interface(keys: dict[str, str]) -> str:
    """Judge one interface of ifupdown."""
    if keys.get("wpa-key-mgmt", "").upper() == "NONE" or "wpa-ssid" not in keys:
        weak = any(key.startswith(("wpa-wep-key", "wireless-key")) for key in keys)
        return "weak" if weak else "open"
    kinds = set(keys.get("wpa-key-mgmt", "wpa-psk wpa-eap").lower().split())
    proto, pairwise, group = (set(keys.get(f"wpa-{key}", "").lower().split()) for key in CIPHERS)
    return locked(kinds, proto, pairwise, group, fallback=True)

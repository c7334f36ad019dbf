"""Files of NetworkManager by the hundred: what the real one makes of them, we read from the same files."""

from tests.device import tree
from tests.device.differing import Draw, lay
from tests.device.lab import Device

RECIPE = tree.RADIOS  # devices that have NetworkManager

AFTER, MAIN = "/etc/NetworkManager/conf.d", "/etc/NetworkManager/NetworkManager.conf"
FOLDERS = (AFTER, "/run/NetworkManager/conf.d", "/usr/lib/NetworkManager/conf.d")
NAMES = ("a.conf", "b.conf", "z.conf", "zz-privet-mac.conf", ".hidden.conf", "z.conf~", "other", "A.conf")
KEYS = ("wifi.cloned-mac-address", "ethernet.cloned-mac-address", "wifi.scan-rand-mac-address", "ipv6.ip6-privacy")
SECTIONS = (
    "connection",
    "connection",
    "connection",
    "device",
    "connection-x",
    "connection.y",
    "device-z",
    "main",
    "Connection",
)
HEADS = ("[{section}]",) * 5 + ("[{section}] ", " [{section}]", "[{section} ]", "[{section}]\r")
LINES = (
    "{key}={value}",
    "{key}={value}",
    "{key} = {value}",
    "\t{key}\t=\t{value}",
    "#{key}={value}",
    "  # {key}={value}",
    "{key}={value} # a note",
    "{key}={value}\r",
    "{key}=",
    "{key}= {value} ",
    "{key}=\\s{value}",
    "{key}={value}\\",
    "{key}+={value}",
    "{key}-={value}",
    "{capital}={value}",
    "{key}={value}\n{key}={other}",
    "{key}={value}\f",
    '{key}="{value}"',
    "{key}[de]={value}",
    "# a note \\\n{key}={value}",
    "match-device=interface-name:eth*",
    "stop-match=yes",
)
SPECS = ("false", "true", "nm-version-min:1.3", "nm-version-min:9", "except:env:x", "env:x")
SWITCHES = ("",) * 9 + tuple(f"[.config]\nenable={spec}\n" for spec in SPECS)
LOOK = """
import json, sys
from agent.providers.linux import nm_conf
from agent.system.real import RealSystem
made = [nm_conf.configuration(RealSystem(), doubtful=doubtful) for doubtful in (False, True)]
print(json.dumps([{f"{section} {key}": value for section, key, value in rows if key in sys.argv[1:]} for rows in made]))
"""
ROUNDS = 20


def body(draw: Draw) -> str:
    """Draw the text of one file."""
    text = draw.one(SWITCHES)
    for _ in range(draw.below(4)):
        text += draw.one(HEADS).format(section=draw.one(SECTIONS)) + "\n"
        for _ in range(draw.below(4)):
            key, value = draw.one(KEYS), draw.one(("random", "stable", "permanent", "0", "2"))
            words = {"key": key, "value": value, "other": "preserve", "capital": key.upper()}
            text += draw.one(LINES).format(**words) + "\n"
    return draw.one(("",) * 9 + ("\ufeff",)) + text


def printed(device: Device) -> dict[str, str] | None:
    """Return what the real NetworkManager has come to, of the our keys; None where it refuses to start."""
    done = device.run(["NetworkManager", "--print-config"])
    if done.returncode != 0:
        return None
    found, section = {}, ""
    for line in done.stdout.decode().split("\n"):
        section = line[1:-1] if line.startswith("[") else section
        key, equals, value = line.partition("=")
        if equals and key in KEYS:
            found[f"{section} {key}"] = value
    return found


def naive(made: dict[str, str]) -> dict[str, str]:
    """Say what one would say who reads every file, whatever it says of itself."""
    found, section = {}, ""
    for path in sorted(made, key=lambda path: (path == MAIN, path.startswith(AFTER), path)):
        for line in made[path].split("\n"):
            section = line.strip("[]") if line.startswith("[") else section
            key, equals, value = line.partition("=")
            found.update({f"{section} {key.strip()}": value.strip()} if equals and key.strip() in KEYS else {})
    return found


def test_what_we_read_is_what_it_takes_up(device: Device) -> None:
    """Of each section and key the last word is the same; of files that ask for a version, with them or without."""
    draw, compared, fooled = Draw("NetworkManager"), 0, 0
    for _ in range(ROUNDS):
        device.must(["sh", "-c", f"rm -rf {' '.join(FOLDERS)}"])
        made = {f"{draw.one(FOLDERS)}/{draw.one(NAMES)}": body(draw) for _ in range(1 + draw.below(4))}
        made = {path: draw.one((text,) * 9 + (">/dev/null", ">/nowhere")) for path, text in made.items()}
        made[MAIN] = "[main]\nplugins=keyfile\n" + body(draw)
        lay(device, made)
        real = printed(device)
        if real is not None:
            without, every = device.ask(LOOK, *KEYS)
            text = "\n".join(f"{path} {text!r}" for path, text in made.items())
            assert real == without or (real == every and "version" in text), f"{real}\n{without}\n{every}\n{text}"
            compared += 1
            fooled += naive(made) != real
    assert compared > ROUNDS // 3
    assert fooled, "the naive reader was never wrong"

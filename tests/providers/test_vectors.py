"""Files in, reading out: every row of tests/vectors/<kind>.json on a simulated Raspberry Pi.

A row names a setting (whose product is there unless it says no), what is other on the card before the start (`card`),
what a hand does afterwards (`hand`), which programs it runs (`run`), for the firewall what was declared, and what the
probe must then say. In `card` and `hand` a path maps to a text, to null (gone), to {"link": target}, or to {"text",
"mode", "uid", "gid"}.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from agent import registry
from agent.core.errors import Missing
from agent.guard.executor import apply
from agent.providers.linux import nft
from agent.system.simulated import SimulatedSystem, products
from agent.system.simulated.raspberry import board

KINDS = (
    "apt_option", "bluez", "browser_policy", "boot_config", "boot_flag", "device_access", "dhcp_name", "disk",
    "file_mode", "hardware", "journald", "kernel_cmdline", "kernel_module", "log_remote", "nft", "nm_conf", "pam",
    "product", "rfkill", "sudoers", "sysctl", "systemd_unit", "udev_property", "user_unit", "wifi_security",
)  # fmt: skip
VECTORS = Path(__file__).parents[1] / "vectors"
ROWS = [(kind, row) for kind in KINDS for row in json.loads((VECTORS / f"{kind}.json").read_text(encoding="utf-8"))]
SETTINGS = registry.settings()


def put(device: SimulatedSystem, files: dict[str, Any]) -> None:
    """Change files as a foreign hand does."""
    for path, what in files.items():
        if what is None:
            device.hand.discard(path)
        elif isinstance(what, str):
            device.edit(path, what.encode())
        elif "link" in what:
            device.hand.link(path, what["link"])
        else:
            if "text" in what:
                device.edit(path, what["text"].encode())
            old = there(device, path)
            mode = int(what.get("mode", f"{old[0]:o}"), 8)
            device.hand.rights(path, mode, what.get("uid", old[1]), what.get("gid", old[2]))


def there(device: SimulatedSystem, path: str) -> tuple[int, int, int]:
    """Return mode and owner of a path."""
    stat = device.stat(path)
    return stat.mode, stat.uid, stat.gid


def made(row: dict[str, Any]) -> SimulatedSystem:
    """Make the device of a row."""

    def card(device: SimulatedSystem) -> None:
        board(device)
        if "product" in SETTINGS[row["setting"]].params and row.get("product", True):
            products.lay(device, str(SETTINGS[row["setting"]].params["product"]))
        put(device, row.get("card", {}))

    device = SimulatedSystem(image=card)
    if row.get("declared") is not None:
        apply(device, nft.steps(SETTINGS[row["setting"]].params, tuple(row["declared"])))
    put(device, row.get("hand", {}))
    for argv in row.get("run", []):
        assert device.run(tuple(argv)).code == 0
    return device


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=[f"{kind}: {row['name']}" for kind, row in ROWS])
def test_reading(kind: str, row: dict[str, Any]) -> None:
    """The probe says what the row says, and gives its reason where it cannot tell."""
    setting = SETTINGS[row["setting"]]
    assert setting.provider == kind
    reading = registry.provider(kind).probe(made(row), setting.params)
    live, kept = (list(v) if isinstance(v, tuple) else v for v in (reading.live, reading.kept))
    assert (live, kept, reading.absent) == (row["live"], row["kept"], row.get("absent", False)), reading.cause
    assert row.get("cause", "") in reading.cause and bool(reading.cause) == bool(row.get("cause")), reading.cause


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=[f"{kind}: {row['name']}" for kind, row in ROWS])
def test_one_enforcement_mends_every_row(kind: str, row: dict[str, Any]) -> None:
    """From wherever a row left the device, the strictest steps bring it home, or say in one sentence why not."""
    setting = SETTINGS[row["setting"]]
    provider = registry.provider(kind)
    device = made(row)
    if row.get("absent") or row["name"] in BEYOND or not setting.enforce:
        return
    prepare = getattr(provider, "prepare", None)
    params = prepare(device, setting.params) if prepare else setting.params
    apply(device, provider.steps(params, setting.strictest()))
    if getattr(provider, "RESTART", False):
        device.reboot()
    reading = provider.probe(device, setting.params)
    found = reading.effective(setting.lattice())
    assert found is not None and setting.lattice().allows(setting.strictest(), found), (found, reading.cause)


# What no drop-in of ours can mend: the rows in which somebody else has to act, and the owner is told so.
BEYOND = {
    "switched off, then on at a desktop",
    "a home hides our condition",
    "a broken file", "rules also come from a directory of the network", "a link in its place", "for one user only",
    "a later drop-in forgets our condition", "a later drop-in forgets conditions of any kind",
    "the system in another folder", "a program watches all the same",
    "a rule before ours that has the last word", "a command in an earlier file",
    "a connection says otherwise", "a connection that keeps its address",
    "a connection that tells the hardware's number", "a key in a home that is somebody else's",
    "a link where a key would be",
    "for one device only", "a rule after ours", "one of two radios",
    "an exclusion takes a key out of all patterns", "to another machine",
    "a file that uses more of YAML", "Pi-hole 5 keeps all unless told not to", "Pi-hole 5",
    "policies that are no JSON", "a part of it in another file", "no account yet, so whoever comes first makes one",
    "every address, in one word of its command line",
    "sudo.conf names another file", "sudo.conf names another file that opens nothing",
    "sudo.conf names another program", "sudo.conf names a program of the same name elsewhere",
    "sudo.conf lets an account own the rules", "sudo.conf lets everyone write the rules",
    "passwords are asked for as another program",
}  # fmt: skip


def test_missing_is_what_the_door_says() -> None:
    """A path that a row took away is gone for the probe as well (the rows above are not void)."""
    device = made({"setting": "files.shadow", "card": {"/etc/shadow": None}})
    with pytest.raises(Missing):
        device.stat("/etc/shadow")

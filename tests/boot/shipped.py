"""A device as it is shipped: the package on its disk and the seeds of a real fleet beside it, never started yet."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import add_recipient, issue_policy, seed_files
from tests.boot.lab import Booted
from tests.house import ROOT

NAME = "d1"
ACCOUNT = "privet"
PROFILE = ROOT / "device_profiles" / "base.toml"
LATE = frozenset({"net.dhcp_name"})  # where the network was up before: its program read its files at its start
OPEN_BROKER = {"tcp/1883@any:mosquitto"}  # the factory's, which no profile declares
REQUEST = """
import os, sys
sys.path.insert(0, "/usr/lib/privet")
from agent.core.secret import Secret
from agent.system.vault import DirectVault
made = DirectVault(Secret(b"k" * 32)).new_identity(sys.argv[1])
with open(os.open("/var/lib/privet-courier/key.pem", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
    file.write(made.key.reveal())
sys.stdout.write(made.request.hex())
"""


def package(out: Path, version: str = "") -> Path:
    """Build the package of this checkout as `make deb` does, changes included; `version` is put behind its own."""
    argv = [sys.executable, "-m", "provisioning.package", "--out", str(out)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.deb")
    return made


def install(device: Booted, deb: Path) -> None:
    """Unpack and configure the package on the disk of a device that is off: nothing can start."""
    device.lay("/root/privet.deb", deb.read_bytes())
    device.chroot(["dpkg", "-i", "/root/privet.deb"])
    device.chroot(["rm", "/root/privet.deb"])


def new_fleet(folder: Path, port: int = 8883) -> Fleet:
    """Make a fleet whose broker would be the neighbour."""
    fleet = Fleet.create(folder, "home")
    add_recipient(fleet, "collector")
    fleet.safe.seal(broker_host="10.88.0.1", broker_port=str(port))
    return fleet


def flash(device: Booted, fleet: Fleet, profile: Path = PROFILE) -> None:
    """Lay the seeds on the disk, and the courier's identity, whose key is made on the device."""
    for name, content in seed_files(fleet, issue_policy(fleet, profile), NAME).items():
        device.lay(f"/etc/privet/{name}", content, 0o600)
    device.chroot(["chmod", "700", "/etc/privet"])
    request = bytes.fromhex(device.chroot(["python3", "-IBSc", REQUEST, NAME]))
    device.lay("/var/lib/privet-courier/cert.pem", fleet.sign_csr(request, NAME, 30), 0o600)
    device.lay("/var/lib/privet-courier/ca.pem", fleet.trust_anchor(), 0o600)
    device.chroot(["chown", "-R", f"{ACCOUNT}:", "/var/lib/privet-courier"])


def privet(device: Booted, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[bytes]:
    """Run the installed command as root on the device."""
    return device.run(["privet", *words], seconds=seconds)


def status(device: Booted) -> dict[str, Any]:
    """Return what `privet status --json` answers; empty when the guard does not."""
    done = privet(device, "status", "--json")
    return dict(json.loads(done.stdout)) if done.returncode in (0, 3) else {}


def findings(device: Booted) -> dict[str, str]:
    """Return the status of every setting; empty when the guard does not answer."""
    return {row["setting"]: row["status"] for row in status(device).get("findings", ())}


def answered(device: Booted) -> dict[str, str]:
    """Return the status of every setting, once the guard answers and waits for no answer any more."""

    def waits_for_none() -> bool:
        rows = status(device).get("findings", ())
        return bool(rows) and all(row["waits_for"] != "answer" for row in rows)

    device.until(waits_for_none, 120, "every answer to be there")
    return findings(device)


def loose(device: Booted, late: frozenset[str] = frozenset()) -> dict[str, set[str]]:
    """Return the settings that are not private and what is beyond, less the maker's open broker: told, its owner's.

    Those of `late` are left out while they wait for nothing but the next start.
    """
    answered(device)
    rows = [row for row in status(device)["findings"] if row["status"] not in {"ok", "absent"}]
    rows = [row for row in rows if row["setting"] not in late or row["waits_for"] != "restart"]
    beyond = {r["setting"]: {*r["found"].split(", ")} - {*r["wanted"].split(", ")} or {r["cause"]} for r in rows}
    return {name: words for name, words in beyond.items() if name != "net.listeners" or words != OPEN_BROKER}


def active(device: Booted, unit: str = "privet-guard.service", seconds: float = 60) -> None:
    """Wait until a unit is active."""
    try:
        device.until(lambda: device.property(unit, "ActiveState") == "active", seconds, f"{unit} to be active")
    except AssertionError as error:
        raise AssertionError(f"{error}; its journal: {device.journal('-u', unit)[-3000:]}") from None


def hands(device: Booted) -> list[str]:
    """Return the hands that live right now."""
    said = device.must(["systemctl", "list-units", "--plain", "--no-legend", "--no-pager", "privet-hand-*@*.service"])
    return sorted(line.split()[0] for line in said.splitlines() if line.strip())


def login(device: Booted, folder: Path, user: str = "pi", password: str = "raspberry", host: str = "10.88.0.2") -> str:
    """Try a real login over the cable with a password: let-in, refused, or unreachable."""
    askpass = folder / "askpass"
    askpass.write_text('#!/bin/sh\nprintf "%s\\n" "$LAB_SECRET"\n')
    askpass.chmod(0o700)
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5"]
    options += ["-o", "PreferredAuthentications=password,keyboard-interactive", "-o", "NumberOfPasswordPrompts=1"]
    given = {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "LAB_SECRET": password}
    argv = ["env", *(f"{name}={value}" for name, value in given.items()), "ssh", *options, f"{user}@{host}", "echo in"]
    done = device.neighbour(argv)
    if done.stdout.strip() == b"in":
        return "let-in"
    return "refused" if b"Permission denied" in done.stderr else f"unreachable: {done.stderr.decode()[-200:]}"


def newer(deb: Path, folder: Path) -> Path:
    """Return the same package with a higher version."""
    tree = folder / "newer"
    subprocess.run(["dpkg-deb", "--raw-extract", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+newer", control.read_text(), flags=re.MULTILINE))
    made = folder / "newer.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--build", str(tree), str(made)], check=True, capture_output=True)
    return made

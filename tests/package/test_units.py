"""The units as they are written: where they stand in the start of a device, and what each leaves out and why."""

import re

import pytest

from agent.hand.words import WORDS
from tests.house import ROOT, none_of

FOLDER = ROOT / "provisioning" / "package"
STARTING = ("privet-early", "privet-firstboot")  # before the network, once per start
HANDS = tuple(f"privet-hand-{name}" for name in WORDS)
UNITS = (*STARTING, "privet-shut", "privet-guard", "privet-courier", *HANDS)
LINES = (
    "NoNewPrivileges CapabilityBoundingSet ProtectSystem ProtectHome PrivateTmp PrivateDevices PrivateUsers "
    "PrivateNetwork PrivateMounts ProtectProc ProcSubset ProtectKernelTunables ProtectKernelModules ProtectKernelLogs "
    "ProtectControlGroups ProtectClock ProtectHostname RestrictAddressFamilies RestrictNamespaces RestrictRealtime "
    "RestrictSUIDSGID LockPersonality MemoryDenyWriteExecute KeyringMode SystemCallArchitectures SystemCallFilter "
    "IPAddressDeny DevicePolicy UMask MemoryMax TasksMax LimitCORE"
)


def text(unit: str) -> str:
    """Return a unit as it is shipped."""
    name = f"{unit}@" if unit in HANDS else unit
    return (FOLDER / f"{name}.service").read_text(encoding="utf-8")


def words(unit: str, name: str) -> set[str]:
    """Return what all lines of one name say together."""
    return set(" ".join(re.findall(rf"^{name}=(.*)$", text(unit), re.MULTILINE)).split())


@pytest.mark.parametrize("unit", STARTING)
def test_they_stand_before_everything_that_listens(unit: str):
    """Without default dependencies, before the network and before all ordinary services, sockets and logins."""
    network = {"network-pre.target", "systemd-networkd.service", "NetworkManager.service", "dhcpcd.service"}
    assert network | {"sysinit.target"} <= words(unit, "Before")
    assert {"local-fs.target", "systemd-tmpfiles-setup.service"} <= words(unit, "After")
    assert words(unit, "DefaultDependencies") == {"no"}
    assert words(unit, "Wants") == {"network-pre.target"}
    assert words(unit, "WantedBy") == {"sysinit.target"}


def test_the_guard_comes_after_them_and_calls_for_the_first_boot():
    """So it is the same whether the device starts or the package is installed while it runs."""
    assert {f"{unit}.service" for unit in STARTING} <= words("privet-guard", "After")
    assert "privet-firstboot.service" in words("privet-guard", "Wants")
    assert words("privet-early", "OnFailure") == {"privet-shut.service"}


@pytest.mark.parametrize("unit", ["privet-guard", "privet-courier"])
def test_progress_is_watched(unit: str):
    """Systemd is told when it is ready, and waits for signs of progress."""
    assert words(unit, "Type") == {"notify"}
    assert words(unit, "WatchdogSec")
    assert words(unit, "Restart") == {"always"}


@pytest.mark.parametrize("unit", UNITS)
def test_hardening_left_out_says_why(unit: str):
    """Every well-known line of protection is in the unit or is named in a comment that gives the reason."""
    none_of(
        [word for word in LINES.split() if not re.search(rf"^(# Left out: .*\b)?{word}=", text(unit), re.MULTILINE)]
    )


@pytest.mark.parametrize("unit", HANDS)
def test_a_hand_needs_no_room_on_the_disk_to_start(unit: str):
    """What systemd makes below /tmp for a unit keeps it from starting on a full disk: a hand has /tmp in memory."""
    assert not {line for line in ("PrivateTmp", "PrivateDevices") if words(unit, line)}
    assert not any(words(unit, f"{kind}Directory") for kind in ("State", "Cache", "Logs", "Configuration"))
    assert words(unit, "TemporaryFileSystem") == {"/tmp:ro", "/var/tmp:ro"}


@pytest.mark.parametrize("unit", UNITS)
def test_no_path_is_made_writable_by_the_line_that_keeps_programs_away(unit: str):
    """A path under NoExecPaths= or ExecPaths= gets a mount of its own, writable: only what is writable stands there."""
    named = {path.lstrip("-") for path in words(unit, "NoExecPaths") | words(unit, "ExecPaths")}
    writable = {path.lstrip("-") for path in words(unit, "ReadWritePaths")}
    if words(unit, "StateDirectory"):
        writable.add("/var/lib/privet")
    if words(unit, "PrivateTmp") == {"yes"}:
        writable |= {"/tmp", "/var/tmp"}
    assert named <= writable

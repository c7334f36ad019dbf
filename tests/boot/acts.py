"""Which acts are tried in which sandbox; to be used by every tier that can boot a device.

`lay` puts the acts on a device, `unit_of` turns a shipped unit into one that tries them under the very same properties,
OUTSIDE is a unit without any. VM_ONLY cannot be shown in a container: there root itself is refused.
"""

import json
from collections.abc import Callable
from pathlib import Path

from tests.boot.try_files import PROGRAM

HERE = Path(__file__).parent
PLACE = "/usr/local/lib/acts"
GIVEN = "/run/acts-given.json"
RESULT = "/run/acts-{}.json"
OUTSIDE = f"""[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -IBS {PLACE}/try_acts.py {GIVEN} -
StandardOutput=truncate:{RESULT.format("outside")}
"""


def names() -> frozenset[str]:
    """Return every act there is."""
    return frozenset(
        line.partition("(")[0].removeprefix("def ")
        for path in HERE.glob("try_*.py")
        if path.name != "try_acts.py"
        for line in path.read_text().splitlines()
        if line.startswith("def ") and not line.startswith("def _")
    )


def lay(write: Callable[[str, bytes, int], None], victim: str, neighbour: str) -> None:
    """Put the acts on a device through its own way of writing files (path, content, mode)."""
    for path in HERE.glob("try_*.py"):
        write(f"{PLACE}/{path.name}", path.read_bytes(), 0o644)
    write(PROGRAM, Path("/bin/true").read_bytes(), 0o755)
    given = {"acts": sorted(names()), "victim": victim, "neighbour": neighbour}
    write(GIVEN, json.dumps(given).encode(), 0o644)


def unit_of(text: str, result: str, cage: bool = False) -> str:
    """Return a unit that runs this file under the properties of a shipped one."""
    start = f"ExecStart=/usr/bin/python3 -IBS {PLACE}/try_acts.py {GIVEN} {'/usr/lib/privet' if cage else '-'}"
    kept = []
    for line in text.splitlines():
        name = line.partition("=")[0]
        if line.startswith("[Install]"):
            break
        if name in DROPPED:
            continue
        given = {"[Service]": "[Service]\nType=oneshot\nRuntimeDirectoryPreserve=yes", "ExecStart": start}
        kept.append(given.get(name, line))
    return "\n".join([*kept, f"StandardOutput=truncate:{result}", "StandardError=journal", ""])


DROPPED = {
    *("Type", "Restart", "RestartSec", "WatchdogSec", "OnFailure", "Conflicts", "Before", "After", "Wants"),
    *("ConditionPathExists", "RuntimeDirectoryPreserve", "RequiresMountsFor", "StandardError", "RemainAfterExit"),
    *("DefaultDependencies", "StartLimitIntervalSec", "TimeoutStartSec", "NotifyAccess"),
    *("CollectMode", "LogLevelMax", "RuntimeMaxSec", "SyslogLevel"),
}


# In a container of this lab root itself is refused these, or the kernel around it lacks them.
VM_ONLY = frozenset(
    {
        *("cipher_socket", "load_module", "open_memory", "read_kernel_log", "replace_kernel", "set_clock"),
        *("swap_memory", "use_hardware", "write_kernel_log"),
    }
)

# What no unit but the one named may do; the sets of each unit are what its job does not need.
EVERYONE = frozenset(
    {
        *("be_first", "change_personality", "change_root", "cipher_socket", "hurry", "join_namespace", "kill_process"),
        *("load_filter", "load_module", "machine_socket", "make_device", "make_group", "mount_disk"),
        *("new_network_namespace", "new_user_namespace", "open_memory", "packet_socket", "raise_powers", "raw_socket"),
        *(
            "read_kernel_log",
            "read_memory",
            "reboot_device",
            "replace_kernel",
            "run_own_program",
            "set_clock",
        ),
        *("swap_memory", "trace_process", "use_hardware", "use_keyring", "use_ring", "watch_performance"),
        *("write_and_run_memory", "write_kernel_log", "write_package", "write_usr", "write_var", "connect_web"),
    }
)
COURIER = names() - {"connect_web", "internet_socket"}
# What a hand may do beyond what it is for: it is root, though without root's powers, so it reads what is root's.
HANDS = {
    "net": {"netlink_socket"},
    "kernel": {"write_sysctl", "watch_files", "see_program", "type_into_terminal", "netlink_socket"},
    "accounts": {"netlink_socket", "read_shadow", "change_user", "change_groups", "change_owner", "write_accounts"}
    | {"write_etc", "write_run"},
    "terminal": {"read_shadow"},  # an empty file that stands in its place
    "look": {"see_program", "read_environment", "open_process_memory", "read_shadow"},  # the last is an empty stand-in
    "door": {"internet_socket", "take_port"},
}
ALL_HANDS = {"run_program", "run_program_elsewhere", "see_process"}
FORBIDDEN = {
    "privet-courier": COURIER,
    "privet-early": EVERYONE
    | {"change_groups", "change_user", "internet_socket", "open_process_memory", "read_environment", "see_program"}
    | {"make_suid", "set_name"}
    | {"take_port", "watch_files", "write_sysctl", "write_temporary"},
    "privet-firstboot": EVERYONE | {"make_suid", "write_temporary"},
    "privet-guard": EVERYONE
    | {"change_groups", "change_user", "internet_socket", "make_suid", "netlink_socket", "open_process_memory"}
    | {
        "read_environment",
        "see_program",
        "set_name",
        "take_port",
        "type_into_terminal",
        "watch_files",
        "write_boot",
        "write_sysctl",
    },
    **{f"privet-hand-{name}": names() - may - ALL_HANDS for name, may in HANDS.items()},
}
# What each needs: when one of these fails, it is the trial that does not work.
NEEDED = {
    "privet-courier": {"connect_web", "internet_socket"},
    "privet-early": {"netlink_socket", "run_program", "write_etc", "write_run"},
    "privet-firstboot": {
        "netlink_socket",
        "read_shadow",
        "run_program",
        "write_accounts",
        "write_home",
        "write_sysctl",
    },
    "privet-guard": {"read_shadow", "run_program", "write_accounts", "write_home"},
    "privet-hand-net": {"netlink_socket", "run_program"},
    "privet-hand-kernel": {"run_program", "watch_files", "write_sysctl"},
    "privet-hand-accounts": {"change_groups", "change_user", "netlink_socket", "read_shadow", "run_program"},
    "privet-hand-terminal": {"run_program"},
    "privet-hand-look": {"run_program", "see_program"},
    "privet-hand-door": {"internet_socket", "run_program"},
}


def file_of(unit: str) -> str:
    """Return where a unit's file lies on a device; a hand's is a template."""
    return f"/lib/systemd/system/{unit}{'@' if unit.startswith('privet-hand-') else ''}.service"

"""Changes on the boot partition: whatever byte they stop at, the device starts, as before or as wanted."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent import registry
from agent.core.errors import Failed, LockOut, Missing, PrivetError, Refused
from agent.core.plan import Append, Overwrite
from agent.core.record import Params
from agent.guard.executor import apply
from agent.providers.linux import kernel_module
from agent.system import board
from agent.system.simulated import SimulatedSystem, raspberry

SETTINGS = registry.settings()
PLACE = raspberry.BOOT
SECTOR = 512
CHANGES = [
    (name, value)
    for name, setting in SETTINGS.items()
    if setting.provider in ("boot_config", "kernel_cmdline")
    for value in (setting.options[-1].value, setting.strictest())
]
NEEDED = {"root=PARTUUID=8a676486-02", "rootfstype=ext4", "fsck.repair=yes", "rootwait", "console=tty1"}
ALARMING = {"1", "s", "S", "single", "emergency", "rescue", "-b", "init"}


def prepared(device: SimulatedSystem, name: str) -> Params:
    """Let the provider look."""
    provider = registry.provider(SETTINGS[name].provider)
    prepare = getattr(provider, "prepare", None)
    return prepare(device, SETTINGS[name].params) if prepare else SETTINGS[name].params


def steps(device: SimulatedSystem, name: str, value: object) -> list[Overwrite | Append]:
    """Return the steps that change the boot partition."""
    made = registry.provider(SETTINGS[name].provider).steps(prepared(device, name), value)  # type: ignore[arg-type]
    return [step for step in made if isinstance(step, Overwrite | Append)]


def other_side(name: str, value: object) -> SimulatedSystem:
    """Start a device on which the change has still to be made."""
    device = SimulatedSystem(image=raspberry.board)
    setting = SETTINGS[name]
    first = setting.strictest() if value != setting.strictest() else setting.options[-1].value
    apply(device, registry.provider(setting.provider).steps(prepared(device, name), first))
    return device


def torn(old: bytes, new: bytes) -> Iterator[bytes]:
    """Return what may be on the card: the new bytes up to each place, and single sectors of it in any order."""
    for place in range(len(new) + 1):
        yield new[:place] + old[place:]
    for start in range(0, len(new), SECTOR):
        yield old[:start] + new[start : start + SECTOR] + old[start + SECTOR :]


def starts(device: SimulatedSystem) -> bool:
    """Say whether the kernel is given all it needs, and nothing that changes what is started."""
    words = [word for _, word in board.words(device.read(f"{PLACE}/cmdline.txt"))]
    config = {line.text for line in board.lines(device, PLACE)}
    return set(words) >= NEEDED and not ALARMING & set(words) and {"arm_64bit=1", "auto_initramfs=1"} <= config


@pytest.mark.parametrize(("name", "value"), CHANGES, ids=[f"{name}={value!r}" for name, value in CHANGES])
def test_every_torn_state_is_the_old_or_the_new_one(name: str, value: object) -> None:
    """At each byte and sector at which a change may stop it starts, no file is shorter, nothing looser is said."""
    provider, setting = registry.provider(SETTINGS[name].provider), SETTINGS[name]
    fresh = other_side(name, value)
    old = provider.probe(fresh, setting.params).kept
    lattice = setting.lattice()
    assert old is not None
    todo = steps(fresh, name, value)
    seen = set()
    for step in todo:
        assert isinstance(step, Append) or len(step.before) == len(step.content)
        whole = step.before + step.content if isinstance(step, Append) else step.content
        before = step.before + b"\0" * (len(whole) - len(step.before))  # a file grew, its bytes are not there yet
        for state in sorted(set(torn(before, whole))):
            fresh.edit(step.path, state.rstrip(b"\0"), in_place=True)
            assert starts(fresh), (step.path, state)
            kept = provider.probe(fresh, setting.params).kept
            assert kept is not None and lattice.leq(kept, lattice.join(old, value)), (kept, state)  # type: ignore[arg-type]
            seen.add(kept)
        fresh.edit(step.path, whole, in_place=True)
    assert todo and old in seen and len(seen) > 1


@pytest.mark.parametrize(("name", "value"), CHANGES, ids=[f"{name}={value!r}" for name, value in CHANGES])
def test_a_power_cut_at_any_call_is_gone_over_again(name: str, value: object) -> None:
    """Cut at each call of the whole enforcement: the device starts, and enforcing again ends where it should."""
    setting = SETTINGS[name]
    provider = registry.provider(setting.provider)

    def enforce(device: SimulatedSystem) -> None:
        apply(device, provider.steps(prepared(device, name), value))  # type: ignore[arg-type]

    calls = other_side(name, value).count(enforce)
    fired = 0
    for k in range(1, calls + 1, max(1, calls // 25)):
        device = other_side(name, value)
        fired += device.kill_at(k, enforce, lose="torn" if k % 2 else "all")
        assert starts(device)
        enforce(device)
        device.reboot()
        reading = provider.probe(device, setting.params)
        assert (reading.live, reading.kept) == (value, value), (k, reading)
    assert fired


def test_the_naive_way_does_not_survive(  # the twin: what the rows above protect against
) -> None:
    """A line of the kernel blanked from its left, in one go, passes a state that starts something else."""
    line = b"console=ttyS1 root=PARTUUID=8a676486-02\n"
    blank = b"             root=PARTUUID=8a676486-02\n"
    naive = {word for state in torn(line, blank) for _, word in board.words(state)}
    ours = {
        word
        for step in board.without_words("/boot/cmdline.txt", line, ["console=ttyS*"])
        for state in torn(step.before, step.content)
        for _, word in board.words(state)
    }
    assert ALARMING & naive and not ALARMING & ours


@pytest.mark.parametrize("word", [one.replace("*", "x").replace("[0-9]", "1") for one in board.NEVER_WORDS])
def test_no_word_that_a_start_needs_is_ever_taken_out(word: str) -> None:
    """However wide a pattern is, it is refused by what the device needs to start."""
    with pytest.raises(Refused, match="needed by this device"):
        board.without_words("/boot/cmdline.txt", b"quiet " + word.encode() + b"\n", ["*"])


@pytest.mark.parametrize("text", [one.replace("*", "x") for one in board.NEVER_LINES])
def test_no_line_that_a_start_needs_is_ever_made_a_comment(text: str) -> None:
    """The same for lines of config.txt."""
    line = board.Line(path="/boot/config.txt", at=0, text=text, sure=True)
    with pytest.raises(Refused, match="needed by this device"):
        board.without_lines([line], {"/boot/config.txt": text.encode()})


def test_no_shipped_setting_names_what_is_never_touched() -> None:
    """No pattern in agent/settings would meet a word or line of a stock card that is needed."""
    words = [word for _, word in board.words(raspberry.CMDLINE)]
    rows = raspberry.CONFIG.decode().splitlines()
    for setting in SETTINGS.values():
        patterns = [str(one) for key in ("words", "lines") for one in listed(setting.params.get(key, ()))]
        but = [str(one) for one in listed(setting.params.get("but", ()))]
        for text in [*words, *rows]:
            hit = any(fnmatchcase(text, one) for one in patterns) and not any(fnmatchcase(text, one) for one in but)
            never = any(fnmatchcase(text, one) for one in (*board.NEVER_WORDS, *board.NEVER_LINES))
            assert not (hit and never), (setting.id, text)


def test_no_shipped_setting_takes_a_module_that_a_start_needs() -> None:
    """Neither FAT, nor the disk, nor the firewall; and a setting that named one would be refused."""
    kinds = [setting for setting in SETTINGS.values() if setting.provider == "kernel_module"]
    for setting in kinds:
        for name in listed(setting.params["modules"]):
            assert not any(fnmatchcase(str(name), one) for one in board.NEVER_MODULES), name
    assert kinds
    for name in ("vfat", "ext4", "mmc_block", "nf_tables", "usb_storage"):
        with pytest.raises(Refused, match="needed by this device"):
            kernel_module.steps({"name": "x", "modules": name}, ())


def test_a_gadget_that_carries_somebody_is_left_alone() -> None:
    """A network at the other end of the USB cable is up: its modules stay, and it is said why."""
    device = SimulatedSystem(image=raspberry.board)
    device.hand.produced("/sys/class/net/usb0/operstate", lambda: b"up\n")
    with pytest.raises(LockOut, match="usb0"):
        kernel_module.steps(kernel_module.prepare(device, SETTINGS["usb.gadget"].params), ())
    device.hand.produced("/sys/class/net/usb0/operstate", lambda: b"down\n")
    assert kernel_module.steps(kernel_module.prepare(device, SETTINGS["usb.gadget"].params), ())


def listed(value: object) -> tuple[object, ...]:
    """Return the words of a parameter that is a list."""
    return value if isinstance(value, tuple) else ()


def test_what_was_changed_meanwhile_is_left_alone() -> None:
    """Between the look and the change somebody else wrote: nothing is overwritten, and it is said."""
    device = SimulatedSystem(image=raspberry.board)
    made = steps(device, "serial.console", "off")
    theirs = device.read(f"{PLACE}/cmdline.txt").replace(b"quiet", b"splash")
    device.edit(f"{PLACE}/cmdline.txt", theirs, in_place=True)
    with pytest.raises(Failed, match="changed meanwhile"):
        apply(device, tuple(made))
    assert device.read(f"{PLACE}/cmdline.txt") == theirs


def test_there_is_no_room_for_a_word() -> None:
    """Where no blanks are the line does not grow; its owner is told what to do."""
    with pytest.raises(Refused, match="by hand"):
        board.with_word("/boot/cmdline.txt", b"root=/dev/mmcblk0p2\n", "console=serial0,115200")


TEXT = st.lists(
    st.sampled_from([
        "[all]", "[none]", "[pi4]", "[pi02]", "[gpio4=1]", "camera_auto_detect=1", "camera_auto_detect=0", "",
        "start_x=1", "dtoverlay=imx219", "#dtoverlay=imx219", "#amera_auto_detect=1", "include more.txt", "[", "=",
    ]), max_size=9,
).map("\n".join)  # fmt: skip


@given(TEXT, TEXT, st.booleans())
@example("camera_auto_detect=1\n[\ncamera_auto_detect=0", "", False)
@example("camera_auto_detect=1\n[pi02]\ncamera_auto_detect=0\nstart_x=1", "", False)
def test_what_is_called_off_is_off_after_the_next_start(one: str, more: str, end: bool) -> None:
    """For random files the firmware of the simulated board, which reads them by itself, agrees with the probe."""

    def card(device: SimulatedSystem) -> None:
        raspberry.board(device)
        device.edit(f"{PLACE}/config.txt", (one + "\n" * end).encode(), in_place=True)
        device.edit(f"{PLACE}/more.txt", more.encode(), in_place=True)

    device = SimulatedSystem(image=card)
    setting = SETTINGS["camera.attached"]
    provider = registry.provider(setting.provider)
    reading = provider.probe(device, setting.params)
    assert reading.kept == "attached" or reading.live == "off"
    apply(device, provider.steps(prepared(device, "camera.attached"), "off"))
    device.reboot()
    after = provider.probe(device, setting.params)
    assert (after.live, after.kept) == ("off", "off")
    apply(device, provider.steps(prepared(device, "camera.attached"), "attached"))
    assert provider.probe(device, setting.params).kept == "attached"


def test_steps_need_a_look_first() -> None:
    """Without a look at the boot partition nothing is written."""
    for name in ("camera.attached", "serial.console"):
        with pytest.raises(PrivetError, match="looked at first"):
            registry.provider(SETTINGS[name].provider).steps(SETTINGS[name].params, "off")


def test_a_board_without_a_boot_partition_is_left_alone() -> None:
    """No Raspberry Pi: nothing to say, nothing made."""
    device = SimulatedSystem()
    with pytest.raises(Missing):
        device.read(f"{PLACE}/config.txt")
    assert board.partition(device) == ""
    for name in ("camera.attached", "serial.console"):
        assert registry.provider(SETTINGS[name].provider).probe(device, SETTINGS[name].params).absent

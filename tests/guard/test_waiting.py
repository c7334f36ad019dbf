"""Settings that hold from the next start of the device on: honest until then, told once, and put back as a whole."""

from agent.core.assess import UNKNOWN
from agent.core.record import replace
from agent.guard import restore
from agent.system.simulated import raspberry
from tests.guard.conftest import Kept

LINE, CONFIG = f"{raspberry.BOOT}/cmdline.txt", f"{raspberry.BOOT}/config.txt"
TRIGGER = "systemd-udev-trigger.service"
WAITING = ("camera.attached", "serial.console")


def stock(kept: Kept) -> None:
    """Give the card what a card of bookworm has, and start the device with it."""
    kept.system.edit(LINE, raspberry.CMDLINE, in_place=True)
    kept.system.edit(CONFIG, raspberry.CONFIG, in_place=True)
    kept.system.edit(f"{raspberry.UNITS}/{TRIGGER}", b"[Service]\nExecStart=/usr/bin/udevadm trigger\n")
    kept.system.hand.link(f"{raspberry.UNITS}/sysinit.target.wants/{TRIGGER}", f"../{TRIGGER}")
    kept.system.plugged.add("camera:imx219")
    kept.system.reboot()


def intents(kept: Kept) -> int:
    """Count what was tried."""
    assert kept.store is not None
    return len([e for e in kept.store.entries(0, 5000) if e.kind == "intent" and e.body["setting"] in WAITING])


def test_what_waits_for_the_next_start_is_told_once_and_not_tried_again(fresh: Kept) -> None:
    """One warning each that says to restart; no further step until then, and all is well afterwards."""
    stock(fresh)
    fresh.start()
    for _ in range(8):
        fresh.turn()
        fresh.system.tick(301)
    rows = {r["setting"]: r for r in fresh.ask("status")["findings"] if r["status"] not in ("ok", "absent")}
    assert set(rows) == {*WAITING, "inventory.sensors"}
    assert all((rows[name]["status"], rows[name]["kept"]) == ("loosened", "off") for name in WAITING), rows
    assert [rows[name]["waits_for"] for name in rows] == ["restart", "", "restart"]
    last = fresh.said[-1]
    assert "restart this device once (sudo reboot)" in last and "A command line on the serial pins" in last, fresh.said
    told = [t["text"] for t in fresh.told() if t["setting"] in WAITING]
    assert len(told) == 2 and all("Privet has set it back; " in text and "restart it" in text for text in told), told
    assert intents(fresh) <= 3 * len(WAITING)  # first boot, the start, and what it saw of its own writing
    fresh.reboot()
    assert len([one for one in fresh.said if "sudo reboot" in one]) == 1
    assert {r["status"] for r in fresh.ask("status")["findings"]} <= {"ok", "absent"}
    assert len([t for t in fresh.told() if t["setting"] in WAITING]) == 2


def test_the_boot_partition_is_put_back_where_it_lies(fresh: Kept) -> None:
    """After `privet restore` its files hold what they held, in the same places; what others changed since stays."""
    stock(fresh)
    fresh.start()
    before = fresh.system.stat(LINE).inode, fresh.system.stat(CONFIG).inode
    theirs = fresh.system.read(CONFIG) + b"[all]\ndtparam=i2c_arm=on\n"
    fresh.stop()
    fresh.system.edit(CONFIG, theirs, in_place=True)
    wanted = restore.plan(fresh.system)
    assert any("stays as it is" in restore.described(item) for item in wanted.items)
    restore.carry_out(fresh.system, wanted)
    assert fresh.system.read(LINE) == raspberry.CMDLINE
    assert fresh.system.read(CONFIG) == theirs
    assert (fresh.system.stat(LINE).inode, fresh.system.stat(CONFIG).inode) == before


def test_a_camera_is_put_back(fresh: Kept) -> None:
    """After `privet restore` the camera's node has its former rights, for udev went over it again."""
    stock(fresh)
    fresh.start()
    assert fresh.system.stat("/dev/video0").mode == 0
    fresh.stop()
    assert restore.carry_out(fresh.system, restore.plan(fresh.system)) == ()
    assert fresh.system.stat("/dev/video0").mode == 0o660


def test_what_is_refused_at_every_sweep_is_told_and_journaled_once(fresh: Kept) -> None:
    """A USB network carries somebody: it stays, the owner is told why, and the card is not worn by saying it again."""
    stock(fresh)
    fresh.system.hand.produced("/sys/class/net/usb0/operstate", lambda: b"up\n")
    fresh.start()
    for _ in range(8):
        fresh.system.tick(301)
        fresh.turn()
    assert fresh.status("usb.gadget") == "loosened"
    told = [t["text"] for t in fresh.told() if t["setting"] == "usb.gadget"]
    assert len(told) == 1 and "usb0 is up" in told[0], told
    assert fresh.store is not None
    failed = [e for e in fresh.store.entries(0, 5000) if e.kind == "failed" and e.body["setting"] == "usb.gadget"]
    assert len(failed) <= 2  # first boot, and this guard


def test_what_cannot_be_told_now_and_is_set_for_the_next_start_waits_for_it(kept: Kept) -> None:
    """The program that asks for an address read its files before; what is neither known nor set waits for nothing."""
    posture = kept.house.guard.posture
    found = posture.findings["serial.console"]
    unread = replace(found, status=UNKNOWN, live=None, wanted="off", kept="off")
    for kept_value, waits in (("off", "restart"), ("on", ""), (None, "")):
        posture.findings["serial.console"] = replace(unread, kept=kept_value)
        assert posture.waits_for("serial.console") == waits

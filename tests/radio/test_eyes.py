"""A camera and a microphone that the kernel really has: who can open them, what is told, what cannot be loaded."""

import pytest

from tests.radio.asked import enforce, look
from tests.vm.figures import tell
from tests.vm.guest import Guest

GUARD = "privet-guard.service"
CAMERA, MICROPHONE = "/dev/video0", "/dev/snd/pcmC0D0c"
OLD, RULE = "/dev/dsp", "/etc/udev/rules.d/72-privet-microphone.rules"
NODES = {"camera.access": CAMERA, "microphone.access": MICROPHONE}
# Opened as a person does, in all groups that are that person's; the camera's name is asked for by ioctl (QUERYCAP).
OPEN = """
import fcntl, os, sys
try:
    node = os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK)
    if "video" in sys.argv[1]:
        fcntl.ioctl(node, 0x80685600, bytearray(104))
    print("opened")
except PermissionError:
    print("refused")
"""
HOLD = "import os, sys, time; os.open(sys.argv[1], os.O_RDWR); open('/run/held/now', 'w'); time.sleep(3600)"


@pytest.fixture(scope="module")
def eyes(guest: Guest) -> Guest:
    """Give a machine into which a camera, a microphone and a receiver are plugged while its guard looks on."""
    assert {guest.statuses()[name] for name in NODES} == {"absent"}
    guest.must(["modprobe", "vivid", "n_devs=1", "node_types=0x21"])
    guest.must(["modprobe", "snd-dummy", "pcm_devs=1"])
    guest.must(["udevadm", "settle"])
    return guest


def opens(guest: Guest, person: str, node: str) -> bool:
    """Say whether a person can open a node."""
    done = guest.run(
        ["setpriv", f"--reuid={person}", f"--regid={person}", "--init-groups", "python3", "-Sc", OPEN, node]
    )
    assert done.stdout in {b"opened\n", b"refused\n"}, done
    return done.stdout == b"opened\n"


def until(guest: Guest, name: str, status: str) -> dict[str, object]:
    """Wait until a setting is found to be so; return the finding."""
    found: dict[str, object] = {}

    def so() -> bool:
        for row in guest.status().get("findings", []):
            if row["setting"] == name:
                found.update(row)
        return found.get("status") == status

    guest.machine.until(so, f"{name} to be {status}", pause=1)
    return found


def told(guest: Guest, name: str) -> str:
    """Return what was told of a setting, once the guard answers."""
    rows: list[dict[str, str]] = []

    def answered() -> bool:
        status = guest.status()
        rows[:] = status.get("warnings", [])
        return bool(status)

    guest.machine.until(answered, "the guard to answer", pause=1)
    return "\n".join(row["text"] for row in rows if row["setting"] == name)


@pytest.mark.parametrize("name", NODES)
def test_what_is_plugged_in_is_shut(eyes: Guest, name: str) -> None:
    """Debian gives it to its group; the guard finds that, tells it, and takes it away: without a word of failure."""
    node = NODES[name]
    until(eyes, name, "ok")
    eyes.machine.until(lambda: not opens(eyes, "seer", node), f"{node} to be shut", pause=1)
    assert not opens(eyes, "other", node)
    said = told(eyes, name)
    assert "now group, should be closed" in said and "could not set it back" not in said, said


def test_each_is_told_by_name(eyes: Guest) -> None:
    """Whatever nobody declared is in the inventory, and in what the owner is told."""
    wanted = ["camera:usb", "microphone:dummy", "radio:swradio0"]
    eyes.machine.until(lambda: look(eyes, "inventory.sensors")["live"] == wanted, "all to be found", pause=1)
    until(eyes, "inventory.sensors", "loosened")
    eyes.machine.until(lambda: all(one in told(eyes, "inventory.sensors") for one in wanted), "all to be told", pause=1)


@pytest.mark.parametrize("name", NODES)
def test_who_opens_it_is_who_we_say(eyes: Guest, name: str) -> None:
    """Closed: nobody. Let to its group: who is in it, nobody else. To everyone: everyone. Closed again: nobody."""
    node = NODES[name]
    seen = []
    eyes.must(["systemctl", "stop", GUARD])
    for value, seer, other in (("group", True, False), ("everyone", True, True), ("closed", False, False)):
        assert enforce(eyes, name, value) == ""
        assert look(eyes, name)["live"] == value
        assert (opens(eyes, "seer", node), opens(eyes, "other", node)) == (seer, other), value
        seen.append(value)
    eyes.must(["systemctl", "start", GUARD])
    tell(f"{node}: opened by just whom it is let to, for {', '.join(seen)}")


@pytest.mark.parametrize("name", NODES)
def test_a_hand_that_opens_it_is_found_and_undone(eyes: Guest, name: str) -> None:
    """Rights changed by hand: a person can open it, the guard finds it, and nobody can."""
    node = NODES[name]
    until(eyes, name, "ok")
    eyes.must(["systemctl", "stop", GUARD])
    eyes.must(["chmod", "0666", node])
    assert opens(eyes, "other", node)
    assert look(eyes, name)["live"] == "everyone"
    eyes.must(["systemctl", "start", GUARD])
    eyes.machine.until(lambda: not opens(eyes, "other", node), f"{node} to be shut", pause=1)
    until(eyes, name, "ok")
    assert "now everyone" in told(eyes, name)


def test_the_nodes_of_old_programs_are_shut_too(eyes: Guest) -> None:
    """OSS gives the same microphone a second node, and the group has it: found, and taken away."""
    eyes.must(["systemctl", "stop", GUARD])
    eyes.must(["rm", "-f", RULE])  # the twin: Debian's rules alone
    eyes.must(["udevadm", "control", "--reload"])
    eyes.must(["modprobe", "snd-pcm-oss"])
    eyes.must(["udevadm", "settle"])
    eyes.must(["chmod", "0", MICROPHONE])  # so that it is the other node that is found
    assert opens(eyes, "seer", OLD) and not opens(eyes, "seer", MICROPHONE)
    assert look(eyes, "microphone.access")["live"] == "group"
    eyes.must(["systemctl", "start", GUARD])
    eyes.machine.until(lambda: not opens(eyes, "seer", OLD), f"{OLD} to be shut", pause=1)
    until(eyes, "microphone.access", "ok")


def test_a_program_that_holds_it_is_named(eyes: Guest) -> None:
    """Opened before it was shut, it goes on seeing: that program is named until it ends."""
    eyes.must(["systemctl", "stop", GUARD])
    eyes.must(["sh", "-c", "mkdir -p /run/held && chmod 777 /run/held"])
    eyes.must(["systemd-run", "--quiet", "--collect", "--unit=holder", "python3", "-Sc", HOLD, CAMERA])
    eyes.await_path("/run/held/now")
    try:
        found = look(eyes, "camera.access")
        assert (found["live"], found["kept"]) == ("group", "closed") and "python3" in found["cause"], found
    finally:
        eyes.must(["systemctl", "stop", "holder"])
    assert look(eyes, "camera.access")["live"] == "closed"
    eyes.must(["systemctl", "start", GUARD])

"""Where first boot stands, for a person without a screen, one with a screen, and one who asks: LED, console, status.

The console is the service's error output, which systemd gives to the console as well as to the journal; nothing
secret is ever said there. A device without a LED, a kernel that takes no pattern, a console nobody sees: it costs
nothing and stops nothing.

    the LED           means
    fast blinking     nothing can reach the device, the work begins
    slow blinking     factory secrets are being replaced
    SOS               it could not be finished; the device stays shut in
    as it always was  it is over
"""

import sys
from collections.abc import Callable
from contextlib import suppress

from agent.core.credential import OPEN, PROVEN, PROVISIONED, ROTATE, SHUT
from agent.core.errors import PrivetError
from agent.system.door import System

STANDING = "/run/privet/first_boot"  # what `privet status` says while the guard cannot answer yet
LEDS = "/sys/class/leds"
NAMES = ("ACT", "led0", "PWR", "led1")  # of a Raspberry Pi, now and on older kernels
FAILED = "failed"
FAST, SLOW = 100, 500  # milliseconds on, and off
DOT, DASH, GAP, PAUSE = 150, 450, 150, 1200
WORDS = {
    "linux_account": "factory passwords",
    "ssh_host_key": "the SSH server's keys",
    "machine_id": "numbers that it shares with every copy of its image",
    "host_name": "its name",
    "boot_files": "what the setup of the card left on it",
}


def on_console(sentence: str) -> None:
    """Say it where the service's errors go."""
    sys.stderr.write(f"privet: {sentence}\n")
    sys.stderr.flush()


def sentence(phase: str, kinds: tuple[str, ...]) -> str:
    """Say in plain words what a phase does."""
    if phase == SHUT:
        return "First start. Nothing can reach this device yet. Please leave it switched on."
    if phase == PROVEN:
        return "Nothing can reach this device yet. Trying that every old password and key is refused."
    if phase == OPEN:
        return "Every factory secret is replaced. Opening the device for what its profile allows."
    if phase == PROVISIONED:
        return "First start is over; this device is private. Your new password: sudo privet credentials show --once"
    if phase.startswith(ROTATE + " "):
        kind = phase.split(" ", 1)[1]
        place = f"{kinds.index(kind) + 1} of {len(kinds)}" if kind in kinds else "more"
        what = WORDS.get(kind, f"factory passwords of {kind.replace('_', ' ')}")
        return f"Nothing can reach this device yet. Replacing {what} ({place})."
    return phase


def restart_wanted(titles: tuple[str, ...]) -> str:
    """Say after the first start what holds from the next one on, and what to do for it."""
    what = "; ".join(titles)
    return f"One thing is left for you: restart this device once (sudo reboot). Until then this is still open: {what}."


def sos() -> bytes:
    """Write S O S for the kernel's pattern trigger: brightness and milliseconds in pairs, no fading between."""
    steps = []
    for letter in ((DOT, 3), (DASH, 3), (DOT, 3)):
        for _ in range(letter[1]):
            steps += [f"1 {letter[0]} 1 0 0 {GAP} 0 0"]
    return " ".join([*steps, f"0 {PAUSE} 0 0"]).encode() + b"\n"


class Signs:
    """Tells each phase; `say` takes one sentence."""

    def __init__(self, system: System, say: Callable[[str], None] = on_console) -> None:
        self.system = system
        self.say = say
        self.usual: dict[str, str] = {}  # LED: the trigger it had
        self.shown = ""

    def reached(self, phase: str, kinds: tuple[str, ...]) -> None:
        """Tell that a phase begins, or that the first boot ended."""
        told = sentence(phase, kinds)
        if told != self.shown:
            self.shown = told
            self.say(told)
        with suppress(PrivetError):
            if phase == PROVISIONED:
                self.system.remove(STANDING)
            else:
                self.system.write(STANDING, told.encode() + b"\n", 0o644)
        self.light(phase)

    def failed(self, why: str) -> None:
        """Tell that it could not be finished."""
        self.say(f"The first start could not be finished, so nothing can reach this device. {why}")
        with suppress(PrivetError):
            self.system.remove(STANDING)  # from now on the guard answers
        self.light(FAILED)

    def light(self, phase: str) -> None:
        """Let the LED show it, if there is one that can."""
        with suppress(PrivetError):
            present = self.system.entries(LEDS)
            name = next((name for name in NAMES if name in present), "")
            if not name:
                return
            if phase in (OPEN, PROVISIONED):
                self.restore(name)
                return
            if name not in self.usual:
                self.usual[name] = self.trigger(name)
            if phase == FAILED and self.pattern(name):
                return
            self.blink(name, FAST if phase in (SHUT, FAILED) else SLOW)

    def trigger(self, name: str) -> str:
        """Return the trigger a LED has; one of ours, of a first boot that was killed, is none of its own."""
        listed = self.system.read(f"{LEDS}/{name}/trigger", 1 << 16).decode("ascii", "replace").split()
        chosen = next((word.strip("[]") for word in listed if word.startswith("[")), "none")
        if chosen not in ("timer", "pattern"):
            return chosen
        usual = "default-on" if name in ("PWR", "led1") else "mmc0"
        return usual if usual in listed else "heartbeat" if "heartbeat" in listed else "none"

    def restore(self, name: str) -> None:
        """Give the LED back to what it showed before."""
        self.system.kernel(f"{LEDS}/{name}/trigger", self.usual.pop(name, self.trigger(name)).encode())

    def blink(self, name: str, milliseconds: int) -> None:
        """Let it blink by itself."""
        self.system.kernel(f"{LEDS}/{name}/trigger", b"timer")
        for part in ("delay_on", "delay_off"):
            self.system.kernel(f"{LEDS}/{name}/{part}", b"%d" % milliseconds)

    def pattern(self, name: str) -> bool:
        """Let it say SOS, where the kernel can."""
        try:
            self.system.kernel(f"{LEDS}/{name}/trigger", b"pattern")
            self.system.kernel(f"{LEDS}/{name}/pattern", sos())
        except PrivetError:
            return False
        return True

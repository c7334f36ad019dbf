"""Where first boot stands can be seen: on the LED, on the console, by `privet status`; none of it can stop it."""

import pytest

from agent.core.errors import Failed
from agent.guard.firstboot import FirstBoot
from agent.guard.signs import STANDING, Signs, sentence, sos
from agent.system.simulated import SimulatedSystem
from tests.guard.boots import ACCOUNTS, DONE, made
from tests.guard.disk_store import DiskStore, FileGate

TRIGGERS = ("none", "timer", "heartbeat", "mmc0", "pattern")


class Led:
    """A LED of the kernel: its timer's files are there while it blinks, and it refuses triggers it does not know."""

    def __init__(self, system: SimulatedSystem, name: str = "ACT", known: tuple[str, ...] = TRIGGERS) -> None:
        self.system, self.base, self.known = system, f"/sys/class/leds/{name}", known
        self.now = "mmc0"
        self.seen: list[str] = []
        system.hand.produced(f"{self.base}/trigger", self.listed, self.taken, 0o644)

    def listed(self) -> bytes:
        """List the triggers, the chosen one in brackets."""
        return " ".join(f"[{name}]" if name == self.now else name for name in self.known).encode() + b"\n"

    def taken(self, content: bytes) -> None:
        """Take another trigger."""
        word = content.decode().strip()
        if word not in self.known:
            raise OSError(22, "Invalid argument")
        self.now = word
        self.seen.append(word)
        for part in ("delay_on", "delay_off", "pattern"):
            self.system.hand.discard(f"{self.base}/{part}")
        for part in {"timer": ("delay_on", "delay_off"), "pattern": ("pattern",)}.get(word, ()):
            self.system.hand.produced(f"{self.base}/{part}", bytes, self.value, 0o644)

    def value(self, content: bytes) -> None:
        """Take a value."""
        self.seen.append(content.decode().strip())


def boot(system, said, kinds=ACCOUNTS):
    """Run a first boot that tells where it stands."""
    signs = Signs(system, said.append)
    return FirstBoot(system, DiskStore(system), FileGate(system), kinds, signs=signs).run()


def test_the_whole_way_is_told():
    """Fast, slow, as before; a sentence for each phase without any secret; `privet status` has it until all is over."""
    system, said = made(), []
    led = Led(system)
    assert boot(system, said) == DONE
    assert said[0].startswith("First start. Nothing can reach this device yet.")
    assert "Replacing factory passwords (1 of 1)." in said[1] and said[-1].startswith("First start is over")
    assert len(said) == 5
    assert led.seen[:3] == ["timer", "100", "100"] and "500" in led.seen and led.seen[-1] == "mmc0"
    assert STANDING.rpartition("/")[2] not in system.entries("/run/privet")
    waiting = DiskStore(system).get("credential/linux_account/pi").decode()
    assert not any(waiting in told or "raspberry" in told for told in said)


def test_what_failed_is_told_and_seen():
    """The first boot cannot go on: SOS, the sentence, and the guard answers from then on; the next start mends it."""
    system, said = made(), []
    led = Led(system)
    system.absent.add("chpasswd")
    with pytest.raises(Failed):
        boot(system, said)
    assert said[-1].startswith("The first start could not be finished, so nothing can reach this device.")
    assert led.seen[-2:] == ["pattern", sos().decode().strip()] and led.now == "pattern"
    system.absent.clear()
    assert boot(system, said) == DONE
    assert led.now == "mmc0"


def test_a_kernel_without_patterns_blinks():
    """Without SOS it blinks fast when it failed."""
    system = made()
    led = Led(system, "led0", ("none", "timer", "mmc0"))
    system.absent.add("chpasswd")
    with pytest.raises(Failed):
        boot(system, [])
    assert led.seen[-3:] == ["timer", "100", "100"]


def test_it_costs_nothing_where_there_is_none():
    """No LED, one that takes nothing, a full /run: the first boot ends all the same."""
    assert boot(made(), []) == DONE
    system = made()
    Led(system, known=("mmc0",))
    system.edit("/run/privet", b"a file where a directory should be")
    assert boot(system, []) == DONE


def test_every_kind_has_words():
    """A kind without words of its own is still told in words, and how many are left."""
    assert sentence("rotate node_red", ("linux_account", "node_red")).endswith(
        "factory passwords of node red (2 of 2)."
    )

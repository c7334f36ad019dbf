"""Flashing beside dd and bmaptool: the same data, the same loop devices in memory, one after the other in one run."""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from agent.core.secret import Secret
from agent.core.seed import Seed, seed_payload
from agent.core.slot import SEED, SIZE, whole
from provisioning.card.base import Base, Slot
from provisioning.card.targets.block import BlockTarget
from provisioning.card.worker import Worker
from provisioning.profile.sign import sign
from tests.bench.figures import Figures
from tests.card import rig
from tests.fleet.site.loops import Loop, Loops, loops

MIB = 1 << 20
IMAGE, FILLED, CARD = 768 * MIB, 384 * MIB, 1024 * MIB
SLOT = Slot(6 * MIB, SIZE)
TURNS, MANY, PERSONS = 3, 4, 10_000


def cards(figures: Figures) -> None:
    """Measure one card, and four at once."""
    figures.heading(
        f"cards: an image of {IMAGE // MIB} MiB, {FILLED // MIB} of them filled, onto used cards of {CARD // MIB} MiB"
    )
    with loops() as readers:
        image = drawn(readers.folder / "card.img")
        subprocess.run(("bmaptool", "-q", "create", "-o", f"{image}.bmap", image), check=True, capture_output=True)
        with Base(os.open(image, os.O_RDONLY), image.name, SLOT) as base:
            one = [reader(readers, "one")]
            alone(figures, image, base, one)
            many = one + [reader(readers, f"card{number}") for number in range(1, MANY)]
            together(figures, image, base, many)


def alone(figures: Figures, image: Path, base: Base, card: list[Loop]) -> None:
    """Compare on one card; say what each leaves of the previous owner."""
    took: dict[str, list[float]] = {name: [] for name in ("dd", "bmaptool", "write", "whole", "back", "only")}
    left: dict[str, int] = {}
    for _ in range(TURNS):
        for name, run in (("dd", dd), ("bmaptool", bmaptool)):
            took[name].append(timed(lambda run=run: run(image, card)))  # type: ignore[misc]
            left[name] = remains(card[0].path)
        workers: list[Worker] = []
        took["whole"].append(timed(lambda workers=workers: workers.extend(flash(base, card))))  # type: ignore[misc]
        left["privet"] = remains(card[0].path)
        stages = workers[0].progress.seconds
        took["back"].append(stages["read back"])
        took["only"].append(stages["write"])
        took["write"].append(took["whole"][-1] - stages["read back"])
    middle = {name: median(values) for name, values in took.items()}
    figures.line("dd, all bytes", middle["dd"], "s", beside=f"left of before: {left['dd'] // MIB} MiB")
    figures.line(
        "bmaptool, filled bytes", middle["bmaptool"], "s", beside=f"left of before: {left['bmaptool'] // MIB} MiB"
    )
    beside = f"{ratio(middle, 'write', 'dd')} of dd, {ratio(middle, 'write', 'bmaptool')} of bmaptool"
    figures.line(
        "privet: probe, erase, write", middle["write"], "s", beside=f"{beside}; left: {left['privet'] // MIB} MiB"
    )
    filled, all_bytes = FILLED / middle["only"] / MIB, IMAGE / middle["dd"] / MIB
    figures.line("of which writing", middle["only"], "s", beside=f"{filled:.0f} MiB/s; dd {all_bytes:.0f} MiB/s")
    rate = IMAGE / middle["back"] / MIB
    figures.line("privet: read back, in addition", middle["back"], "s", beside=f"{rate:.0f} MiB/s; the others: none")


def together(figures: Figures, image: Path, base: Base, many: list[Loop]) -> None:
    """Compare on several cards at once."""
    took: dict[str, list[float]] = {"dd": [], "whole": [], "write": []}
    for _ in range(TURNS):
        took["dd"].append(timed(lambda: dd(image, many)))
        workers: list[Worker] = []
        took["whole"].append(timed(lambda workers=workers: workers.extend(flash(base, many))))  # type: ignore[misc]
        took["write"].append(took["whole"][-1] - median(worker.progress.seconds["read back"] for worker in workers))
    middle = {name: median(values) for name, values in took.items()}
    figures.line(
        f"{MANY} cards, dd each", middle["dd"], "s", beside=f"{MANY * IMAGE / middle['dd'] / MIB:.0f} MiB/s in all"
    )
    rate = f"{MANY * FILLED / middle['write'] / MIB:.0f} MiB/s of filled bytes in all"
    figures.line(
        f"{MANY} cards, privet without read-back",
        middle["write"],
        "s",
        beside=f"{ratio(middle, 'write', 'dd')} of dd; {rate}",
    )
    figures.line(
        f"{MANY} cards, privet with read-back", middle["whole"], "s", beside=f"{ratio(middle, 'whole', 'dd')} of dd"
    )


def personal(figures: Figures) -> None:
    """Measure what makes ten thousand cards ten thousand devices: seeds signed, slots written."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    figures.heading(f"personalising {PERSONS:,} cards")
    key, slots = Ed25519PrivateKey.generate(), list[bytes]()
    tokens = [os.urandom(32) for _ in range(PERSONS)]
    took = timed(lambda: slots.extend(whole(SEED, sign(seed_payload(seed(n, tokens[n])), key)) for n in range(PERSONS)))
    figures.line("seeds made and signed", took, "s", beside=f"{PERSONS / took:,.0f}/s")
    with loops() as readers:
        image = readers.folder / "base.img"
        with image.open("wb") as file:
            file.truncate(16 * MIB)
            took = timed(lambda: [os.pwrite(file.fileno(), slot, SLOT.offset) for slot in slots])
    figures.line("slots written", took, "s", 1.0, beside=f"{1e6 * took / PERSONS:.1f} µs each")


def seed(number: int, token: bytes) -> Seed:
    """Make one seed."""
    return Seed(
        device=f"d-{number:016x}", token=Secret(token), enrol_host="enrol.example", enrol_port=8443,
        broker_host="broker.example", broker_port=8883, anchor=bytes(32), floor=1_700_000_000, policy=bytes(32),
        sequence=1, serial="",
    )  # fmt: skip


def drawn(path: Path) -> Path:
    """Draw an image: four stretches of bytes that cannot be packed, with holes between."""
    with path.open("wb") as file:
        file.truncate(IMAGE)
        file.write(rig.boot_record())
        for stretch in range(4):
            file.seek(8 * MIB + stretch * IMAGE // 4)
            for _ in range(FILLED // MIB // 4):
                file.write(os.urandom(MIB))
    return path


def reader(readers: Loops, name: str) -> Loop:
    """Put in a used card."""
    return readers.insert(rig.used_card(readers.folder / name, CARD))


def remains(path: Path) -> int:
    """Count the bytes of the previous owner that are still there."""
    found = 0
    with path.open("rb") as file:
        while part := file.read(MIB * 16):
            found += part.count(rig.OLD) * len(rig.OLD)
    rig.used_card(path, CARD)
    return found


def dd(image: Path, there: list[Loop]) -> None:
    """Write with dd, past the page cache, to every card at once."""
    words = [
        ("dd", f"if={image}", f"of={loop.node}", "bs=4M", "oflag=direct", "conv=fsync", "status=none") for loop in there
    ]
    running = [subprocess.Popen(one) for one in words]
    assert [one.wait() for one in running] == [0] * len(running)


def bmaptool(image: Path, there: list[Loop]) -> None:
    """Write with bmaptool."""
    subprocess.run(
        ("bmaptool", "-q", "copy", "--bmap", f"{image}.bmap", image, there[0].node), check=True, capture_output=True
    )


def flash(base: Base, there: list[Loop]) -> list[Worker]:
    """Write with ours, to every card at once."""
    stop = threading.Event()
    workers = [Worker(loop.name, "", lambda loop=loop: BlockTarget(loop.node), base, None, stop) for loop in there]  # type: ignore[misc]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        worker.let_go()
    assert [worker.error for worker in workers] == [None] * len(workers)
    return workers


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds it took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ratio(middle: dict[str, float], ours: str, theirs: str) -> str:
    """Write a ratio of two times."""
    return f"{middle[ours] / middle[theirs]:.2f} x"

"""Enrolling: ids and tokens of ten thousand devices with their seeds, and certificates over TLS by the real server."""

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from provisioning.fleet.slots import places_of, slots
from tests.bench.figures import Figures
from tests.fleet.crowd import Question, enrolled, questions
from tests.fleet.enrolling import Office, Served

MANY, SOME, CLIENTS, TOGETHER = 10_000, 2_000, 2, 16


def registered(figures: Figures) -> None:
    """Measure ids, tokens and seeds of ten thousand devices: made, kept, signed, ready to be written."""
    figures.heading(f"{MANY:,} ids, tokens and stamped seeds")
    with tempfile.TemporaryDirectory(prefix="privet-bench-") as folder:
        office = Office(Path(folder))
        places = places_of(office.fleet, b"policy", 1, 1_700_000_000, ("enrol.example", 8444))
        began, cpu = time.perf_counter(), time.process_time()
        _, cards = office.registry.batch(MANY)
        made = time.perf_counter() - began
        size = sum(len(slot) for slot in slots(office.fleet, places, cards))
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        figures.line("ids and tokens, durable in the registry", made, "s")
        figures.line("the same, and their slots", took, "s", 1.0, beside=f"{cpu:.2f} s of CPU, {size >> 20} MiB")
        office.registry.close()


def certified(figures: Figures) -> None:
    """Measure certificates given by the real server: TLS 1.3, one connection a device, durable before it is told."""
    figures.heading(f"{SOME:,} enrolments, {CLIENTS} client processes with {TOGETHER} connections each, one server")
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="privet-bench-") as folder:
        office = Office(Path(folder))
        work = questions(office.planned(SOME))
        with Served(office) as served:
            anchor = office.fleet.trust_anchor().decode()
            start, results = spawn.Event(), spawn.Queue()
            parts = [work[at::CLIENTS] for at in range(CLIENTS)]
            crowd = [spawn.Process(target=client, args=(served.port, anchor, part, start, results)) for part in parts]
            for one in crowd:
                one.start()
            for _ in crowd:
                results.get()  # each says that it is ready
            cpu, began = time.process_time(), time.perf_counter()
            start.set()
            statuses = [status for _ in crowd for status in results.get()]
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
            for one in crowd:
                one.join()
        right = statuses.count(200)
        figures.line("enrolled", right, "devices", SOME, more=True)
        figures.line(
            "enrolments", right / took, "1/s", 200, beside=f"server {1000 * cpu / SOME:.2f} ms each", more=True
        )
        figures.line("rows of the ledger, verified", office.registry.verify(), "rows")
        office.registry.close()


def client(port: int, anchor: str, work: list[Question], start: Event, results: Any) -> None:
    """Be some of the devices."""
    results.put([])
    start.wait()
    results.put(asyncio.run(enrolled(port, anchor, work, TOGETHER)))


SECTIONS: dict[str, Callable[[Figures], None]] = {"registered": registered, "certified": certified}

"""What tests of real cards share: a fleet, an image with its manifest, used cards, and the command."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.core.slot import SIZE
from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import add_recipient
from tests.card import pi, rig
from tests.fleet.site.loops import Loop, Loops
from tests.house import ROOT

MIB = 1 << 20
CARD = 64 * MIB
PROGRAM = (str(Path(sys.executable).with_name("privet-fleet")),)


def fleet_with_image(folder: Path) -> Path:
    """Make a fleet, and an image with its manifest."""
    fleet = Fleet.create(folder / "fleet", "meadow")
    add_recipient(fleet, "collector")
    fleet.safe.seal(broker_host="broker.example", broker_port="8883")
    pi.signed(folder / "privet.img", pi.drawn(folder / "privet.img"), fleet)
    return folder


def ask(made: Path, verb: str, *words: str | Path) -> tuple[int, list[dict[str, Any]]]:
    """Run the command as a program does; return its exit code and the lines of JSON."""
    fleet = ("--fleet", str(made / "fleet")) if verb in {"flash", "batch", "devices"} else ()
    done = subprocess.run(
        (*PROGRAM, verb, *words, *fleet, "--json"), capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def card(readers: Loops, name: str, reader: str = "") -> Loop:
    """Put in a card that somebody used."""
    return readers.insert(rig.used_card(readers.folder / name, CARD), reader)


def waiver(loop: Loop) -> tuple[str, str]:
    """Name a card and its size."""
    return ("--waive", f"{loop.name}={loop.path.stat().st_size}")


def slot_place(made: Path) -> int:
    """Return where the slot of the image is."""
    with (made / "privet.img").open("rb") as file:
        return pi.place(lambda at, length: os.pread(file.fileno(), length, at), (made / "privet.img").stat().st_size)


def whole(made: Path, slot: bytes, size: int = CARD) -> bytes:
    """Return what a card must hold."""
    content, at = bytearray((made / "privet.img").read_bytes()), slot_place(made)
    content[at : at + SIZE] = slot
    return bytes(content) + bytes(size - len(content))

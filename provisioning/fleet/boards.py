"""The list of boards a batch is made for: a CSV file with a column `serial`, or with serial numbers alone.

A column `key` may hold the public key of a board (base64, as `privet board-key` prints it): its seed is sealed to it.
"""

import base64
import csv
import re
from pathlib import Path
from typing import NamedTuple

from agent.core.errors import BadInput, Missing, Unreadable
from agent.core.seed import MOST_SERIAL
from provisioning.fleet import boardseal

MOST_FILE = 64 << 20  # bytes
COLUMN, KEY = "serial", "key"
SERIAL = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:-]{{0,{MOST_SERIAL - 1}}}")


class Board(NamedTuple):
    """One board: its serial number, and its public key where it is known, else none."""

    serial: str
    key: bytes


def read_serials(path: Path) -> list[str]:
    """Return the serial numbers of a file, in its order."""
    return [one.serial for one in read_boards(path)]


def read_boards(path: Path) -> list[Board]:
    """Return the boards of a file, in its order; BadInput names the first line that is wrong, and why."""
    rows = [(number, row) for number, row in _rows(path) if any(cell.strip() for cell in row)]
    if not rows:
        raise BadInput(f"{path} holds no serial number; give a CSV file with a column {COLUMN}")
    head = [cell.strip().lower() for cell in rows[0][1]]
    place = head.index(COLUMN) if COLUMN in head else 0
    if COLUMN not in head and len(rows[0][1]) > 1:
        raise BadInput(f"{path} has several columns and none is called {COLUMN}; name the one that holds the numbers")
    if COLUMN not in head and not any(letter.isdigit() for letter in head[0]):
        raise BadInput(f"{path} begins with {head[0][:40]!a}, which is no serial number; call the column {COLUMN}")
    keys = head.index(KEY) if COLUMN in head and KEY in head else -1
    known: dict[str, int] = {}
    found = []
    for number, row in rows[1:] if COLUMN in head else rows:
        serial = row[place].strip() if place < len(row) else ""
        _fits(path, number, serial)
        if serial.lower() in known:
            before = known[serial.lower()]
            raise BadInput(f"{path} line {number}: {serial} stands in line {before} already; take one of them out")
        known[serial.lower()] = number
        text = row[keys].strip() if 0 <= keys < len(row) else ""
        found.append(Board(serial, _key(path, number, text) if text else b""))
    if not found:
        raise BadInput(f"{path} holds a heading and no serial number; give one in each line")
    return found


def read_key(path: Path) -> bytes:
    """Return the public key of one board, from a file with what it printed."""
    rows = [row for _, row in _rows(path) if any(cell.strip() for cell in row)]
    if len(rows) != 1:
        raise BadInput(f"{path} holds no key of one board; print it on the board: sudo privet board-key")
    return _key(path, 1, rows[0][-1].strip())


def _fits(path: Path, number: int, serial: str) -> None:
    if not serial:
        raise BadInput(f"{path} line {number}: there is no serial number; fill it in or take the line out")
    if SERIAL.fullmatch(serial) is None:
        shown = ascii(serial[:40])
        why = "use letters, digits and . _ : - of plain ASCII, at most 64"
        raise BadInput(f"{path} line {number}: {shown} is no serial number; {why}")


def _key(path: Path, number: int, text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
        boardseal.public_key(found)
    except ValueError:
        why = "print it on the board: sudo privet board-key"
        raise BadInput(f"{path} line {number}: what stands under {KEY} is no key of a board; {why}") from None
    return found


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_FILE + 1)
    except FileNotFoundError:
        raise Missing(f"{path} is not there; give the CSV file with the serial numbers") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); check its rights") from None
    if len(content) > MOST_FILE:
        raise BadInput(f"{path} is larger than {MOST_FILE >> 20} MB; make several batches")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from None
    try:
        reader = csv.reader(text.splitlines(), strict=True)
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise BadInput(f"{path} is no CSV ({error}); save it as CSV") from None

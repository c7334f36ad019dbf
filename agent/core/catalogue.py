"""The catalogue of what a policy lets be measured: its purposes and fields, read strictly; nothing unknown is taken."""

import hashlib

from .cbor import encode
from .cell import LARGEST, SCALE, SMALLEST
from .errors import BadPolicy
from .noise import FIGURES
from .record import as_map
from .telemetry import Purpose, Recipient, TelemetryField
from .window import KEEPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DECLARED = "privet declared 1"
PURPOSE = {"id": str, "title": str, "text": str, "basis": str, "recipients": list, "retention_days": int}
PURPOSE_MAY = {"pseudonym": int}
FIELD = {"name": str, "title": str, "purpose": str, "bucket": int}
NUMBER = {"unit": str, "scale": int, "step": int, "low": int, "high": int}
PLACE = {"cell": int}
NUMBER_MAY = {"keep": list, "most": int, "noise": list}
PLACE_MAY = {"most": int}
LACKING = {
    "keep": (), "cell": 0, "most": 0, "noise": (), "unit": "", "scale": SCALE, "step": 1, "low": 0, "high": 1,
}  # fmt: skip
RECIPIENT = {"id": str, "name": str, "country": str, "key": bytes}


def shaped(table: "Any", shape: "dict[str, Any]", name: str, may: "dict[str, Any] | None" = None) -> "dict[str, Any]":
    """Return the table if it has exactly the keys and types of the shape, and of `may` what it likes; else refuse."""
    more = may or {}
    if type(table) is not dict:
        raise BadPolicy("the policy is damaged: %s is no table; ask the sender for a new one" % name)
    for key in table:
        if key not in shape and key not in more:
            raise BadPolicy("the policy has an unknown entry %r in %s; update Privet" % (key, name))
    for key in shape:
        if type(table.get(key)) is not shape[key]:
            raise BadPolicy("the policy lacks %s in %s, or has it in another form; compile it again" % (key, name))
    for key in more:
        if key in table and type(table[key]) is not more[key]:
            raise BadPolicy("the policy has %s in %s in another form; compile it again" % (key, name))
    return table


def read_fields(table: "dict[str, Any]") -> "tuple[TelemetryField, ...]":
    """Read the telemetry fields; each must name a declared purpose and be sound."""
    purposes = [p["id"] for p in table["purposes"]]
    made = []
    for row in table["fields"]:
        field = read_field(row)
        if field.purpose not in purposes or not field.name or not sound(field):
            raise BadPolicy(
                "the policy's field %r has no declared purpose or no sound range; compile it again" % field.name
            )
        made.append(field)
    return tuple(made)


def read_field(row: "Any") -> TelemetryField:
    """Read one field: a number, or a place that is reduced to a cell."""
    place = type(row) is dict and "cell" in row
    shape: "dict[str, Any]" = dict(FIELD)
    shape.update(PLACE if place else NUMBER)
    table: "dict[str, Any]" = dict(LACKING)
    table.update(shaped(row, shape, "a field", PLACE_MAY if place else NUMBER_MAY))
    kept = table["keep"] = tuple(table["keep"])
    if not all([type(kind) is str and kind in KEEPS for kind in kept]):
        raise BadPolicy("the policy's field %r keeps a figure that is not known; update Privet" % table["name"])
    table["noise"] = tuple(table["noise"])
    return TelemetryField(**table)


def sound(field: TelemetryField) -> bool:
    """Say whether the numbers of a field make sense together."""
    ranged = 0 <= field.scale <= 6 and field.step > 0 and field.high - field.low >= field.step
    whole = field.cell == 0 or SMALLEST <= field.cell <= LARGEST
    return field.bucket > 0 and field.most >= 0 and ranged and whole and noise_sound(field)


def noise_sound(field: TelemetryField) -> bool:
    """Say whether noise is declared as it can be added, and so that what all of a bucket tells has an end."""
    if not field.noise:
        return True
    whole = len(field.noise) == 3 and all([type(part) is int and part > 0 for part in field.noise])
    return whole and all([kind in FIGURES for kind in field.keep]) and bool(field.keep or field.most)


def read_purposes(table: "dict[str, Any]") -> "tuple[Purpose, ...]":
    """Read the purposes; each must name declared recipients and a retention."""
    recipients = [shaped(r, RECIPIENT, "a recipient")["id"] for r in table["recipients"]]
    made = []
    for row in table["purposes"]:
        p: "dict[str, Any]" = {"pseudonym": 0}
        p.update(shaped(row, PURPOSE, "a purpose", PURPOSE_MAY))
        unknown = [r for r in p["recipients"] if r not in recipients]
        if not p["recipients"] or unknown or p["retention_days"] < 1 or p["pseudonym"] < 0 or not slug(p["id"]):
            raise BadPolicy("the policy's purpose %r lacks recipients, retention or a plain id" % p["id"])
        p["recipients"] = tuple(p["recipients"])
        made.append(Purpose(**p))
    return tuple(made)


def declared(purpose: Purpose, fields: "tuple[TelemetryField, ...]", recipient: Recipient, texts: bool) -> bytes:
    """Return the digest of what a purpose is declared to send to one recipient: of rows, so that no wording is in it.

    Whoever has the signed policy can compute it. What stands where an entry may be missing is left out, so that a
    further kind of entry changes no digest of a policy without it.
    """
    why, lacking = as_map(purpose), {"pseudonym": 0, "recipients": purpose.recipients}
    rows = [plain(as_map(field), LACKING) for field in fields]
    told = [DECLARED, plain(why, lacking), rows, as_map(recipient), texts]
    return hashlib.sha256(encode(told)).digest()


def plain(row: "dict[str, Any]", lacking: "dict[str, Any]") -> "dict[str, Any]":
    """Return a row without the entries that stand for missing ones."""
    kept = {name: row[name] for name in row if name not in lacking or row[name] != lacking[name]}
    return {name: list(kept[name]) if type(kept[name]) is tuple else kept[name] for name in kept}


def slug(name: str) -> bool:
    """Say whether a name is made of a-z, 0-9, _ and - only, so that it is safe in a topic and in a path."""
    return bool(name) and len(name) <= 64 and all([c in "abcdefghijklmnopqrstuvwxyz0123456789_-" for c in name])

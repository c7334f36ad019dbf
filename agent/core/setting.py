"""Settings: one privacy-relevant knob each, its options strictest first, its risk in plain words."""

from .errors import BadInput
from .order import ANY, KINDS, Order, order
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .record import Params, Value

REQUIRED = ("id", "title", "provider", "order", "risk", "satisfies", "axis", "option")
OPTIONAL = ("params", "exposes", "closes", "touches", "gates", "enforce")
AXES = ("amount", "extent", "period", "access")


class Option(Record):
    """One value a setting can have; every option but the first says what may follow from it."""

    __slots__ = ("exposes", "risk", "value")
    value: "Value"
    risk: str
    exposes: "tuple[str, ...]"


class Setting(Record):
    """One knob. Its first option is the strictest and the default: a loose default cannot be written down.

    Ways in: `closes` those its strictest option shuts, `touches` those it may break but must not shut, `gates` those
    that come in through a flow its value lists. Without `enforce` it is found and told, and its owner settles it:
    nobody else can know whether what was found belongs there.
    """

    __slots__ = (
        "axis",
        "closes",
        "enforce",
        "exposes",
        "gates",
        "id",
        "options",
        "order",
        "params",
        "provider",
        "risk",
        "satisfies",
        "title",
        "touches",
    )
    id: str
    title: str
    provider: str
    params: "Params"
    order: str
    options: "tuple[Option, ...]"
    risk: str
    exposes: "tuple[str, ...]"
    satisfies: "tuple[str, ...]"
    axis: str
    closes: "tuple[str, ...]"
    touches: "tuple[str, ...]"
    gates: "tuple[str, ...]"
    enforce: bool

    def lattice(self) -> Order:
        """Return the order of this setting's values."""
        return order(self.order, tuple([o.value for o in self.options]))

    def strictest(self) -> "Value":
        """Return the private default."""
        return self.options[0].value

    def newly(self, wanted: "Value", found: "Value") -> "tuple[Option, ...]":
        """Return what `found` makes possible beyond `wanted`: each option it reaches, else one general option."""
        lattice = self.lattice()
        reached = []
        for option in self.options[1:]:
            if lattice.leq(option.value, found) and not lattice.leq(option.value, wanted):
                reached.append(option)
        if not reached or found == ANY or not lattice.member(found):
            reached = [Option(value=found, risk=self.risk, exposes=self.exposes)]
        return tuple(reached)


def plain(value: "Any") -> "Value":
    """Turn a TOML or CBOR value into a setting value: lists become sorted tuples, booleans become yes and no."""
    if value is True or value is False:
        return "yes" if value else "no"
    if type(value) is list or type(value) is tuple:
        for word in value:
            if type(word) is not str:
                raise BadInput("a list of options holds words only, not %r; correct the file" % (word,))
        return tuple(sorted(set(value)))
    if type(value) is int or type(value) is str:
        return value
    raise BadInput("%r cannot be the value of a setting; use a word, a whole number or a list of words" % (value,))


def text(table: "dict[str, Any]", key: str, name: str) -> str:
    """Return a non-empty text field of a table, or refuse."""
    value = table.get(key)
    if type(value) is not str or not value:
        raise BadInput("setting %s: %s is missing or no text; add it" % (name, key))
    return value


def listed(table: "dict[str, Any]", key: str, name: str) -> "tuple[str, ...]":
    """Return a list of words of a table in its written order, empty when absent."""
    value = table.get(key, [])
    if type(value) is not list or not all([type(v) is str for v in value]):
        raise BadInput("setting %s: %s must be a list of texts" % (name, key))
    return tuple(value)


def read_option(table: "Any", name: str) -> Option:
    """Read one `[[option]]` table."""
    if type(table) is not dict or "value" not in table:
        raise BadInput("setting %s: each option needs a value" % name)
    for key in table:
        if key not in ("value", "risk", "exposes"):
            raise BadInput("setting %s: an option has no key %r" % (name, key))
    risk = text(table, "risk", name) if "risk" in table else ""
    return Option(value=plain(table["value"]), risk=risk, exposes=listed(table, "exposes", name))


def read_setting(table: "dict[str, Any]") -> Setting:
    """Read one setting file that was already parsed from TOML or CBOR; refuse whatever breaks a law of settings."""
    name = text(table, "id", "(unnamed)")
    for key in table:
        if key not in REQUIRED and key not in OPTIONAL:
            raise BadInput("setting %s has no key %r; remove it" % (name, key))
    params = table.get("params", {})
    if type(table.get("enforce", True)) is not bool:
        raise BadInput("setting %s: enforce is true or false; correct the file" % name)
    if type(params) is not dict or type(table.get("option")) is not list or not table["option"]:
        raise BadInput("setting %s needs params as a table and at least one option" % name)
    setting = Setting(
        id=name,
        title=text(table, "title", name),
        provider=text(table, "provider", name),
        params={key: plain(params[key]) for key in params},
        order=text(table, "order", name),
        options=tuple([read_option(o, name) for o in table["option"]]),
        risk=text(table, "risk", name),
        exposes=listed(table, "exposes", name),
        satisfies=listed(table, "satisfies", name),
        axis=text(table, "axis", name),
        closes=listed(table, "closes", name),
        touches=listed(table, "touches", name),
        gates=listed(table, "gates", name),
        enforce=table.get("enforce", True) is True,
    )
    lawful(setting)
    return setting


def lawful(setting: Setting) -> None:
    """Refuse a setting whose options do not get looser, or that loosens without saying the risk."""
    if setting.order not in KINDS or setting.axis not in AXES or not setting.satisfies:
        raise BadInput("setting %s: order, axis or satisfies is not one of the known ones" % setting.id)
    lattice = setting.lattice()
    for place, option in enumerate(setting.options):
        if not lattice.member(option.value):
            raise BadInput("setting %s: %r does not belong to the order %s" % (setting.id, option.value, setting.order))
        if place and not option.risk:
            raise BadInput("setting %s: %r is looser and says no risk; add one" % (setting.id, option.value))
        if place and lattice.leq(option.value, setting.strictest()):
            raise BadInput("setting %s: %r is not looser than the first option" % (setting.id, option.value))

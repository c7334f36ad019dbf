"""What another version of Privet has kept, and this one does not know as it does."""

from .setting import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .setting import Setting


def within(table: "Any", settings: "dict[str, Setting]") -> "tuple[Any, tuple[str, ...]]":
    """Leave out of a decoded policy the settings that this version of Privet does not know as it does; name them.

    For the policy in force alone, which an earlier or a later version took: one that arrives is refused as a whole.
    """
    if type(table) is not dict or type(table.get("baseline")) is not dict:
        return table, ()
    known, left = {}, []
    for name in table["baseline"]:
        if fits(settings.get(name), table["baseline"][name]):
            known[name] = table["baseline"][name]
        else:
            left.append(name)
    made = dict(table)
    made["baseline"] = known
    return made, tuple(sorted(left))


def fits(setting: "Setting | None", value: "Any") -> bool:
    """Say whether a kept value is one that a setting of this version can have; None: it has no such setting."""
    return setting is not None and setting.lattice().member(plain(value))

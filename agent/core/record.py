"""Immutable value objects that behave the same on CPython and MicroPython."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, dataclass_transform

    Value = int | str | bytes | tuple[str, ...]
    Params = dict[str, Value]

    @dataclass_transform(kw_only_default=True, frozen_default=True)
    class Typed:
        """What the type checker sees of a record: keyword-only, frozen fields."""

else:
    # Modules outside the core import these two names at run time as well.
    Value = object
    Params = dict

    class Typed:
        """Nothing at run time; MicroPython knows neither `dataclasses` nor `typing`."""

        __slots__ = ()


class Record(Typed):
    """A frozen bundle of named fields; a subclass lists its names once in `__slots__`, once as annotations."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __init__(self, **fields):
            names = type(self).__slots__
            for name in fields:
                if name not in names:
                    raise TypeError("%s has no field %s" % (type(self).__name__, name))
            for name in names:
                if name not in fields:
                    raise TypeError("%s lacks the field %s" % (type(self).__name__, name))
                object.__setattr__(self, name, fields[name])

        def __setattr__(self, name, value):
            raise AttributeError("%s is immutable: use replace()" % type(self).__name__)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and values(self) == values(other)

    def __hash__(self) -> int:
        return hash((type(self).__name__, values(self)))

    def __repr__(self) -> str:
        names: "tuple[str, ...]" = type(self).__slots__
        return "%s(%s)" % (type(self).__name__, ", ".join(["%s=%r" % (n, getattr(self, n)) for n in names]))


def values(record: "Record") -> "tuple[Any, ...]":
    """Return the field values in declared order."""
    names: "tuple[str, ...]" = type(record).__slots__
    return tuple([getattr(record, name) for name in names])


def as_map(record: "Record") -> "dict[str, Any]":
    """Return the fields as a plain map; nested records stay records."""
    names: "tuple[str, ...]" = type(record).__slots__
    return {name: getattr(record, name) for name in names}


if TYPE_CHECKING:
    from typing import TypeVar

    R = TypeVar("R", bound=Record)


def replace(record: "R", **changes: "Any") -> "R":
    """Return a copy with some fields changed; an unknown name is a TypeError."""
    fields = as_map(record)
    for name in changes:
        if name not in fields:
            raise TypeError("%s has no field %s" % (type(record).__name__, name))
        fields[name] = changes[name]
    return type(record)(**fields)


def frozen(value: "Any") -> "Any":
    """Return a decoded value with every list turned into a tuple, at any depth."""
    if type(value) is list or type(value) is tuple:
        return tuple([frozen(item) for item in value])
    if type(value) is dict:
        return {key: frozen(value[key]) for key in value}
    return value


def from_map(kind: "type[R]", table: "dict[str, Any]") -> "R":
    """Rebuild a flat record from its map, as it comes back from storage."""
    return kind(**frozen(table))

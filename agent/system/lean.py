"""What this program needs of `typing` while it runs, which is next to nothing: types are checked before it is shipped.

The guard puts this in the place of `typing` before anything else is loaded (provisioning/package/privet-guard); the
real one, and an abstract class for each protocol, would cost it half a megabyte for good.
"""

from collections import namedtuple

TYPE_CHECKING = False


class Protocol:
    """A protocol is a plain class here."""


class Word:
    """Anything that stands in an annotation, in brackets, between bars."""

    def __init__(self, *_parts: object, **_more: object) -> None: ...

    def __class_getitem__(cls, _parts: object) -> object:
        return cls

    def __call__(self, *_parts: object) -> object:
        """Stand for what is made of it, too."""
        return self

    def __getitem__(self, _parts: object) -> "Word":
        return self

    def __or__(self, _other: object) -> "Word":
        return self

    __ror__ = __or__


class TypeVar(Word):
    """A word that another one may stand for, in brackets."""

    def __typing_subst__(self, part: object) -> object:
        return part


class ParamSpec(TypeVar):
    """The kind of word that the brackets of a Callable take by its name."""

    args = kwargs = Word()


class Named(type):
    """Makes of a class with fields a tuple with names."""

    def __new__(cls, name: str, bases: tuple[type, ...], fields: dict[str, object]) -> type:
        """Make the tuple; the class that others are made of stays one."""
        named = fields.get("__annotations__")
        plain = super().__new__(cls, name, bases, fields)
        return namedtuple(name, named) if isinstance(named, dict) else plain  # noqa: PYI024 — this is what stands for it


class NamedTuple(metaclass=Named):
    """What tomllib keeps its results in."""


ParamSpec.__module__ = "typing"
Any = Generic = Word


def cast(_kind: object, value: object) -> object:
    """Return a value as it is."""
    return value


def __getattr__(name: str) -> Word:
    if name.startswith("__"):
        raise AttributeError(name)
    return Word()

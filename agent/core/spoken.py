"""Words: which values of settings speak to few people, and who gains by a loosening."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .record import Value

OBSERVERS = {
    "local": "programs on this device",
    "account": "other users of this device",
    "person": "anyone holding this device",
    "radio": "anyone within radio range",
    "lan": "anyone on your home network",
    "internet": "anyone on the internet",
    "vendor": "the maker",
    "third": "other companies",
}


def bare(value: "Value") -> bool:
    """Say whether a value is a number of the kernel's or an owner with permission bits: it speaks to few people."""
    return type(value) is str and (value.isdigit() or (value[-4:].isdigit() and value.count(":") == 2))


def who(exposes: "tuple[str, ...]") -> str:
    """Say who gains by it, from "observer:asset" words."""
    people = []
    for word in sorted(set([e.split(":")[0] for e in exposes])):
        if word in OBSERVERS:
            people.append(OBSERVERS[word])
    return "Affects: %s." % ", ".join(people) if people else ""

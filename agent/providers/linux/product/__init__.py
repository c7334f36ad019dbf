"""Programs that people run on such devices: who reaches them, who is let in, what they tell their makers.

Params: `product` (a module of `known/`) and `what` (one of its `SAFE`). A product that is not installed costs one look
at a few paths and is absent.

Live is what the running program does where it can be asked; kept is what its files would make of it at its next start.
Where one of the two cannot be known by itself, and the program started after the last change of its files, the other
says it; else it is unknown. A program that does not run does nothing, so live is then as strict as can be.
"""

import importlib
import sys
from typing import Protocol, cast

from agent.core.assess import Reading, absent, unread
from agent.core.errors import BadInput, PrivetError
from agent.core.plan import Remove, Run, Write
from agent.core.record import Params, Value
from agent.providers.linux.product import look, unit
from agent.providers.linux.product.look import Process
from agent.system.door import System
from agent.system.seen import booted

PARAMS = ("product", "what")

Step = Write | Remove | Run


class Product(Protocol):
    """What a module of `known/` has.

    `FILES`: one of them is there where it is installed. `UNITS`: its unit, by the names it goes by. `PROGRAMS`: names
    of its program. `SAFE`: the strictest value of each thing it has settings about. `GIVEN`: for those, the variables
    of its environment that hold them so.

    A module may have too: `EDITED`, the options of each thing that are held by changing files of its own, with
    `edits(system, what, option)`, which returns those files as they must be; `given(system, what, environment)`, what
    GIVEN is on this device; `VALUED`, variables that take the value of a setting as it is; `MARKS`, files that are
    written whenever it starts; `RUNS`: only one that runs is judged, and what it does is what it will do.
    """

    FILES: tuple[str, ...]
    UNITS: tuple[str, ...]
    PROGRAMS: tuple[str, ...]
    SAFE: dict[str, Value]
    GIVEN: dict[str, dict[str, str]]

    def paths(self, system: System) -> tuple[str, ...]:
        """Name the files it reads at its start, and the directories in which a new or missing one would count."""

    def kept(self, system: System, what: str, environment: dict[str, str]) -> Value | None:
        """Say what its files make of it, started with this environment; None when they do not tell."""

    def live(self, system: System, what: str, running: tuple[Process, ...]) -> Value | None:
        """Say what it does, by asking it; None when it cannot be asked about this."""


def text(params: Params, name: str) -> str:
    """Return a parameter that is a word."""
    return str(params[name])


def product_of(params: Params) -> Product:
    """Return the module of a product."""
    name, what = text(params, "product"), text(params, "what")
    try:
        module = importlib.import_module(f"{__name__}.known.{name}") if name.isidentifier() else None
    except ModuleNotFoundError:
        module = None
    if module is None or what not in module.SAFE:
        raise BadInput(f"this version of Privet knows nothing about {what} of {name}; update it")
    return cast(Product, module)


SHORT: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}  # of each product seen so far: its FILES and UNITS


def short(params: Params) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return where a product would be and how its unit is called, for which its module is loaded once."""
    name = text(params, "product")
    if name not in SHORT:
        product = product_of(params)
        SHORT[name] = (product.FILES, product.UNITS)
        forget(name)
    return SHORT[name]


def forget(name: str) -> None:
    """Let go of the module of a product: those that are not on the device would cost the guard memory for good."""
    sys.modules.pop(f"{__name__}.known.{name}", None)
    vars(sys.modules.get(f"{__name__}.known")).pop(name, None)


def probe(system: System, params: Params) -> Reading:
    """Look at what runs and at what is kept."""
    kept: Value | None = None
    try:
        if not any(look.there(system, path) for path in short(params)[0]):
            return absent(f"{text(params, 'product')} is not installed")
        product, what = product_of(params), text(params, "what")
        name = unit.found(system, product.UNITS)
        kept = product.kept(system, what, unit.environment(system, name))
        running = look.processes(system, product.PROGRAMS)
        if not running and getattr(product, "RUNS", False) and kept is None:
            return absent(f"no {text(params, 'product')} server runs")
        if not running:
            return judged(product.SAFE[what], kept, params)
        live = product.live(system, what, running)
        marks = (f"/run/systemd/units/invocation:{name}", *getattr(product, "MARKS", ()))
        paths = (*product.paths(system), *unit.sources(system, name))
        if (live is None or kept is None) and look.fresh(system, running, paths, marks):
            # What it would do if it were started now is what it does: nothing has changed since.
            now = product.kept(system, what, running[0].environment) if live is None else live
            live, kept = now if live is None else live, now if kept is None else kept
        return judged(live, kept, params)
    except PrivetError as error:
        return unread(str(error), kept=kept)


def judged(live: Value | None, kept: Value | None, params: Params) -> Reading:
    """Make a reading; what is missing is said."""
    if live is not None and kept is not None:
        return Reading(live=live, kept=kept, cause="", absent=False)
    where = "does now" if live is None else "will do after its next start"
    cause = f"what {text(params, 'product')} {where} cannot be told from here; start it again and look once more"
    return unread(cause, live=live, kept=kept)


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Hold the strictest option by what the product offers for it; take that away again for a looser one."""
    product, what = product_of(params), text(params, "what")
    if "unit" not in params:
        raise BadInput(f"{text(params, 'product')}: these steps need a look at the device first")
    if what not in product.GIVEN and what not in getattr(product, "EDITED", {}):
        return ()  # what only its owner can settle
    name = text(params, "unit")
    made: list[Step] = []
    rows = cast(tuple[str, ...], params.get(f"edits {option!s}", ()))
    for path, body, rights in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        mode, uid, gid = (int(word) for word in rights.split())
        made.append(Write(path=path, content=body.encode("utf-8", "surrogateescape"), mode=mode, uid=uid, gid=gid))
    if what in product.GIVEN:
        table = dict(word.partition("=")[::2] for word in cast(tuple[str, ...], params["given"]))
        valued = getattr(product, "VALUED", {}).get(what)
        held = {valued: str(option)} if valued else table if option == product.SAFE[what] else {}
        made += unit.given(name, what, held)
    if getattr(product, "RUNS", False) and option != product.SAFE[what] and params["systemd"] == "yes":
        return (*made, *unit.again(name), Run(argv=("systemctl", "start", name), stdin=b""))
    return (*made, *(unit.again(name) if params["systemd"] == "yes" else ()))


def prepare(system: System, params: Params) -> Params:
    """Add what steps have to know of this device: its unit, and the files as each option would have them."""
    product, what = product_of(params), text(params, "what")
    added: Params = {"unit": unit.found(system, product.UNITS), "systemd": "yes" if booted(system) else "no"}
    table = product.GIVEN.get(what, {})
    if hasattr(product, "given"):
        table = product.given(system, what, unit.environment(system, unit.found(system, product.UNITS)))
    added["given"] = tuple(f"{key}={value}" for key, value in table.items())
    for option in getattr(product, "EDITED", {}).get(what, ()):
        rows: list[str] = []
        for path, body in product.edits(system, what, option).items():  # type: ignore[attr-defined]
            rows += [path, body, look.rights(system, path)]
        added[f"edits {option}"] = tuple(rows)
    return {**params, **added}


def watches(params: Params) -> tuple[str, ...]:
    """Name the directories of its files and of its unit, and where systemd notes that a unit has started."""
    files, units = short(params)
    found = [path.rpartition("/")[0] for path in files if path.startswith("/etc/")]
    found += [f"{place}/{name}.d" for place in unit.PLACES[:2] for name in units]
    return tuple(dict.fromkeys([*found, *unit.PLACES[:2], "/run/systemd/units"]))

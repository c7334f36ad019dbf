"""Try acts, each in a process of its own; laid on the device beside the lists of acts and run there by Python alone.

`python3 try_acts.py GIVEN LIBRARY` reads GIVEN, {"acts": […], "victim": pid, "neighbour": address}, and prints one line
of JSON: what became of each act, "done" or why not. With a LIBRARY (else "-"), each process first shuts itself in as
the courier does. An act is "done" when the kernel would let it happen, even where it is aimed so that it does no harm:
a module that is none is refused as such, not for want of rights.
"""

import errno
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

Given = dict[str, str]


def found() -> dict[str, Callable[[Given], object]]:
    """Return the acts of the files beside this one, by name."""
    made: dict[str, Callable[[Given], object]] = {}
    for path in sorted(Path(__file__).parent.glob("try_*.py")):
        if path.name != Path(__file__).name:
            module = importlib.import_module(path.stem)
            made.update({name: one for name, one in inspect.getmembers(module, inspect.isfunction) if name[0] != "_"})
    return made


def attempt(act: Callable[[Given], object], given: Given, before: Callable[[], object]) -> str:
    """Try one act in a process of its own, after `before`; return "done", or why not."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            before()
            act(given)
            said = "done"
        except OSError as error:
            said = errno.errorcode.get(error.errno or 0, str(error))
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        said = told.read().decode()
    _, code = os.waitpid(child, 0)
    # A program that ran in the child's place says nothing and ends well.
    return said or ("done" if code == 0 else f"killed by signal {code & 127}")


def caged(library: str) -> Callable[[], object]:
    """Return how the courier shuts itself in, or nothing."""
    if library == "-":
        return lambda: None
    sys.path.insert(0, library)
    cage = importlib.import_module("agent.courier.cage")
    return lambda: cage.confine(Path("/var/lib/privet-courier"))


def main(argument: str, library: str) -> None:
    """Try the acts that the file names."""
    sys.path.insert(0, str(Path(__file__).parent))
    with open(argument, encoding="utf-8") as file:
        given = json.load(file)
    acts = found()
    print(json.dumps({name: attempt(acts[name], given, caged(library)) for name in given["acts"]}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

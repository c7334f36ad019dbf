"""Runs on the device under test: first boots with the credential kinds of products, the real door and their programs.

`run` goes to the end; `die K` is killed in place of the K-th call of the door. Kinds and their params arrive as JSON.
"""

import contextlib
import json
import sys
from collections.abc import Generator
from typing import Any, TypeVar, cast

from agent.core.errors import PrivetError
from agent.core.secret import Secret
from agent.guard.firstboot import FirstBoot
from agent.registry import part
from agent.system.parts import Credential
from agent.system.real import RealSystem
from agent.system.store import Store
from agent.system.vault import DirectVault
from tests.device.rotate import GATE, STATE, Dying, Gate

T = TypeVar("T")


class DyingTalker(Dying):
    """A door whose conversations count as calls too."""

    def talk(self, port: int, conversation: Generator[bytes, bytes, T], seconds: int = 10) -> T:
        """Speak."""
        self.step()
        return super().talk(port, conversation, seconds)


def boot(system: RealSystem, kinds: list[list[Any]]) -> dict[str, Any]:
    """Run a first boot with kinds [name, params] and return what came of it, with the owner's new secrets."""
    system.make_directory(STATE, 0o700)
    with contextlib.closing(Store(STATE + "/state.db", DirectVault(Secret(bytes(32))), system.clock)) as store:
        answer: dict[str, Any] = {"failed": ""}
        try:
            reached = FirstBoot(
                system,
                store,
                Gate(system),
                [(name, cast(Credential, part("credentials", name)), given) for name, given in kinds],
            ).run()
            answer |= {"phase": reached.phase, "returned": reached.returned}
        except PrivetError as error:
            answer["failed"] = str(error)
        answer["secrets"] = {
            name.removeprefix("credential/"): store.get(name).decode() for name in store.keys("credential/")
        }
        answer["gate"] = system.read(GATE).decode()
        answer["journal"] = [[entry.kind, entry.body] for entry in store.entries()]
    return answer


def main(act: str, kinds: str, *rest: str) -> None:
    """Do one act and print its result as JSON."""
    system = DyingTalker(int(rest[0])) if act == "die" else RealSystem()
    print(json.dumps(boot(system, json.loads(kinds))))


if __name__ == "__main__":
    main(*sys.argv[1:])

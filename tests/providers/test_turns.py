"""Settings that share a file: once all of them are as wanted, none of them writes it again."""

import pytest

from agent import registry
from agent.core.plan import Write
from agent.guard.executor import apply
from agent.providers.linux.product import prepare, steps
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.raspberry import image

MAIN = "/etc/mosquitto/mosquitto.conf"
WANTED = {name: registry.settings()[name].strictest() for name in ("mosquitto.acl", "mosquitto.anonymous")}


@pytest.mark.parametrize("first", [*WANTED])
def test_two_settings_of_one_file_do_not_write_it_in_turn(first: str) -> None:
    """Whichever is restored first: after both, the steps of either leave every byte where it is."""

    def broker(made: SimulatedSystem) -> None:
        image(made)
        made.edit(MAIN, b"pid_file /run/mosquitto/mosquitto.pid\nallow_anonymous true\n")
        made.edit("/usr/sbin/mosquitto", b"")

    made = SimulatedSystem(image=broker)
    order = [first, *(name for name in WANTED if name != first)]
    for turn in range(3):
        for name in order:
            todo = steps(prepare(made, registry.settings()[name].params), WANTED[name])
            changed = (
                [step.path for step in todo if isinstance(step, Write) and made.read(step.path) != step.content]
                if turn
                else []
            )
            assert changed == []
            apply(made, todo)
    assert b"acl_file" in made.read(MAIN)

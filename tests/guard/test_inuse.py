"""Programs that others use: their owner hears what will be closed to them, and how to keep it, before it is."""

import pytest

from agent import registry
from agent.core.warn import told
from agent.guard import inuse
from agent.guard.posture import Posture
from agent.system.simulated import products
from tests.guard.conftest import Kept


def used(kept: Kept, product: str) -> tuple[inuse.InUse, ...]:
    """Set a product up as it comes, and look at what others use."""
    products.lay(kept.system, product)
    kept.system.reboot()
    settings = registry.settings()
    return inuse.look(Posture(kept.system, settings, {name: s.strictest() for name, s in settings.items()}))


@pytest.mark.parametrize(("product", "name"), [("grafana", "grafana.bind"), ("node_red", "node_red.bind")])
def test_what_others_use_is_told_before_it_is_closed(fresh: Kept, product: str, name: str) -> None:
    """The first start of the guard tells it, then closes it: the warning is older than the first step."""
    found = used(fresh, product)
    assert name in {one.setting.id for one in found}
    fresh.start()
    assert fresh.status(name) == "ok"
    said = [w for w in fresh.warnings("policy") if "others use now" in w.title]
    assert len(said) == 1
    assert "now network, then loopback" in told(said[0])
    assert f'sudo privet loosen {name} network --for 30d --reason "others use it"' in told(said[0])
    assert fresh.store is not None
    kinds = [(e.kind, e.body.get("setting")) for e in fresh.store.entries(0, 5000)]
    assert kinds.index(("warned", "")) < kinds.index(("intent", name))
    fresh.reboot()
    assert len([w for w in fresh.warnings("policy") if "others use now" in w.title]) == 1


def test_it_can_be_kept_as_the_warning_says(fresh: Kept) -> None:
    """The command in the warning works, with the risk shown."""
    used(fresh, "grafana")
    fresh.start()
    fresh.loosen("grafana.bind", "network", 30 * 86400, "others use it")
    assert fresh.status("grafana.bind") == "waived"


def test_nothing_in_use_is_nothing_to_tell(fresh: Kept) -> None:
    """A device without such programs, and one whose program does not run, hears nothing of it."""
    fresh.start()
    assert [w for w in fresh.warnings("policy") if "others use now" in w.title] == []

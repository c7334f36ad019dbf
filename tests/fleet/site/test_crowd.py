"""A thousand devices at the enrolment server at the same moment."""

import asyncio
import resource
from pathlib import Path

from tests.fleet.crowd import all_at_once, questions
from tests.fleet.enrolling import Office, Served


def test_a_thousand_at_once_are_all_served(tmp_path: Path):
    """All are connected before the first asks; each gets its certificate, and the ledger has every one of them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # both ends of a thousand connections are in this process
    office = Office(tmp_path)
    work = questions(office.planned(1000))
    with Served(office, life=300.0) as served:
        statuses = asyncio.run(all_at_once(served.port, office.fleet.trust_anchor().decode(), work))
        assert served.serving.entrance.turned == 0
    assert statuses == [200] * 1000
    assert office.registry.counted() == {"claimed": 1000}
    assert office.registry.verify() == 1001
    office.registry.close()

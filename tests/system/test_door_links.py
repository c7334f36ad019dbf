"""The contract of looking at the links of a directory, the same on the real machine and on the simulated device."""

import pytest

from agent.core.errors import Missing
from tests.system.conftest import Bench


def test_the_links_of_a_directory(bench: Bench) -> None:
    """All links in a directory are told at once, by name; a file among them is none."""
    bench.link("/srv/b", "/no/where")
    bench.link("/srv/a", "b")
    bench.foreign("/srv/file", b"")
    assert bench.system.targets("/srv") == {"a": "b", "b": "/no/where"}
    assert list(bench.system.targets("/srv")) == ["a", "b"]
    with pytest.raises(Missing):
        bench.system.targets("/srv/absent")

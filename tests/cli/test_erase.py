"""`privet erase --all` as a person uses it: what goes is shown, nothing goes without a yes, there is no lesser way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_privet import Running


@pytest.fixture
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A device of its own: it does not survive this."""
    made = Running(tmp_path_factory.mktemp("privet"))
    yield made
    made.over.set()
    made.thread.join()


def test_it_is_shown_asked_and_done(device: Running, tmp_path: Path) -> None:
    """Without --all it says what to say; without a yes nothing changes; with it the rest is for the next start."""
    lesser = device.privet("erase")
    assert lesser.exit_code == 65 and "privet erase --all" in lesser.output
    asked = device.privet("erase", "--all", said="n\n")
    assert asked.exit_code == 0 and "cannot be undone" in asked.output and "Nothing was changed" in asked.output
    before = device.privet("journal").output
    assert " erase " not in before
    (tmp_path / "mine").write_text("keep")
    (tmp_path / "laid").symlink_to(tmp_path / "mine")
    for name in ("mine", "laid", "no/where"):
        refused = device.privet("erase", "--all", "--yes", "--receipt", str(tmp_path / name))
        assert refused.exit_code in {65, 74} and "privet: " in refused.output
    assert (tmp_path / "mine").read_text() == "keep"
    assert " erase " not in device.privet("journal").output, "nothing goes before there is a place for the receipt"
    done = device.privet("erase", "--all", "--yes", "--receipt", str(tmp_path / "receipt"))
    assert done.exit_code == 0 and "sudo reboot" in done.output and "no key in a fleet" in done.output
    assert not (tmp_path / "receipt").exists()  # a device without a fleet signs nothing
    assert " erase " in device.privet("journal").output

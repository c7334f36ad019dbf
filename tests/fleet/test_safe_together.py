"""Two commands at one fleet directory at the same moment: what each wrote is there afterwards."""

import json
import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import PrivetError, Refused
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import FACTS, Passphrase, Safe, alone

TIMES = 40


class Careless(Safe):
    """The twin: it writes what it once read, and what is new."""

    def seal(self, **facts: str) -> None:
        """Write the facts as if nobody else did."""
        self.facts |= facts
        self.write(FACTS, json.dumps(self.facts).encode())


def seals(directory: Path, kind: type[Safe], name: str, start: Barrier) -> None:
    """Be one command: read the fleet, wait for the other one, then write a fact after the other."""
    safe = kind.open(directory)
    for number in range(TIMES):
        start.wait(60)
        safe.seal(**{f"{name}{number}": "kept"})


def written(directory: Path, kind: type[Safe]) -> set[str]:
    """Let two processes write at once; return which facts are there at the end."""
    Fleet.create(directory, "meadow")
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    both = [spawn.Process(target=seals, args=(directory, kind, name, start)) for name in "ab"]
    for one in both:
        one.start()
    for one in both:
        one.join(120)
    assert [one.exitcode for one in both] == [0, 0]
    return set(Safe.open(directory).facts)


def test_two_commands_at_once_keep_what_the_other_wrote(tmp_path: Path):
    """Both write forty facts, each pair at the same moment; all eighty are there, and the fleet's own."""
    expected = {f"{name}{number}" for name in "ab" for number in range(TIMES)} | {"name", "salt"}
    assert written(tmp_path / "fleet", Safe) == expected
    assert len(written(tmp_path / "twin", Careless)) < len(expected)


def creates(directory: Path, start: Barrier, said: Any) -> None:
    """Be one `init`: say the name of the fleet that was made, or the sentence why none was."""
    name = multiprocessing.current_process().name
    start.wait(60)
    try:
        Fleet.create(directory, name, Passphrase(f"the passphrase of {name}"))
        said.put(name)
    except PrivetError as error:
        said.put(str(error))


def test_two_fleets_at_once_in_one_directory_are_one(tmp_path: Path):
    """One is made and opens with its own passphrase, the other command says why not; no key of it is in there."""
    spawn = multiprocessing.get_context("spawn")
    start, said = spawn.Barrier(2), spawn.Queue()
    both = [spawn.Process(target=creates, name=name, args=(tmp_path / "fleet", start, said)) for name in ("one", "two")]
    for one in both:
        one.start()
    told = {said.get(timeout=60) for _ in both}
    for one in both:
        one.join(60)
    (made,) = told & {"one", "two"}
    assert "choose another directory" in (told - {made}).pop()
    fleet = Fleet.open(tmp_path / "fleet", Passphrase(f"the passphrase of {made}"))
    assert fleet.name == made and fleet.server(["10.0.0.2"]).key
    fleet.ledger_key()


def test_a_fleet_that_is_being_made_is_left_alone(tmp_path: Path):
    """While one command makes keys, another makes none there, in the root's directory neither."""
    (tmp_path / "stick").mkdir()
    with alone(tmp_path / "stick"), pytest.raises(Refused, match="another command makes a fleet"):
        Fleet.create(tmp_path / "fleet", "meadow", root=tmp_path / "stick")
    assert list((tmp_path / "stick").iterdir()) == []
    assert Fleet.create(tmp_path / "fleet", "meadow", root=tmp_path / "stick").name == "meadow"


def test_the_root_has_a_directory_of_its_own(tmp_path: Path):
    """In the fleet's own one the root's keys would be encrypted for a salt that is then overwritten."""
    with pytest.raises(Refused, match="a directory of its own"):
        Fleet.create(tmp_path / "fleet", "meadow", Passphrase("correct horse battery"), root=tmp_path / "x/../fleet")
    assert not (tmp_path / "fleet").exists()

"""A card that has lived, kept with its fleet and its owner's key: parts of the tier begin with a copy of it.

The place is named after the package and all that makes the card; a kept card of another package is removed. What is
secret in it is a laboratory's, and belongs to whoever ran the tier.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from provisioning.fleet.identity import Fleet
from tests.device.tree import cache
from tests.pi.card import Card
from tests.pi.factory import Factory
from tests.pi.story import Story

MAKING = ("card.py", "factory.py", "flashing.py", "initrd.py", "init", "kept.py")
PARTS = ("card.img", "owner", "owner.pub", "fleet")
FACTS = "facts.json"
PREFIX = "pi-card-"


def place(tree: Path, deb: Path) -> Path:
    """Return where the card of a package in a tree is kept."""
    mark = hashlib.sha256(tree.name.encode() + deb.read_bytes())
    for name in MAKING:
        mark.update((Path(__file__).parent / name).read_bytes())
    return cache() / f"{PREFIX}{mark.hexdigest()[:12]}"


def keep(story: Story, where: Path) -> None:
    """Keep the card of a Pi that is off; the folder gets its name last."""
    for old in where.parent.glob(f"{PREFIX}*"):
        shutil.rmtree(old)
    draft = where.with_name(f"{where.name}.draft")
    draft.mkdir(mode=0o700)
    copied(story.folder, draft)
    facts = {"signature": story.card.signature, "device": story.factory.device, "password": story.password}
    facts |= {"code": story.code, "lab": story.factory.lab_password, "key": story.kept.get("host key", "")}
    (draft / FACTS).write_text(json.dumps(facts), encoding="ascii")
    draft.rename(where)
    story.say(f"card kept: {where.name}")


def lived(where: Path, folder: Path, say: Callable[[str], None]) -> Story:
    """Return a story that goes on with a copy of a kept card, as its owner has it: off, with the password known."""
    copied(where, folder)
    facts = json.loads((where / FACTS).read_text(encoding="ascii"))
    fleet = Fleet.open(folder / "fleet")
    story = Story(folder, say, Factory(folder, fleet, facts["lab"], facts["device"]))
    story.card = Card(folder / "card.img", facts["signature"])
    story.password, story.code = facts["password"], facts["code"]
    return story


def copied(source: Path, target: Path) -> None:
    """Copy a card and what belongs to it, holes as holes."""
    argv = ["cp", "--archive", "--sparse=always", *(str(source / part) for part in PARTS), str(target)]
    subprocess.run(argv, check=True)

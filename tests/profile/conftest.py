"""A small catalogue of its own, so that these tests do not move with the settings that ship."""

from pathlib import Path

import pytest

from agent.core.setting import Setting, read_setting
from provisioning.profile.catalogue import Catalogue

SOUND = """
model = "{model}"
title = "A device"
support_until = 2040-01-01
channels = ["syslog"]
[queue]
size = "1 MiB"
"""


def setting(name, order, first, *others) -> Setting:
    """Make a setting with an order and options, strictest first."""
    options = [{"value": first}] + [{"value": other, "risk": f"The risk of {other}."} for other in others]
    return read_setting(
        {
            "id": name, "title": f"Title of {name}", "provider": "none", "order": order, "risk": "A general risk.",
            "satisfies": ["EN303645:5.6-1"], "axis": "access", "option": options,
        }
    )  # fmt: skip


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """Six settings over three orders."""
    made = (
        setting("ssh.password", "chain", "no", "yes"),
        setting("ssh.root", "chain", "no", "key", "yes"),
        setting("log.days", "at_most", 7, 30),
        setting("sudo.free", "subset", [], ["pi"]),
        setting("firewall.inbound", "subset", []),
        setting("firewall.outbound", "subset", []),
    )
    return Catalogue({one.id: one for one in made}, ("linux_account",), ("mqtt", "syslog"))


class Shelf:
    """A directory of profiles."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, model: str, text: str = "", *, sound: bool = True) -> Path:
        path = self.folder / f"{model}.toml"
        path.write_text((SOUND.format(model=model) if sound else "") + text, "utf-8")
        return path


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    """A fresh shelf."""
    return Shelf(tmp_path)

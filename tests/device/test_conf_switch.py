"""Switches in files of real programs: what we say is what the program then does."""

import pytest

from tests.device.enforced import enforce, look
from tests.device.lab import Device

CONFIG = "/etc/popularity-contest.conf"


def reports(device: Device) -> bool:
    """Let the real popularity-contest do its weekly work, and say whether it made a report."""
    device.must(["sh", "-c", "rm -f /var/log/popularity-contest*"])
    device.run(["timeout", "60", "sh", "/etc/cron.daily/popularity-contest"], seconds=90)
    return device.run(["sh", "-c", "ls /var/log/popularity-contest*"]).returncode == 0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (CONFIG, 'PARTICIPATE="yes"\n'),
        (CONFIG, "PARTICIPATE='no'\nPARTICIPATE=maybe\n"),
        ("/etc/popularity-contest.d/mine.conf", "PARTICIPATE=yes\n"),
    ],
)
def test_a_list_of_programs_is_no_longer_made(served: Device, path: str, text: str) -> None:
    """It reports where we say so, and not after the steps; what else the file says stays."""
    name = "pings.reports"
    served.write(CONFIG, 'MY_HOSTID="aa55"\nUSEHTTP="yes"\nDAY=""\nPARTICIPATE="no"\n')
    assert look(served, name)["live"] == []
    assert not reports(served)
    served.write(path, text if path != CONFIG else f'MY_HOSTID="aa55"\nUSEHTTP="yes"\nDAY=""\n{text}')
    assert look(served, name)["live"] == look(served, name)["kept"] == ["package-list"]
    assert reports(served)
    assert enforce(served, name, []) == ""
    assert look(served, name)["live"] == []
    assert not reports(served)
    assert "aa55" in served.read(CONFIG)

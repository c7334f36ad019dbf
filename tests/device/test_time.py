"""Whom the device asks for the time: what chronyd itself makes of its files."""

import pytest

from tests.device.enforced import look
from tests.device.lab import Device

MAIN = "/etc/chrony/chrony.conf"


def theirs(device: Device) -> set[str]:
    """Return the servers that chronyd prints as its configuration, all includes read."""
    lines = [line.split() for line in device.must(["chronyd", "-p"]).splitlines()]
    return {row[1].lower() for row in lines if len(row) > 1 and row[0].lower() in {"server", "pool", "peer"}}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (MAIN, None),
        (MAIN, "Pool A.example iburst\n! server not.example\n# server not.example\nPEER b.example\n"),
        (MAIN, "include /etc/more.conf\nconfdir /etc/chrony/x /etc/chrony/y\n"),
        (MAIN, "include /etc/chrony/[z].c*\nINCLUDE /etc/chrony/?/*.conf\nInclude /etc/mo*.conf\n"),
    ],
)
def test_chrony(served: Device, path: str, text: str | None) -> None:
    """As it ships, with odd capitals and remarks, and with all kinds of includes, we name whom chronyd would ask."""
    served.write("/etc/more.conf", "server c.example\ninclude /etc/chrony/z.conf\n")
    served.write("/etc/chrony/z.conf", "server d.example nts\n")
    served.write("/etc/chrony/x/1.conf", "server e.example\n")
    served.write("/etc/chrony/y/2.conf", "server f.example\n")
    served.write("/etc/chrony/y/2.off", "server g.example\n")
    if text is not None:
        served.write(path, text)
    found = look(served, "time.servers")
    assert set(found["live"]) == theirs(served)
    assert found["live"]


def test_what_the_router_names_is_marked(served: Device) -> None:
    """Debian's own hook for DHCP writes a source that we tell apart, and a list of its owner's that we do not."""
    served.write("/run/chrony-dhcp/eth0.sources", "server 192.0.2.1 iburst\n")
    served.write("/etc/chrony/sources.d/mine.sources", "server time.example nts\n")
    live = look(served, "time.servers")["live"]
    assert {"dhcp:192.0.2.1", "time.example", "2.debian.pool.ntp.org"} == set(live)

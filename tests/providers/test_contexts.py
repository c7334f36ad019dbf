"""What a connection or an interface does by itself, apart from what holds for all of them."""

import pytest

from agent import registry
from agent.providers.linux import nm_conf, sysctl
from tests.test_catalogue import safe

MAC = registry.settings()["net.mac"]
HOME = "[connection]\nid=home\nuuid=1-2\ntype=wifi\n[wifi]\ncloned-mac-address=permanent\n"


def test_a_connection_that_says_so_itself_is_a_context_of_its_own() -> None:
    """Its own word, and the number of the interface that is up by it, are its; the rest is as private as before."""
    device = safe(MAC)
    assert dict(nm_conf.contexts(device, MAC.params)) == {"": "stable"}
    device.edit("/etc/NetworkManager/system-connections/home.nmconnection", HOME.encode(), mode=0o600)
    assert dict(nm_conf.contexts(device, MAC.params)) == {"": "stable", "connection home.nmconnection": "preserve"}
    device.hand.produced("/sys/class/net/eth0/addr_assign_type", lambda: b"0\n")
    assert dict(nm_conf.contexts(device, MAC.params))[""] == "preserve"
    device.hand.produced("/sys/class/net/eth0/ifindex", lambda: b"2\n")
    device.edit("/run/NetworkManager/devices/2", b"[device]\nconnection-uuid=1-2\n")
    assert dict(nm_conf.contexts(device, MAC.params)) == {"": "stable", "connection home.nmconnection": "preserve"}


@pytest.mark.parametrize("name", ["net.redirects", "net.reverse_path", "net.source_route", "net.ipv6_privacy"])
def test_an_interface_is_a_context_of_its_own(name: str) -> None:
    """What the kernel has for one interface is its; the joins of all contexts are what the probe says."""
    setting = registry.settings()[name]
    device = safe(setting)
    found = dict(sysctl.contexts(device, setting.params))
    assert set(found.values()) == {setting.strictest()}
    context = next(one for one in found if one.startswith("interface "))
    key = next(one for one in sysctl.keys(device, setting.params) if sysctl.interface(setting.params, one) == context)
    loose = str(setting.options[-1].value)
    device.run(("sysctl", "-q", "-p", "-"), f"{key} = {loose}\n".encode())
    found = dict(sysctl.contexts(device, setting.params))
    assert {one for one, value in found.items() if value == loose} == {context}
    assert sysctl.probe(device, setting.params).live == loose

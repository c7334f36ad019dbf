"""Address blocks are read and spelled as Python's own ipaddress does."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.providers.linux.nft.blocks import block, plain

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.integers(0, 2**16).map(ipaddress.IPv6Address))


@given(ADDRESSES, st.integers(0, 128))
def test_every_block_is_spelled_alike(address: ipaddress.IPv4Address | ipaddress.IPv6Address, size: int) -> None:
    """Version, first address and length are the same, whatever the block; a single address is a block of its own."""
    net = ipaddress.ip_network((address, min(size, address.max_prefixlen)), strict=False)
    assert block(str(net)) == (net.version, str(net.network_address), net.prefixlen)
    assert plain(str(address)) == str(ipaddress.ip_network(address))


@given(ADDRESSES, st.integers(0, 128))
def test_what_is_refused_there_is_refused_here(address: ipaddress.IPv4Address | ipaddress.IPv6Address, n: int) -> None:
    """Bits behind the length, and lengths that no address has."""
    text = f"{address}/{n}"
    try:
        wanted = str(ipaddress.ip_network(text))
    except ValueError:
        with pytest.raises(ValueError, match=r"host bits set|has no length"):
            plain(text)
    else:
        assert plain(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/8",
        "10/8",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "10.0.0.0/8 ",
        "::1%eth0",
        "1.2.3.4.5",
        "٣.0.0.0/8",
        "a\0b",
        None,
        7,
    ],
)
def test_what_is_no_block_is_refused(text: object) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r"no address block|has no length"):
        plain(text)

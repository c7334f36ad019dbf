"""Which brokers plain text may go to."""

from pathlib import Path

import pytest
import trustme

from agent.core.errors import BadInput, Missing, Refused, Unreachable
from provisioning.opener.place import answers_at_home, own_place
from tests.courier.rig import Site

FLEETS = ("127.0.0.1", 8883)


def refused(host: str, port: int, site: Site, authority: Path | None = None) -> str:
    """Return why a broker is refused."""
    with pytest.raises(Refused) as told:
        own_place(host, port, authority, FLEETS, site.fleet.trust_anchor())
    return str(told.value)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Give an authority of the owner's own."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "own.pem"))
    return tmp_path / "own.pem"


@pytest.mark.parametrize("host", ["198.51.100.7", "8.8.8.8", "::ffff:8.8.8.8", "2001:db8::1", "100.64.0.1", "0.0.0.0"])
def test_plain_text_stays_at_home(host: str, site: Site, authority: Path):
    """No address that is not private, whatever authority names it, also in the clothes of IPv6."""
    assert "no private one" in refused(host, 1883, site, authority)


@pytest.mark.parametrize("host", ["192.168.1.2", "10.0.0.9", "172.31.0.1", "fd00::1", "fe80::1", "169.254.3.4"])
def test_another_machine_has_to_prove_itself(host: str, site: Site, authority: Path):
    """At home, but over a wire: TLS with an authority of the owner's, else nothing."""
    assert "--own-ca" in refused(host, 1883, site)
    place = own_place(host, 8883, authority, FLEETS, site.fleet.trust_anchor())
    assert place.context is not None and place.context.check_hostname


def test_this_machine_may_do_without(site: Site):
    """Loopback passes no wire."""
    assert own_place("127.0.0.1", 1883, None, FLEETS, site.fleet.trust_anchor()).context is None
    assert own_place("::1", 1883, None, FLEETS, site.fleet.trust_anchor()).context is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "localhost"])
def test_the_broker_of_the_fleet_is_never_ones_own(host: str, site: Site, authority: Path):
    """By whatever name it is called."""
    assert "broker of the fleet" in refused(host, 8883, site, authority)


@pytest.mark.parametrize("of_the_fleet", ["root.pem", "server-ca.pem"])
def test_the_authority_of_the_fleet_is_never_ones_own(of_the_fleet: str, site: Site, tmp_path: Path):
    """Whom the fleet's root or what it signed vouches for is the fleet's broker, wherever it runs."""
    (tmp_path / "ca.pem").write_bytes(site.fleet.safe.read(of_the_fleet))
    assert "the fleet's" in refused("192.168.1.2", 8883, site, tmp_path / "ca.pem")


def test_a_name_that_leads_elsewhere_later_is_seen():
    """What answers is looked at again: over TLS at home, without it on this machine alone."""
    assert answers_at_home("192.168.1.2", sealed=True) and answers_at_home("fe80::1%eth0", sealed=True)
    assert not answers_at_home("192.168.1.2", sealed=False)
    assert not answers_at_home("198.51.100.7", sealed=True)


def test_slips_are_one_sentence(site: Site, tmp_path: Path):
    """No such name, no such file, no certificate."""
    anchor = site.fleet.trust_anchor()
    with pytest.raises(Unreachable, match="no address"):
        own_place("no-such-host.invalid", 1883, None, FLEETS, anchor)
    with pytest.raises(Missing, match="is not there"):
        own_place("10.0.0.9", 1883, tmp_path / "none.pem", FLEETS, anchor)
    (tmp_path / "bad.pem").write_text("hello")
    with pytest.raises(BadInput, match="no certificate"):
        own_place("10.0.0.9", 1883, tmp_path / "bad.pem", FLEETS, anchor)

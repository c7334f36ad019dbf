"""The authorities, in real TLS handshakes: what a stolen one could make, a device's own rules and a broker's refuse."""

import shutil
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.core.errors import BadInput, Refused
from agent.courier import trust
from provisioning.fleet import authority
from provisioning.fleet.authority import PEM
from provisioning.fleet.identity import Credential, Fleet
from provisioning.fleet.safe import Safe, whole_file

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Give a fleet whose servers may be named within a domain of its own."""
    return Fleet.create(tmp_path_factory.mktemp("fleet") / "meadow", "meadow", None, ["garden.org"])


def forged(fleet: Fleet, label: str, name: str, usage: x509.ObjectIdentifier, *also: x509.GeneralName) -> Credential:
    """Return what a thief of an authority's key would sign: any name, any use."""
    key, issuer = ec.generate_private_key(ec.SECP256R1()), fleet.issuer(label)
    made = authority.leaf(issuer, key.public_key(), name, also, usage, 30)
    chain = made.public_bytes(PEM) + issuer[0].public_bytes(PEM)
    return Credential(certificate=chain, key=authority.plain(key))


def device(fleet: Fleet, name: str) -> Credential:
    """Return a device's identity."""
    uri = x509.UniformResourceIdentifier(f"urn:privet:meadow:{name}")
    return forged(fleet, "device-ca", name, CLIENT, uri)


def laid(folder: Path, fleet: Fleet, who: Credential) -> tuple[Path, Path, Path]:
    """Lay an identity into files, as a device or a server has it."""
    for name, content in (("ca.pem", fleet.trust_anchor()), ("cert.pem", who.certificate), ("key.pem", who.key)):
        whole_file(folder / name, content)
    return folder / "ca.pem", folder / "cert.pem", folder / "key.pem"


def shaken(folder: Path, fleet: Fleet, server: Credential, client: Credential, host: str) -> str:
    """Let a device's TLS meet a broker's, in memory; return "" when both are content, else what was said against it."""
    outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outer.load_cert_chain(*laid(folder / "server", fleet, server)[1:])
    outer.verify_mode = ssl.CERT_REQUIRED
    outer.load_verify_locations(cadata=fleet.client_anchors().decode())
    inner = trust.verified(*laid(folder / "client", fleet, client))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [inner.wrap_bio(down, up, server_hostname=host), outer.wrap_bio(up, down, server_side=True)]
    for _ in range(6):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return "" if all(side.version() == "TLSv1.3" and side.cipher() for side in sides) else "no handshake"


def test_the_right_ones_meet(fleet: Fleet, tmp_path: Path):
    """The known-good twin of all below: a device and a collector are let in by a server with a name it may have."""
    server = fleet.server(["broker.garden.org", "10.1.2.3"])
    assert shaken(tmp_path, fleet, server, device(fleet, "r7k2"), "broker.garden.org") == ""
    assert shaken(tmp_path, fleet, server, device(fleet, "r7k2"), "10.1.2.3") == ""
    assert shaken(tmp_path, fleet, server, fleet.service("one"), "broker.garden.org") == ""
    assert shaken(tmp_path, fleet, fleet.server(["127.0.0.1"]), device(fleet, "r7k2"), "127.0.0.1") == ""


def test_no_device_poses_as_a_server(fleet: Fleet, tmp_path: Path):
    """Neither a device's own certificate nor one that a stolen device CA signs for a server's name and use."""
    me, name = device(fleet, "r7k2"), "broker.garden.org"
    assert "purpose" in shaken(tmp_path, fleet, forged(fleet, "device-ca", name, CLIENT, x509.DNSName(name)), me, name)
    assert shaken(tmp_path, fleet, forged(fleet, "device-ca", name, SERVER, x509.DNSName(name)), me, name)
    address = authority.host("10.1.2.3")
    assert shaken(tmp_path, fleet, forged(fleet, "device-ca", "x", SERVER, address), me, "10.1.2.3")
    assert "purpose" in shaken(tmp_path, fleet, fleet.service("one"), me, name)


def test_the_names_alone_would_stop_it(fleet: Fleet, tmp_path: Path):
    """Without the usage in the authority, its excluded names still refuse a server that the device CA signed."""
    (tmp_path / "loose").mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    root = Safe.open(fleet.safe.directory / "root")
    top = x509.load_pem_x509_certificate(root.read("root.pem")), root.keys("root")[0]
    usages = (SERVER, CLIENT)
    me, name = device(fleet, "r7k2"), "broker.garden.org"
    said = []
    for excluded in (authority.ANYWHERE, ()):
        office = authority.Office(usages=usages, permitted=(), forbidden=excluded)
        loose = authority.authority("meadow loose", key.public_key(), top, office, 1), key
        leaf = authority.leaf(loose, key.public_key(), name, [x509.DNSName(name)], SERVER, 30)
        chain = leaf.public_bytes(PEM) + loose[0].public_bytes(PEM)
        said.append(shaken(tmp_path, fleet, Credential(certificate=chain, key=authority.plain(key)), me, name))
    assert said == ["excluded subtree violation", ""]


def test_a_stolen_device_authority_makes_no_collector(fleet: Fleet, tmp_path: Path):
    """A common name with a dot counts as a host name, and those the device CA may not give."""
    server = fleet.server(["broker.garden.org"])
    thief = forged(fleet, "device-ca", "service.one", CLIENT, x509.UniformResourceIdentifier("urn:privet:meadow:x"))
    assert shaken(tmp_path, fleet, server, thief, "broker.garden.org") == "excluded subtree violation"


def test_a_stolen_server_authority_names_no_other_place(fleet: Fleet, tmp_path: Path):
    """It can pose as a server within its own names alone, and as no client at all."""
    me = device(fleet, "r7k2")
    elsewhere = forged(fleet, "server-ca", "bank.org", SERVER, x509.DNSName("bank.org"))
    assert shaken(tmp_path, fleet, elsewhere, me, "bank.org") == "permitted subtree violation"
    address = forged(fleet, "server-ca", "x", SERVER, authority.host("8.8.8.8"))
    assert shaken(tmp_path, fleet, address, me, "8.8.8.8") == "permitted subtree violation"
    server = fleet.server(["broker.garden.org"])
    client = forged(fleet, "server-ca", "r7k2", CLIENT, x509.DNSName("r7k2.garden.org"))
    assert "purpose" in shaken(tmp_path, fleet, server, client, "broker.garden.org")


def test_a_name_outside_is_refused_before_it_is_signed(fleet: Fleet):
    """One sentence names the host and the way to allow it; nonsense is told as such."""
    for name in ("bank.org", "garden.org.evil.net", "8.8.8.8", "agarden.org"):
        with pytest.raises(Refused, match=f"may not name {name}; .* authority renew"):
            fleet.server([name])
    assert fleet.server(["GARDEN.org", "a.b.garden.org", "::1", "fd00::2"]).certificate
    for name in ("", "10.0.0.0/99", "a b/c"):
        with pytest.raises(BadInput):
            authority.subtree(name)


def test_the_root_is_carried_away_and_comes_back_to_renew(tmp_path: Path):
    """Made on a stick, never in the fleet's directory; it signs the same keys again, and servers get a further name."""
    Fleet.create(tmp_path / "meadow", "meadow", None, (), tmp_path / "stick")
    assert not list((tmp_path / "meadow").rglob("root*.key")) and not (tmp_path / "meadow/root").exists()
    shutil.move(tmp_path / "stick", tmp_path / "drawer")
    again = Fleet.open(tmp_path / "meadow")
    before, me = again.issuer("device-ca"), device(again, "r7k2")
    server = again.server(["localhost"])
    with pytest.raises(Refused):
        again.server(["bank.org"])
    again.renew(Safe.open(tmp_path / "drawer"), ["bank.org"])
    after = again.issuer("device-ca")
    assert after[0].serial_number != before[0].serial_number
    assert after[0].public_key() == before[0].public_key()
    assert shaken(tmp_path, again, server, me, "localhost") == ""
    assert shaken(tmp_path, again, again.server(["bank.org"]), device(again, "new"), "bank.org") == ""
    other = Fleet.create(tmp_path / "other", "other")
    with pytest.raises(Refused, match="another fleet"):
        again.renew(Safe.open(other.safe.directory / "root"))


def test_a_root_is_never_overwritten(tmp_path: Path):
    """A stick that holds the root of another fleet is refused, and nothing is a fleet then."""
    Fleet.create(tmp_path / "one", "one", None, (), tmp_path / "stick")
    kept = (tmp_path / "stick/root.key").read_bytes()
    with pytest.raises(Refused, match="already"):
        Fleet.create(tmp_path / "two", "two", None, (), tmp_path / "stick")
    assert (tmp_path / "stick/root.key").read_bytes() == kept
    assert not (tmp_path / "two/fleet.json").exists()

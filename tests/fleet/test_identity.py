"""The fleet's identity: keys that stay closed, chains that a second program verifies, requests that are refused."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import BadInput, Missing, PrivetError, Refused, Unreadable
from agent.system.sealing import recipient_key
from provisioning.fleet import authority
from provisioning.fleet.identity import Fleet, checked
from provisioning.fleet.safe import Passphrase, passphrase_from, whole_file

SECRET = "correct horse battery"
PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Give a fleet."""
    return Fleet.create(tmp_path_factory.mktemp("fleet") / "meadow", "meadow")


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str = "somebody-else") -> bytes:
    """Return a request that claims a name."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=5), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM)


def verify(directory: Path, fleet: Fleet, chain: bytes, purpose: str) -> str:
    """Let openssl verify a chain strictly, for a purpose; return what it says."""
    (directory / "root.pem").write_bytes(fleet.trust_anchor())
    (directory / "chain.pem").write_bytes(chain)
    argv = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "root.pem"]
    argv += ["-untrusted", "chain.pem", "chain.pem"]
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def test_a_device_gets_its_name_from_us_and_nothing_else(fleet: Fleet, tmp_path: Path):
    """Name, URN, usage and rights are ours, whatever the request claims; openssl takes it as a client, not a server."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain = fleet.sign_csr(csr(key), "r7k2", 30)
    leaf, issuer = x509.load_pem_x509_certificates(chain)
    assert leaf.subject.rfc4514_string() == "CN=r7k2"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:privet:meadow:r7k2"]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.public_key() == key.public_key()
    assert 29 <= (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days <= 30
    assert leaf.issuer == issuer.subject
    assert verify(tmp_path, fleet, chain, "sslclient") == "chain.pem: OK"
    assert "unsuitable" in verify(tmp_path, fleet, chain, "sslserver")


def test_a_broker_is_a_server_for_its_names(fleet: Fleet, tmp_path: Path):
    """A broker's certificate names hosts and addresses, is a server's, and openssl agrees with both."""
    made = fleet.server(["broker.example", "127.0.0.1", "::1"])
    leaf = x509.load_pem_x509_certificates(made.certificate)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert verify(tmp_path, fleet, made.certificate, "sslserver") == "chain.pem: OK"
    assert "unsuitable" in verify(tmp_path, fleet, made.certificate, "sslclient")
    assert "PRIVATE" not in repr(made)
    with pytest.raises(BadInput):
        fleet.server([])


def test_a_collector_is_a_client_no_device_can_be_named_like(fleet: Fleet, tmp_path: Path):
    """A service has a dot in its name, which no device id may hold."""
    made = fleet.service("one")
    leaf = x509.load_pem_x509_certificates(made.certificate)[0]
    assert leaf.subject.rfc4514_string() == "CN=service.one"
    assert verify(tmp_path, fleet, made.certificate, "sslclient") == "chain.pem: OK"
    with pytest.raises(BadInput):
        fleet.sign_csr(csr(ec.generate_private_key(ec.SECP256R1())), "service.one", 30)


def test_one_authority_cannot_stand_in_for_the_other(fleet: Fleet, tmp_path: Path):
    """Even a server certificate signed by the device CA would not be taken for a server: the usage binds the CA too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.DNSName("broker.example")
    issuer = fleet.issuer("device-ca")
    leaf = authority.leaf(issuer, key.public_key(), "x", [name], ExtendedKeyUsageOID.SERVER_AUTH, 30)
    forged = leaf.public_bytes(PEM) + issuer[0].public_bytes(PEM)
    assert "unsuitable" in verify(tmp_path, fleet, forged, "sslserver")


def test_the_root_is_needed_only_once(tmp_path: Path):
    """With the root's key moved away, devices, brokers and recipients are made as before."""
    fleet = Fleet.create(tmp_path / "meadow", "meadow")
    shutil.rmtree(tmp_path / "meadow" / "root")
    again = Fleet.open(tmp_path / "meadow")
    assert again.sign_csr(csr(ec.generate_private_key(ec.SECP256R1())), "one", 1)
    assert again.server(["localhost"]).certificate
    assert len(again.add_recipient("home")) == 1216
    assert again.policy_key() == fleet.policy_key()


def test_policies_are_signed_with_ed25519(fleet: Fleet):
    """The public key that devices are flashed with verifies what the signing key signs."""
    public = ed25519.Ed25519PublicKey.from_public_bytes(fleet.policy_key())
    public.verify(fleet.signing_key().sign(b"policy"), b"policy")


def test_a_recipient_opens_what_the_agent_seals(fleet: Fleet):
    """The public bytes are what the device's sealing reads, and the private key opens what was sealed to them."""
    public = fleet.add_recipient("clinic")
    assert fleet.recipient_public("clinic") == public
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    sealed = suite.encrypt(b"warm", recipient_key(public), info=b"x")
    assert suite.decrypt(sealed, fleet.recipient_key("clinic"), info=b"x") == b"warm"
    with pytest.raises(Refused):
        fleet.add_recipient("clinic")
    with pytest.raises(Missing):
        fleet.recipient_key("nobody")


@pytest.mark.parametrize("passphrase", [None, Passphrase(SECRET)])
def test_private_files_are_closed(tmp_path: Path, passphrase: Passphrase | None):
    """The directory is 0700 and every file 0600; with a passphrase no key is readable without it."""
    fleet = Fleet.create(tmp_path / "meadow", "meadow", passphrase)
    fleet.add_recipient("home")
    assert stat.S_IMODE((tmp_path / "meadow").stat().st_mode) == 0o700
    keys = sorted((tmp_path / "meadow").rglob("*.key"), key=lambda path: path.stem)
    assert [k.stem for k in keys] == [
        "device-ca",
        "ledger",
        "recipient-home",
        "root",
        "server-ca",
        "service-ca",
        "signing",
    ]
    for path in (tmp_path / "meadow").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    for path in keys:
        assert (b"BEGIN ENCRYPTED" in path.read_bytes()) == (passphrase is not None)
    assert not [path for path in (tmp_path / "meadow").rglob("*") if path.name.startswith(".")]


def test_the_passphrase_is_needed_again(tmp_path: Path):
    """The right one opens everything; a wrong one, none, or one too many is refused with a sentence of its own."""
    closed = Fleet.create(tmp_path / "closed", "meadow", Passphrase(SECRET))
    closed.add_recipient("home")
    again = Fleet.open(tmp_path / "closed", Passphrase(SECRET))
    assert again.policy_key() == closed.policy_key()
    assert again.recipient_public("home") == closed.recipient_public("home")
    assert again.server(["localhost"]).certificate
    Fleet.create(tmp_path / "open", "meadow")
    said = set()
    for name, passphrase in (
        ("closed", Passphrase("wrong horse battery")),
        ("closed", None),
        ("open", Passphrase(SECRET)),
    ):
        with pytest.raises(Refused) as refused:
            Fleet.open(tmp_path / name, passphrase)
        said.add(str(refused.value))
    assert len(said) == 3
    assert SECRET not in repr(closed) + repr(closed.safe) + repr(Passphrase(SECRET)) + str(Passphrase(SECRET))


def test_the_passphrase_comes_through_a_descriptor(tmp_path: Path):
    """The first line of an open descriptor is taken; a short one and a closed descriptor are refused."""
    (tmp_path / "secret").write_text(SECRET + "\nsecond line\n")
    taken = passphrase_from(os.open(tmp_path / "secret", os.O_RDONLY))
    assert taken.stretched(b"salt" * 4) == Passphrase(SECRET).stretched(b"salt" * 4)
    with pytest.raises(Refused):
        Passphrase("short")
    with pytest.raises(BadInput):
        passphrase_from(987)


def test_an_open_directory_is_refused(tmp_path: Path):
    """A fleet directory that others may enter is not used; one that holds none, or a damaged one, is told."""
    Fleet.create(tmp_path / "meadow", "meadow")
    with pytest.raises(Refused, match="already"):
        Fleet.create(tmp_path / "meadow", "meadow")
    (tmp_path / "meadow").chmod(0o750)
    with pytest.raises(Refused, match="chmod 700"):
        Fleet.open(tmp_path / "meadow")
    with pytest.raises(Missing):
        Fleet.open(tmp_path / "nothing")
    (tmp_path / "meadow").chmod(0o700)
    (tmp_path / "meadow" / "fleet.json").write_text("{")
    with pytest.raises(BadInput):
        Fleet.open(tmp_path / "meadow")


def test_a_half_made_fleet_is_made_anew(tmp_path: Path):
    """Keys without the closing facts, as a power cut leaves them, are no fleet: creating again succeeds."""
    Fleet.create(tmp_path / "meadow", "meadow")
    (tmp_path / "meadow" / "fleet.json").unlink()
    with pytest.raises(Missing):
        Fleet.open(tmp_path / "meadow")
    assert Fleet.create(tmp_path / "meadow", "meadow").policy_key()


def test_requests_of_the_wrong_kind_are_refused(fleet: Fleet):
    """An RSA key, another curve, a damaged signature, no request at all, an endless one and odd days are refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    good = csr(key)
    der = bytearray(x509.load_pem_x509_csr(good).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    import base64

    lines = b"\n".join(base64.encodebytes(bytes(der)).split())
    forged = b"-----BEGIN CERTIFICATE REQUEST-----\n" + lines + b"\n-----END CERTIFICATE REQUEST-----\n"
    weak = [csr(rsa.generate_private_key(65537, 2048)), csr(ec.generate_private_key(ec.SECP521R1()))]
    for request, kind in [
        (weak[0], Refused),
        (weak[1], Refused),
        (forged, BadInput),
        (b"x", BadInput),
        (b"x" * 99999, BadInput),
    ]:
        with pytest.raises(kind):
            fleet.sign_csr(request, "r7k2", 30)
    for days in (0, -1, 99999):
        with pytest.raises(BadInput):
            fleet.sign_csr(good, "r7k2", days)


@given(st.binary(max_size=400))
def test_no_request_makes_it_fail(fleet: Fleet, raw: bytes):
    """Any bytes in place of a request are BadInput or Refused."""
    with pytest.raises(PrivetError):
        fleet.sign_csr(b"-----BEGIN CERTIFICATE REQUEST-----\n" + raw, "r7k2", 30)


@given(st.text(max_size=70))
def test_names_are_safe_in_topics_and_files(name: str):
    """What passes as a name holds nothing that a topic, a path or an access list gives a meaning to."""
    try:
        checked(name, "device")
    except BadInput:
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert 0 < len(name) <= 63
    assert name[0] != "-"


def test_files_appear_whole(tmp_path: Path):
    """A file that cannot be replaced is left as it was, and nothing of the attempt remains."""
    whole_file(tmp_path / "file", b"one")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").touch()
    with pytest.raises(Unreadable):
        whole_file(tmp_path / "taken", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "taken"]

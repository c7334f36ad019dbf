"""The enrolment server over real TLS: OpenSSL's and curl's own clients, and everything that is not as it should be."""

import base64
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import pkcs7
from sqlalchemy import update

from agent.core.cose import split_sign1
from provisioning.fleet import desk
from provisioning.fleet.authority import PEM, plain
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Registry
from provisioning.fleet.revocation import LIST
from provisioning.fleet.safe import whole_file
from provisioning.fleet.tables import certificates
from tests.fleet.enrolling import DAY, DER, KIND, Office, Served, key, request


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Give a running server."""
    with Served(Office(tmp_path_factory.mktemp("office"))) as made:
        yield made


@pytest.fixture(autouse=True)
def forgiving(served: Served) -> None:
    """Begin each test with no failures held against this address."""
    served.serving._enrolment._failures._left.clear()
    served.office.clock.ahead = 0


def run(folder: Path, *argv: str) -> str:
    """Run a program that must succeed; return what it says."""
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_openssl_and_curl_enrol_and_renew(served: Served, tmp_path: Path):
    """Key and request by openssl, sent by curl, taken apart and verified by openssl; renewed the same way."""
    one = served.office.planned()[0]
    (tmp_path / "root.pem").write_bytes(served.office.fleet.trust_anchor())
    url = f"https://127.0.0.1:{served.port}/.well-known/est/"
    curl = ("curl", "--silent", "--show-error", "--fail", "--cacert", "root.pem", "--output")
    kind = ("--header", "Content-Type: application/pkcs10", "--header", "Content-Transfer-Encoding: base64")
    new = ("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x")

    def asked(name: str, path: str, *more: str) -> None:
        run(tmp_path, *new, "-keyout", f"{name}.key", "-outform", "DER", "-out", f"{name}.der")
        run(tmp_path, "openssl", "base64", "-in", f"{name}.der", "-out", f"{name}.b64")
        run(tmp_path, *curl, f"{name}.p7", *kind, *more, "--data-binary", f"@{name}.b64", url + path)
        run(tmp_path, "openssl", "base64", "-d", "-in", f"{name}.p7", "-out", f"{name}.p7.der")
        out = ("-inform", "DER", "-in", f"{name}.p7.der", "-print_certs", "-out", f"{name}.pem")
        run(tmp_path, "openssl", "pkcs7", *out)
        verify = ("openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "root.pem")
        assert run(tmp_path, *verify, "-untrusted", f"{name}.pem", f"{name}.pem") == f"{name}.pem: OK\n"
        shown = run(tmp_path, "openssl", "x509", "-in", f"{name}.pem", "-noout", "-subject", "-nameopt", "RFC2253")
        assert shown == f"subject=CN={one.device}\n"

    (tmp_path / "login").write_text(f'user = "{one.device}:{one.token.hex()}"\n')
    asked("first", "simpleenroll", "--config", "login")
    served.office.clock.ahead = 61 * DAY
    asked("second", "simplereenroll", "--cert", "first.pem", "--key", "first.key")
    run(tmp_path, *curl, "ca.p7", "--cert", "second.pem", "--key", "second.key", url + "cacerts")
    served.office.clock.ahead = 0
    run(tmp_path, *curl, "list.crl", url + "crl")
    told = run(tmp_path, "openssl", "crl", "-inform", "DER", "-in", "list.crl", "-noout", "-text")
    number = run(tmp_path, "openssl", "x509", "-in", "first.pem", "-noout", "-serial").strip().partition("=")[2]
    assert number in told
    run(tmp_path, "openssl", "base64", "-d", "-in", "ca.p7", "-out", "ca.der")
    given = pkcs7.load_der_pkcs7_certificates((tmp_path / "ca.der").read_bytes())
    assert served.office.fleet.trust_anchor() in {one.public_bytes(PEM) for one in given}


def test_what_is_said_has_the_types_of_the_standard(served: Served):
    """Media type, transfer encoding, certificates only, and nothing a cache or a proxy may keep."""
    status, head, body = served.enrol(served.office.planned()[0], key())
    assert status == 200
    assert head["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert head["content-transfer-encoding"] == "base64"
    assert (head["cache-control"], head["server"]) == ("no-store", "privet")
    assert len(pkcs7.load_der_pkcs7_certificates(base64.b64decode(body))) == 2


def test_the_time_is_signed_over_the_nonce(served: Served):
    """A device that knows the policy key verifies it; each nonce has its own answer, and odd ones have none."""
    public = Ed25519PublicKey.from_public_bytes(served.office.fleet.policy_key())
    status, head, body = served.ask("GET", "time?nonce=" + "ab" * 32)
    signed = split_sign1(body, 1024)
    public.verify(signed.signature, signed.signed)
    form, nonce, now = cbor2.loads(signed.payload)
    assert (status, head["content-type"], form, nonce) == (200, "application/cose", "privet time 1", b"\xab" * 32)
    assert abs(now - time.time()) < 60
    for odd in ("", "?nonce=", "?nonce=xyz", "?nonce=" + "ab" * 31, "?nonce=" + "AB" * 32):
        assert served.ask("GET", "time" + odd)[0] == 400


def test_a_machine_that_only_enrols_has_few_keys(tmp_path: Path):
    """Device CA, server CA and ledger suffice; no policy and no collector can be made there, and no time is told."""
    made = Office(tmp_path)
    card = made.planned()[0]
    made.registry.close()
    shutil.rmtree(made.fleet.safe.directory / "root")
    for name in ("signing", "service-ca"):
        (made.fleet.safe.directory / f"{name}.key").unlink()
    made.fleet = Fleet.open(made.fleet.safe.directory)
    made.registry = Registry(made.fleet, "", made.clock)
    with Served(made) as few:
        assert few.enrol(card, key())[0] == 200
        assert few.ask("GET", "crl")[0] == 200
        assert few.ask("GET", "time?nonce=" + "ab" * 32)[0] == 404


def test_the_end_of_an_authority_is_told_long_before(served: Served):
    """Half a year before the authorities end, the operator hears of it each hour; not today."""
    served.told.clear()
    served.serving.keep_house()
    assert served.told == []
    served.office.clock.ahead = (3 * 365 - 170) * DAY
    served.serving.keep_house()
    assert [line.partition(" ends in ")[0] for line in served.told] == ["the device-ca", "the server-ca"]


def test_an_hour_that_fails_is_not_the_last(tmp_path: Path):
    """A list that cannot be read now, as on a full disk: told, all else is done, and the next hour does it again."""
    with Served(Office(tmp_path / "office"), hour=0.05) as made:
        folder = made.office.fleet.safe.directory
        before = (folder / "serve" / "server.pem").read_bytes()
        (folder / LIST).write_text("half a li")
        until(lambda: len(made.told) > 2)
        assert "the hourly work of the enrolment server failed" in made.told[0]
        assert (folder / "serve" / "server.pem").read_bytes() != before
        (folder / LIST).unlink()
        after = (folder / "serve" / "server.pem").read_bytes()
        until(lambda: (folder / "serve" / "server.pem").read_bytes() not in (before, after))
        assert made.ask("GET", "cacerts")[0] == 200


def test_a_list_that_cannot_be_written_is_told_with_who_was_shut_out(tmp_path: Path):
    """A copied card while the list is damaged: the operator hears of both, not of neither."""
    with Served(Office(tmp_path)) as made:
        one = made.office.planned()[0]
        assert made.enrol(one, key())[0] == 200
        (made.office.fleet.safe.directory / LIST).write_text("half a li")
        assert made.enrol(one, key())[0] == 403
        until(lambda: len(made.told) >= 2)
        assert any("could not be written" in line for line in made.told)
        assert any(f"{one.device} is in quarantine" in line for line in made.told)


def until(so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 20
    while not so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_request_of_no_known_version_is_the_sender_s_fault(served: Served):
    """A certificate request that says it is of version 3: refused as one that cannot be read; nobody is called."""
    served.told.clear()
    odd = request(key()).replace(b"\x02\x01\x00", b"\x02\x01\x02", 1)
    one = served.office.planned()[0]
    login = {"Authorization": "Basic " + base64.b64encode(f"{one.device}:{one.token.hex()}".encode()).decode()}
    answer = served.ask("POST", "simpleenroll", base64.b64encode(odd), {**KIND, **login})
    assert answer[0] == 400
    assert served.told == []


def test_a_copy_is_told_to_a_person(served: Served):
    """The operator gets one sentence with the device's name; the broker's list has its certificate."""
    one, mine = served.office.planned()[0], key()
    answer = served.enrol(one, mine)[2]
    assert served.enrol(one, mine)[2] == answer
    status, _, said = served.enrol(one, key())
    assert (status, said.decode().strip()) == (403, desk.COPY)
    assert served.told[-1] == f"{one.device} is in quarantine: {desk.COPY}"
    leaf = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer))[0]
    status, _, made = served.ask("GET", "crl")
    assert x509.load_der_x509_crl(made).get_revoked_certificate_by_serial_number(leaf.serial_number) is not None


def test_two_starts_of_one_key_over_the_wire(served: Served):
    """`Privet-Boot` says which start this is; two boards of one start are found."""
    one, mine = served.office.planned()[0], key()
    assert served.enrol(one, mine, **{"Privet-Boot": "7." + "a" * 32})[0] == 200
    assert served.enrol(one, mine, **{"Privet-Boot": "8." + "b" * 32})[0] == 200
    assert served.enrol(one, mine, **{"Privet-Boot": "8 " + "b" * 32})[0] == 400
    assert served.enrol(one, mine, **{"Privet-Boot": "8." + "c" * 32})[0] == 403
    assert served.office.state(one.device) == "quarantined"


def test_a_device_whose_certificate_ended_gets_the_next_one(served: Served, tmp_path: Path):
    """The desk judges dates by the server's clock. A stranger is not let in."""
    one, mine = served.office.planned()[0], key()
    home = served.at_home(tmp_path / "home", mine, served.enrol(one, mine)[2])
    body = base64.b64encode(request(key()))
    assert served.ask("POST", "simplereenroll", body, KIND, home)[0] == 202
    other = key()
    served.office.clock.ahead = 200 * DAY
    status, _, answer = served.ask("POST", "simplereenroll", body, KIND, home)
    assert (status, bool(answer)) == (200, True)
    status, _, said = served.ask("POST", "simplereenroll", body, KIND)
    assert (status, said.decode().strip()) == (401, "a renewal needs TLS with the device's certificate; show it")
    rogue = Fleet.create(tmp_path / "rogue", "meadow")
    stranger = served.at_home(tmp_path / "stranger", other, served.enrol(served.office.planned()[0], key())[2])
    leaf = rogue.device_leaf(other.public_key(), one.device, 30)
    (stranger / "cert.pem").write_bytes(leaf.public_bytes(PEM) + rogue.safe.read("device-ca.pem"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        served.ask("POST", "simplereenroll", body, KIND, stranger)


def test_tls_lets_in_a_certificate_that_truly_ended(served: Served, tmp_path: Path):
    """Ended ten minutes ago by every clock: it renews, and it still does not count where a broker looks at dates."""
    one, mine = served.office.planned()[0], key()
    assert served.enrol(one, mine)[0] == 200
    issuer, issuer_key = served.office.fleet.issuer("device-ca")
    leaf = served.office.fleet.device_leaf(mine.public_key(), one.device, 1)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer.subject, leaf.subject, leaf.public_key(), leaf.serial_number)
    builder = builder.not_valid_before(now - timedelta(minutes=50)).not_valid_after(now - timedelta(minutes=10))
    for extension in leaf.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    made = builder.sign(issuer_key, hashes.SHA256())
    ends = int(made.not_valid_after_utc.timestamp())
    values = {"serial": f"{made.serial_number:x}", "der": made.public_bytes(DER), "begins": ends - 2400, "ends": ends}
    with served.office.registry.engine.begin() as connection:
        connection.execute(update(certificates).where(certificates.c.device == one.device).values(**values))
    whole_file(tmp_path / "cert.pem", made.public_bytes(PEM) + issuer.public_bytes(PEM))
    whole_file(tmp_path / "key.pem", plain(mine))
    assert served.ask("POST", "simplereenroll", base64.b64encode(request(key())), KIND, tmp_path)[0] == 200


def test_a_server_poses_as_no_device(served: Served, tmp_path: Path):
    """The server's own certificate does not renew as one of a device."""
    made = served.office.fleet.server(["localhost"])
    (tmp_path / "cert.pem").write_bytes(made.certificate)
    (tmp_path / "key.pem").write_bytes(made.key)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        served.ask("POST", "simplereenroll", base64.b64encode(request(key())), KIND, tmp_path)

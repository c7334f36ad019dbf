"""The enrolment server and those who mean no good, or send nothing right: one sentence each, and the next is served."""

import base64
import concurrent.futures
import contextlib
import resource
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from provisioning.fleet import desk
from tests.fleet.enrolling import DER, KIND, Office, Served, key, login, request


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


POST = "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\n"


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def forged() -> bytes:
    """Return a request whose signature does not fit its key."""
    made = bytearray(request(key()))
    made[-1] ^= 1
    return bytes(made)


def of_rsa() -> bytes:
    """Return a request for an RSA key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(rsa.generate_private_key(65537, 2048), hashes.SHA256()).public_bytes(DER)


WRONG = {
    "no body": (b"", KIND, 400),
    "garbage": (b"\xff\x00" * 400, KIND, 400),
    "base64 of garbage": (base64.b64encode(bytes(range(256))), KIND, 400),
    "cut short": (base64.b64encode(request(key())[:-20]), KIND, 400),
    "not base64 DER but PEM": (b"-----BEGIN CERTIFICATE REQUEST-----\n", KIND, 400),
    "a forged signature": (base64.b64encode(forged()), KIND, 400),
    "an RSA key": (base64.b64encode(of_rsa()), KIND, 403),
    "no media type": (base64.b64encode(request(key())), {}, 400),
    "another media type": (base64.b64encode(request(key())), {"Content-Type": "application/json"}, 400),
    "64 MB announced": (b"A", {**KIND, "Content-Length": str(64 << 20)}, 413),
    "too large": (b"A" * 40_000, KIND, 413),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_question_gets_one_sentence(served: Served, wrong: str):
    """One line, no traceback, the status that fits; and the token is as good as before."""
    body, head, status = WRONG[wrong]
    one = served.office.planned()[0]
    got, _, said = served.ask("POST", "simpleenroll", body, {**head, **login(one)})
    assert got == status
    text = said.decode()
    assert text.count("\n") == 1 and "; " in text and "Traceback" not in text and len(text) < 200
    assert served.office.state(one.device) == "planned"
    assert served.enrol(one, key())[0] == 200


def test_wrong_logins_and_wrong_places(served: Served):
    """No login, an odd one, a wrong token, a wrong path, a wrong method."""
    body, one = base64.b64encode(request(key())), served.office.planned()[0]
    for login_, status in [("", 401), ("Basic ???", 401), ("Bearer x", 401), ("Basic " + "A" * 4000, 401)]:
        head = {**KIND, **({"Authorization": login_} if login_ else {})}
        got, headers, _ = served.ask("POST", "simpleenroll", body, head)
        assert (got, headers["www-authenticate"]) == (status, 'Basic realm="privet"')
    wrong = {**KIND, **login(type(one)(device=one.device, token=bytes(32)))}
    got, _, said = served.ask("POST", "simpleenroll", body, wrong)
    assert (got, said.decode().strip()) == (401, desk.NOBODY)
    assert served.ask("GET", "serverkeygen")[0] == 404
    assert served.ask("GET", "../../etc/passwd")[0] == 404
    got, headers, _ = served.ask("GET", "simpleenroll")
    assert (got, headers["allow"]) == (405, "POST")


def test_who_fails_often_has_to_wait(served: Served):
    """After thirty refused questions an address waits; what is right then is answered again, after a while."""
    one = served.office.planned()[0]
    statuses = [served.ask("GET", "nowhere")[0] for _ in range(32)]
    assert statuses[:30] == [404] * 30 and statuses[-1] == 429
    status, head, _ = served.enrol(one, key())
    assert status == 429 and int(head["retry-after"]) >= 1


def test_64_megabytes_are_not_taken(served: Served):
    """An endless body that is sent without being announced is never kept, and its connection is ended."""
    one, ended = served.office.planned()[0], False
    before = resident()
    with contextlib.closing(served.link()) as link:
        head = "".join(f"{name}: {value}\r\n" for name, value in {**KIND, **login(one)}.items())
        link.sendall(f"{POST}{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(1_000_000):
                link.sendall(b"100000\r\n" + b"A" * (1 << 20) + b"\r\n")
        except OSError:
            ended = True
    assert ended
    assert resident() - before < 32 << 20
    assert served.enrol(one, key())[0] == 200


def test_slow_clients_are_left(tmp_path: Path):
    """One that connects and says nothing, one that drips its head, and one that never sends its body: all are ended."""
    with Served(Office(tmp_path), life=4.0) as served:
        links = []
        for begin in ("", f"{POST}X-", f"{POST}Content-Length: 100\r\n\r\n"):
            links.append(served.link())
            links[-1].sendall(begin.encode())
        for link in links:
            with contextlib.suppress(ConnectionError, ssl.SSLError):  # the end of patience here is a failure
                while link.recv(4096):
                    continue
            link.close()
        assert served.enrol(served.office.planned()[0], key())[0] == 200


def test_who_drips_is_left_as_well(tmp_path: Path):
    """A head that grows by a letter now and then keeps no connection beyond a connection's life."""
    with Served(Office(tmp_path), life=4.0) as served, contextlib.closing(served.link()) as link:
        link.sendall(f"{POST}X-".encode())
        link.settimeout(0.02)
        ended = False
        for _ in range(300):
            try:
                link.sendall(b"a")
                ended = link.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
            if ended:
                break
        assert ended


def test_one_too_many_takes_the_place_of_who_asks_nothing(tmp_path: Path):
    """Beyond its number of connections the server ends the one on which nothing was asked for longest."""
    with Served(Office(tmp_path), most=3) as served, contextlib.ExitStack() as stack:
        held = [stack.enter_context(served.link()) for _ in range(3)]
        for link in held:  # each is there only when the server has answered it
            link.sendall(b"GET /.well-known/est/nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            assert link.recv(100).startswith(b"HTTP/1.1 404")
        assert served.ask("GET", "cacerts")[0] == 200
        assert (served.serving.entrance.turned, served.serving.entrance.cut) == (0, 1)
        assert over(held[0])


def over(link: ssl.SSLSocket) -> bool:
    """Say whether a connection is ended by the other side; what it said before is read."""
    link.settimeout(20)
    try:
        while link.recv(1000):
            continue
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_many_at_once_with_the_same_token(served: Served):
    """Of twenty who come with one token and a key each, exactly one gets a certificate, and the device is shut."""
    one, keys = served.office.planned()[0], [key() for _ in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda mine: served.enrol(one, mine)[0], keys))
    assert answers.count(200) == 1
    assert served.office.state(one.device) == "quarantined"


@pytest.mark.parametrize("weak", ["TLSv1_1", "cbc"])
def test_old_tls_is_not_spoken(served: Served, weak: str):
    """Neither TLS 1.1 nor a cipher without authentication of its own."""
    made = served.context()
    if weak == "cbc":
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers("ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA")
    else:
        made.set_ciphers("ALL:@SECLEVEL=0")
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made.minimum_version = ssl.TLSVersion.TLSv1
            made.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", served.port), 10) as link, pytest.raises(ssl.SSLError):
        made.wrap_socket(link, server_hostname="localhost")


def test_a_key_of_another_curve_is_refused(served: Served):
    """P-521 and whatever else is not asked for."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    made = builder.sign(ec.generate_private_key(ec.SECP521R1()), hashes.SHA256()).public_bytes(DER)
    one = served.office.planned()[0]
    assert served.ask("POST", "simpleenroll", base64.b64encode(made), {**KIND, **login(one)})[0] == 403

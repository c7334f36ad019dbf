"""Every kind of bad peer is refused: no session, no byte of MQTT, one sentence that a person can act on."""

import contextlib
import socket
import subprocess
from pathlib import Path

import pytest

from agent.courier import trust
from agent.courier.link import Link
from agent.courier.session import Place
from provisioning.fleet.safe import whole_file
from tests.courier import fake
from tests.courier.bad_peers import SHOWN
from tests.courier.bad_words import RAW
from tests.courier.pki import Tree, showing
from tests.courier.rig import FLEET, QUICK, Remembering, Site, drive, trusting

LEAST = 50
UNREADABLE = {"a chain too long to read"}  # no client of OpenSSL takes it, however little it looks
GENERIC = ("TLS with the broker failed", "the connection failed", "what the broker sent cannot be understood")


def home(site: Site, folder: Path, authority: bytes) -> Path:
    """Return a device's directory that trusts this authority."""
    mine = site.device("matrix")
    for name in ("cert.pem", "key.pem"):
        whole_file(folder / "home" / name, (mine / name).read_bytes())
    whole_file(folder / "home" / "ca.pem", authority)
    return folder / "home"


def tried(where: Path, port: int) -> tuple[Link, Remembering]:
    """Let a courier try to connect, until it says how that went."""
    listener = Remembering()
    link = Link(Place(host="localhost", port=port, fleet=FLEET, device="matrix"), trusting(where), listener, QUICK)
    assert drive([link], lambda: bool(listener.states), seconds=20)
    return link, listener


def refused(where: Path, port: int) -> str:
    """Return the sentence with which the courier gave up, once it is known to be one that helps."""
    link, listener = tried(where, port)
    link.close()
    state, sentence = listener.states[0]
    assert (state, link.sessions, link.faults) == ("offline", 0, 0), sentence
    assert not sentence.startswith(GENERIC)
    told, _, then = sentence.partition("; ")
    assert told and then and "\n" not in sentence
    return sentence


def careless(port: int) -> None:
    """Connect with a client that looks at nothing and takes everything: openssl's own."""
    asked = f"openssl s_client -connect 127.0.0.1:{port} -servername localhost -cipher ALL:eNULL:@SECLEVEL=0"
    argv = [*asked.split(), "-min_protocol", "TLSv1"]
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize("kind", SHOWN)
def test_a_wrong_certificate_or_choice_is_refused(site: Site, tmp_path: Path, kind: str):
    """Who does not look is taken in; the courier is not, and sends nothing."""
    authority, context = SHOWN[kind](tmp_path)
    if kind not in UNREADABLE:
        with fake.serving(fake.quiet, context) as server:
            careless(server.port)
        assert server.greetings == 1
    said: list[bytes] = []
    with fake.serving(lambda link: said.append(link.recv(1)), context) as server:
        refused(home(site, tmp_path, authority), server.port)
        assert server.connections >= 1
    assert not any(said)


@pytest.mark.parametrize("kind", RAW)
def test_what_is_no_greeting_is_refused(site: Site, kind: str):
    """Something listens and answers, or does not; it is told what, and the courier's loop goes on within seconds."""
    with fake.serving(RAW[kind]) as server:
        refused(site.device("matrix"), server.port)
        assert server.connections >= 1


def test_the_good_twin_is_taken(site: Site, tmp_path: Path):
    """The same authorities with nothing wrong: the refusals above are about the one thing."""
    tree = Tree()
    one = tree.leaf()
    context = showing(tmp_path, one.key, [one.pem, tree.between.pem])

    def broker(link: socket.socket) -> None:
        """Greet, and wait for the goodbye."""
        with contextlib.suppress(IndexError):
            fake.greet(link)
            link.recv(1)

    with fake.serving(broker, context) as server:
        link, listener = tried(home(site, tmp_path, tree.root.pem), server.port)
        link.close()
    assert listener.states[0] == ("connected", "")


def test_there_are_enough_kinds():
    """At least fifty, each another one."""
    kinds = [*SHOWN, *RAW]
    assert len(kinds) == len(set(kinds)) >= LEAST
    assert len({id(make) for make in (*SHOWN.values(), *RAW.values())}) == len(kinds)


def test_a_name_in_the_subject_alone_was_taken_before(site: Site, tmp_path: Path):
    """The known-bad twin: a context that still reads the subject's free text as a name lets that one in."""
    authority, context = SHOWN["the name in the subject alone"](tmp_path)
    where = home(site, tmp_path, authority)
    old = trust.verified(where / "ca.pem", where / "cert.pem", where / "key.pem")
    old.hostname_checks_common_name = True
    with fake.serving(fake.quiet, context) as server:
        plain = socket.create_connection(("127.0.0.1", server.port), 5)
        with plain, old.wrap_socket(plain, server_hostname="localhost") as link:
            assert link.version() == "TLSv1.3"

"""The connection to the owner's own broker, against real ones: TLS, a password, an access list."""

from pathlib import Path

import pytest
import trustme

from agent.core.errors import Refused, Unreachable
from agent.core.secret import Secret
from provisioning.opener.effects import Publish
from provisioning.opener.own import Login, OwnBroker
from provisioning.opener.place import Place, verified
from tests.courier.rig import Site
from tests.opener.home import OwnMosquitto, hashed, holding

MARKER = "the-marker-5f2c91"
NODE_RED = "privet-open/node-red/meadow/r7k2/comfort/temperature"


def own(server: OwnMosquitto, login: Login | None = None) -> OwnBroker:
    """Return the connection to a broker on this machine."""
    return OwnBroker(Place(host="127.0.0.1", port=server.port, context=None), login, "privet-opener-home")


@pytest.mark.parametrize("why", ["", "another authority", "another name", "no TLS at all"])
def test_the_own_broker_proves_itself(site: Site, tmp_path: Path, why: str):
    """Over TLS with the owner's authority and the right name it gets messages; else nothing but a hello."""
    authority = trustme.CA()
    leaf = authority.issue_cert("hub.example" if why == "another name" else "127.0.0.1")
    shown = trustme.CA() if why == "another authority" else authority
    shown.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    lines = ("allow_anonymous true", "certfile cert.pem", "keyfile key.pem")
    chain = b"".join(one.bytes() for one in leaf.cert_chain_pems)
    with OwnMosquitto(
        tmp_path / "own",
        *(lines[:1] if why == "no TLS at all" else lines),
        cert_pem=chain,
        key_pem=leaf.private_key_pem.bytes(),
    ) as server:
        context = verified(tmp_path / "own.pem", site.fleet.trust_anchor())
        link = OwnBroker(Place(host="127.0.0.1", port=server.port, context=context), None, "privet-opener-home")
        try:
            if why:
                with pytest.raises(Unreachable, match="your own broker is not reached"):
                    link.publish([Publish(topic="a", payload=MARKER.encode(), retain=True)])
                assert link.sessions == 0
            else:
                link.publish([Publish(topic="a", payload=MARKER.encode(), retain=True)])
                assert link.sessions == 1
        finally:
            link.close()
        server.stop()
        assert bool(holding(server.directory, MARKER)) == (not why)


def test_a_password_opens_the_own_broker(tmp_path: Path):
    """The right one; a wrong one is a sentence, and neither is ever shown."""
    lines = ("allow_anonymous false", "password_file pass.words")
    kept = hashed("opener", "long-password-1", tmp_path)
    with OwnMosquitto(tmp_path / "own", *lines, pass_words=kept) as server:
        right = own(server, Login(name="opener", password=Secret(b"long-password-1")))
        right.publish([Publish(topic="a", payload=b"1", retain=False)])
        right.close()
        wrong = own(server, Login(name="opener", password=Secret(b"long-password-2")))
        with pytest.raises(Unreachable, match="not authori") as told:
            wrong.connect()
        assert "long-password" not in str(told.value) + repr(wrong) + repr(vars(right))
        wrong.close()


def test_a_broker_that_takes_nothing_is_no_delivery(tmp_path: Path):
    """Its access list refuses our topics: that is told, and the reading counts as not handed on."""
    with OwnMosquitto(
        tmp_path / "own", "allow_anonymous true", "acl_file access.list", access_list=b"topic write ok\n"
    ) as server:
        link = own(server)
        link.publish([Publish(topic="ok", payload=b"1", retain=False)])
        with pytest.raises(Refused, match="does not let the opener publish"):
            link.publish([Publish(topic=NODE_RED, payload=b"1", retain=False)])
        link.close()

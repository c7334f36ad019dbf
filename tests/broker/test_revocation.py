"""Revocation at the real broker: who is revoked is thrown out at once and stays out; everybody else notices nothing."""

import os
import signal
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from agent.core.errors import BadInput, Failed
from provisioning.broker.mosquitto import Broker, Setup, free_port
from provisioning.broker.watch import Watch
from provisioning.fleet.identity import Fleet
from provisioning.fleet.revocation import LIST, crl, revoke, revoked
from tests.broker.test_mosquitto import TOP, Party
from tests.courier.rig import FLEET, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Give a fleet."""
    return Site(tmp_path)


@pytest.fixture
def watch(site: Site) -> Iterator[Watch]:
    """Give its running broker under watch."""
    setup = Setup(fleet=FLEET, address="127.0.0.1", port=free_port(), collectors=("one",), durable=True)
    crls, begins = crl(site.fleet)
    credential = site.fleet.server(["localhost", "127.0.0.1"])
    with Broker(site.directory / "broker", setup, credential, site.fleet.client_anchors(), crls) as broker:
        yield Watch(site.fleet, broker, "127.0.0.1", begins)


def refused(watch: Watch, home: Path) -> bool:
    """Say whether a client with this identity is kept out."""
    try:
        party = Party(watch.broker, home)
        party.turn(0.2)
    except (ssl.SSLError, OSError):
        return True
    return not party.client.is_connected()


def ended(party: Party) -> bool:
    """Turn a party until it notices that it was thrown out, a while at most."""
    for _ in range(40):
        party.turn(0.05)
        if not party.client.is_connected():
            return True
    return False


def test_a_revoked_device_is_thrown_out_and_stays_out(site: Site, watch: Watch):
    """Its live session ends, its certificate is refused, its queue is gone; its neighbour and the collector stay."""
    thief, bert = Party(watch.broker, site.device("anna")), Party(watch.broker, site.device("bert"))
    for party in (thief, bert):
        party.turn()
        assert party.client.is_connected()
    assert [one.name for one in revoke(site.fleet, [(site.device("anna") / "cert.pem").read_bytes()])] == ["anna"]
    watch.turn()
    assert ended(thief)
    assert refused(watch, site.device("anna"))
    assert bert.says(f"{TOP}/bert/up/comfort", b"still here")
    assert not refused(watch, site.service("one"))
    bert.close()


def test_without_a_turn_of_the_watch_nothing_ends(site: Site, watch: Watch):
    """The twin: the list alone, unread by the broker, keeps nobody out; so it is the watch that does."""
    thief = Party(watch.broker, site.device("anna"))
    thief.turn()
    revoke(site.fleet, [(site.device("anna") / "cert.pem").read_bytes()])
    assert not ended(thief)
    thief.close()
    assert not refused(watch, site.device("anna"))


def test_revocations_one_after_the_other_all_count(site: Site, watch: Watch):
    """Of several lists within a second the newest is believed, also after a restart."""
    for name in ("a1", "a2", "a3"):
        revoke(site.fleet, [(site.device(name) / "cert.pem").read_bytes()])
        watch.turn()
        assert refused(watch, site.device(name))
    watch.broker.restart()
    assert [refused(watch, site.device(name)) for name in ("a1", "a2", "a3", "a4")] == [True, True, True, False]


def test_a_device_enrolled_anew_after_a_revocation_is_let_in(site: Site, watch: Watch):
    """The certificate is revoked, not the name: the same device with a new one comes back."""
    old = site.device("anna")
    revoke(site.fleet, [(old / "cert.pem").read_bytes()])
    watch.turn()
    fresh = site.device("anna2")  # a home to borrow the layout of
    (fresh / "cert.pem").write_bytes(site.fleet.sign_csr(_request_of(fresh), "anna", 2))
    assert refused(watch, old)
    assert not refused(watch, fresh)


def _request_of(home: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization

    from tests.courier.rig import request

    key = serialization.load_pem_private_key((home / "key.pem").read_bytes(), None)
    return request(key)


def test_a_dead_broker_is_told(watch: Watch):
    """A broker that was killed from outside is noticed."""
    os.kill(watch.broker.pid, signal.SIGKILL)
    while watch.broker.alive:
        time.sleep(0.01)
    with pytest.raises(Failed, match="has died"):
        watch.turn()


def test_lists_begin_later_each_time_and_never_in_the_future(site: Site):
    """OpenSSL prefers the list that began later, and ignores one that has not begun."""
    begins, made = None, []
    for _ in range(3):
        pem, begins = crl(site.fleet, begins)
        made.append(begins)
        for block in pem.split(b"-----END X509 CRL-----\n")[:-1]:
            one = x509.load_pem_x509_crl(block + b"-----END X509 CRL-----\n")
            assert one.last_update_utc == begins
            assert one.next_update_utc is not None
            assert one.next_update_utc - datetime.now(UTC) > timedelta(days=6)
    assert made == sorted(set(made))
    assert made[-1] < datetime.now(UTC)


def test_only_certificates_of_this_fleet_are_revoked(site: Site, tmp_path: Path):
    """Garbage, and the certificate of another fleet, are refused with a sentence, and nothing is listed."""
    other = Site(tmp_path / "other")
    for pem in (b"garbage", (other.device("anna") / "cert.pem").read_bytes()):
        with pytest.raises(BadInput):
            revoke(site.fleet, [pem])
    assert revoked(site.fleet) == ()
    once = (site.device("anna") / "cert.pem").read_bytes()
    assert len(revoke(site.fleet, [once, once])) == 1
    assert revoke(site.fleet, [once]) == ()


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '[{"serial": "zz"}]', '[{"serial":"1","name":"a","issuer":"x","at":1,"until":2}]']
)
def test_a_damaged_list_is_not_an_empty_one(site: Site, text: str):
    """A list that cannot be read is told; taken for empty, it would let everybody in again."""
    site.fleet.safe.write(LIST, text.encode())
    with pytest.raises(BadInput, match=r"damaged|is none"):
        crl(Fleet.open(site.fleet.safe.directory))

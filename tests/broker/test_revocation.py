"""Revocation at the real broker: who is revoked is thrown out at once and stays out; everybody else notices nothing."""

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from agent.core.errors import BadInput, Failed
from provisioning.broker.mosquitto import Broker, Setup, free_port
from provisioning.broker.watch import Watch
from provisioning.fleet import keeping
from provisioning.fleet.authority import PEM, plain
from provisioning.fleet.desk import GONE
from provisioning.fleet.identity import Fleet
from provisioning.fleet.revocation import LIST, crl, revoke, revoked
from provisioning.fleet.safe import whole_file
from tests.broker.party import Party, let_in
from tests.broker.test_mosquitto import TOP
from tests.courier.rig import FLEET, Site
from tests.fleet.enrolling import DER, Office, asked, key


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
    return not let_in(watch.broker, home)


def test_a_revoked_device_is_thrown_out_and_stays_out(site: Site, watch: Watch):
    """Its live session ends, its certificate is refused, its queue is gone; its neighbour and the collector stay."""
    thief, bert = Party(watch.broker, site.device("anna")), Party(watch.broker, site.device("bert"))
    for party in (thief, bert):
        assert party.arrives()
    assert [one.name for one in revoke(site.fleet, [(site.device("anna") / "cert.pem").read_bytes()])] == ["anna"]
    watch.turn()
    assert thief.ended()
    assert refused(watch, site.device("anna"))
    assert bert.says(f"{TOP}/bert/up/comfort", b"still here")
    assert not refused(watch, site.service("one"))
    bert.close()


def test_a_device_of_the_registry_stays_out_whatever_is_published(site: Site, watch: Watch):
    """Revoked by hand: the live session ends; publishing, a restart and a renewal do not bring it back."""
    office = Office(site.directory, fleet=site.fleet)
    one, other = (enrolled(office, site.directory) for _ in range(2))
    thief, bert = Party(watch.broker, one), Party(watch.broker, other)
    for party in (thief, bert):
        assert party.arrives()
    pem = (one / "cert.pem").read_bytes()
    assert [found.name for found in keeping.revoke(office.registry, [pem], "in a backup", "ada")] == [one.name]
    watch.turn()
    assert thief.ended()
    assert keeping.revoke(office.registry, [pem], "again", "ada") == ()
    office.registry.quarantine(other.name, "lost", "ada")
    keeping.publish(office.registry)
    watch.turn()
    assert bert.ended() and refused(watch, one) and refused(watch, other)
    office.registry.release(other.name, "found", "ada")
    keeping.publish(office.registry)
    watch.turn()
    assert refused(watch, one) and not refused(watch, other)
    watch.broker.restart()
    assert refused(watch, one) and not refused(watch, other)
    assert office.renew(x509.load_pem_x509_certificate(pem).public_bytes(DER), asked(key())).sentence == GONE
    told = [(row.event, row.device) for row in office.registry.shown(one.name)[2]]
    assert told[-1] == ("revoked", one.name) and office.state(one.name) == "revoked"
    assert office.registry.verify() == len(office.registry.shown(other.name)[2]) + len(told) + 2
    office.registry.close()


def test_a_list_without_the_registrys_word_is_undone(site: Site):
    """The twin: what was listed as by the registry, and not by a person, is taken out where the registry says so."""
    office = Office(site.directory, fleet=site.fleet)
    pem = (enrolled(office, site.directory) / "cert.pem").read_bytes()
    revoke(site.fleet, [pem])
    assert not keeping.publish(office.registry) and len(revoked(site.fleet)) == 1
    listed = json.loads(site.fleet.safe.read(LIST))
    site.fleet.safe.write(LIST, json.dumps([{**row, "hand": False} for row in listed]).encode())
    assert keeping.publish(office.registry) and revoked(site.fleet) == ()
    office.registry.close()


def test_who_is_shut_out_again_is_thrown_out_again(site: Site, watch: Watch):
    """Quarantine, release and quarantine of one certificate while the broker runs: its session ends both times."""
    office = Office(site.directory, fleet=site.fleet)
    home = enrolled(office, site.directory)
    for _ in range(2):
        ends = time.monotonic() + 20
        while refused(watch, home):  # the broker was told, and has not read its list yet
            assert time.monotonic() < ends
        party = Party(watch.broker, home)
        assert party.arrives()
        office.registry.quarantine(home.name, "seen at a market", "ada")
        keeping.publish(office.registry)
        watch.turn()
        assert party.ended()
        office.registry.release(home.name, "found", "ada")
        keeping.publish(office.registry)
        watch.turn()
    office.registry.close()


def enrolled(office: Office, folder: Path) -> Path:
    """Let a new device come with its token; return its home."""
    one, mine = office.planned()[0], key()
    got = x509.load_der_x509_certificate(office.claim(one, asked(mine)).certificate)
    chain = got.public_bytes(PEM) + office.fleet.safe.read("device-ca.pem")
    for name, content in (("ca.pem", office.fleet.trust_anchor()), ("cert.pem", chain), ("key.pem", plain(mine))):
        whole_file(folder / one.device / name, content)
    return folder / one.device


def test_without_a_turn_of_the_watch_nothing_ends(site: Site, watch: Watch):
    """The twin: the list alone, unread by the broker, keeps nobody out; so it is the watch that does."""
    thief = Party(watch.broker, site.device("anna"))
    assert thief.arrives()
    revoke(site.fleet, [(site.device("anna") / "cert.pem").read_bytes()])
    assert not thief.ended(2)
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

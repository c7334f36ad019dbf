"""First boots of each product that has a factory secret: ended at every call, and with a twin that is not durable."""

import pytest

from agent.core.credential import NEW, OLD, OTHER
from agent.core.errors import Failed
from agent.core.secret import Secret
from agent.system.simulated.faults import NoSync
from tests.credentials.products import PRODUCTS, Product, fresh
from tests.guard.boots import DONE, boot, stream, swept
from tests.guard.disk_store import DiskStore, FileGate

EVERY = pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)


def kinds(product: Product):
    """Return what first boot is given."""
    return ((product.kind.KIND, product.kind, product.params),)


def secret(system, product):
    """Return the new secret that waits for the owner, or nothing."""
    return DiskStore(system).get(f"credential/{product.kind.KIND}/{product.label}") or b"-"


def sound(system, product):
    """Assert the promise at any instant: old and shut in, or new and known to the owner."""
    if product.opens(system, product.old):
        assert not FileGate(system).is_open(), "the factory secret opens a device that can be reached"
    else:
        assert product.opens(system, secret(system, product)), "the owner is locked out"


def finished(system, product):
    """Assert the end: provisioned, the old one refused, the new one known, now and after a cut at the very end."""
    assert boot(system, kinds(product)) == DONE
    for cut in (False, True):
        if cut:
            system.crash("all")
        assert FileGate(system).is_open()
        assert not product.opens(system, product.old)
        assert product.opens(system, secret(system, product))


@EVERY
def test_the_whole_way(product: Product):
    """The old one opens the door before and is refused after, the new one opens it, and a second look finds nothing."""
    system = product.made()
    assert product.opens(system, product.old)
    finished(system, product)
    journal = DiskStore(system).journal
    assert boot(system, kinds(product)) == DONE
    assert DiskStore(system).journal == journal
    assert product.old not in repr(journal).encode() and secret(system, product) not in repr(journal).encode()


@EVERY
def test_ended_at_every_call(product: Product):
    """A power cut or a kill at any call: at once safe, and the next start ends it well, durably."""

    def work(system):
        return boot(system, kinds(product))

    def check(system):
        sound(system, product)
        finished(system, product)

    total, fired, states = swept(lambda: product.made(entropy=stream()), work, check)
    assert fired == total > 100
    assert states > 10


@EVERY
def test_without_durable_directories_the_old_one_comes_back(product: Product):
    """The known-bad twin: no directory is ever synced; then a cut after provisioned brings the factory secret back."""
    made = []

    def twin(calls):
        made.append(NoSync(calls, directories=True))
        return made[0]

    system = product.made(calls=twin)
    boot(system, kinds(product))
    assert not product.opens(system, product.old)
    system.crash("all")
    assert made[0].fired > 0 and product.opens(system, product.old)


@EVERY
def test_every_standing(product: Product):
    """The old one, the new one and another are told apart, and a proof is given for the new one alone."""
    kind, params, new = product.kind, product.params, Secret(b"bcdef ghjkn prstu vxbcd")
    system, memory = product.made(), fresh()
    (found,) = kind.find(system, params, memory)
    assert (found.label, found.old.reveal(), found.owner) == (product.label, product.old, True)
    assert kind.standing(system, params, found, new) == kind.standing(system, params, found, None) == OLD
    with pytest.raises(Failed, match="start the device again"):
        kind.prove(system, params, found, new)
    kind.replace(system, params, found, new)
    assert kind.standing(system, params, found, new) == NEW
    assert kind.standing(system, params, found, Secret(b"hgfed ghjkn prstu vxbcd")) == OTHER
    assert kind.standing(system, params, found, None) == OTHER
    kind.prove(system, params, found, new)
    assert product.opens(system, new.reveal()) and not product.opens(system, product.old)
    kind.clean(system, params, found)
    kind.remember(system, params, found, memory)
    assert kind.find(system, params, memory) == ()
    with pytest.raises(Failed, match="there is no new"):
        kind.replace(system, params, found, None)


@EVERY
def test_a_device_without_it_costs_one_look(product: Product):
    """Where the product is not installed nothing is found, in a handful of calls and without running a program."""
    with_it, bare = product.made(), Product(product.kind, "", b"", lambda _: None, product.opens, {}, {}).made()
    assert product.kind.find(with_it, product.params, fresh())
    assert bare.count(lambda system: product.kind.find(system, product.params, fresh())) < 20
    assert product.kind.find(bare, product.params, fresh()) == ()

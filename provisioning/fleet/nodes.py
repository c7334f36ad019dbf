"""The nodes of a broker's cluster among themselves: an authority of their own, believed on their routes alone.

Neither a device nor a collector is made by it, nor does either believe it; and none of the fleet's other authorities
can make a node, so that a stolen key of theirs opens no route.
"""

from collections.abc import Sequence
from contextlib import suppress

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.core.errors import Missing
from agent.core.record import Record
from provisioning.fleet import authority
from provisioning.fleet.identity import YEARS, Fleet, Issuer

LABEL = "cluster-ca"
DAYS = 397
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)  # a route has a node at either end


class Node(Record):
    """What a node shows to the others: its certificate and key (PEM), and the authority it believes."""

    __slots__ = ("anchors", "certificate", "key")
    certificate: bytes
    key: bytes
    anchors: bytes


def node(fleet: Fleet, names: Sequence[str]) -> Node:
    """Make a node's key and certificate for these hosts and addresses, and the authority when there is none yet."""
    above = _authority(fleet)
    key = ec.generate_private_key(ec.SECP256R1())
    hosts = [authority.host(name) for name in names]
    made = authority.leaf(above, key.public_key(), f"{fleet.name} node", hosts, BOTH, DAYS)
    pem = made.public_bytes(authority.PEM)
    return Node(certificate=pem, key=authority.plain(key), anchors=above[0].public_bytes(authority.PEM))


def _authority(fleet: Fleet) -> Issuer:
    with suppress(Missing):
        return fleet.issuer(LABEL)
    key = ec.generate_private_key(ec.SECP256R1())
    made: x509.Certificate = authority.root(f"{fleet.name} {LABEL}", key, YEARS)
    fleet.safe.keep(LABEL, key)
    fleet.safe.write(f"{LABEL}.pem", made.public_bytes(authority.PEM))
    return made, key

"""How a recipient comes to a fleet without giving its keys away: the hub makes them, the fleet gets the public halves.

    on the hub:    ask    makes the keys in a directory of its own, and a request: the public key, a certificate request
    at the fleet:  admit  keeps the public key and answers: the certificate, the fleet's root, its name, its broker
    on the hub:    take   checks the answer against its own keys and lays it beside them

The hub's directory is then that of a fleet with the keys that its work needs and no others: `collect`, `readings` and
`open` work with it. The fleet cannot open what is sealed to the hub: it never had the key.
"""

import base64
import json
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

from agent.core.errors import BadInput, Missing, Refused
from provisioning.collector.open import SUITE
from provisioning.fleet import authority
from provisioning.fleet.authority import PEM
from provisioning.fleet.identity import SERVICE, Fleet, checked
from provisioning.fleet.safe import FACTS, Passphrase, Safe, whole_file
from provisioning.profile.issue import PUBLIC, fleet_broker

LATTICE = 1184  # bytes of the ML-KEM-768 half, which comes first
TLS = "service"  # the name of the key that the certificate is for
REQUEST, ANSWER = "privet request 1", "privet answer 1"
MOST = 64 * 1024  # bytes of either file
SAME = b"whether both halves are one key"


def ask(directory: Path, recipient: str, passphrase: Passphrase | None) -> Path:
    """Make the keys of a recipient, unless they are there, and return the file that is carried to the fleet.

    Refused when another command makes keys there at this moment, and where the directory is somebody else's.
    """
    checked(recipient, "recipient")
    if (directory / FACTS).exists():
        fleet = Fleet(Safe.open(directory, passphrase))
        if fleet.safe.facts.get("recipient") != recipient:
            raise Refused(f"{directory} belongs to somebody else already; give {recipient} a directory of its own")
    else:
        fleet = Fleet(Safe.create(directory, passphrase))
        with fleet.safe.making():
            (directory / f"recipient-{recipient}.key").unlink(missing_ok=True)  # of a try that was cut
            fleet.add_recipient(recipient)
            fleet.safe.keep(TLS, ec.generate_private_key(ec.SECP256R1()))
            fleet.safe.seal(recipient=recipient)
    key = cast("ec.EllipticCurvePrivateKey", fleet.safe.keys(TLS)[0])
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, SERVICE + recipient)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    public = base64.b64encode(fleet.recipient_public(recipient)).decode()
    facts = {"form": REQUEST, "recipient": recipient, "public": public, "csr": csr.public_bytes(PEM).decode()}
    path = directory / f"request-{recipient}.json"
    whole_file(path, json.dumps(facts, indent=1).encode() + b"\n")
    return path


def admit(fleet: Fleet, request: Path) -> tuple[str, bytes]:
    """Keep the public key of a recipient that asks; return its name, and the answer to carry back.

    Refused when the fleet knows another key under this name: whoever asks may not take the place of a recipient.
    """
    facts = read(request, REQUEST, ("recipient", "public", "csr"))
    name = checked(facts["recipient"], "recipient")
    try:
        public = base64.b64decode(facts["public"], validate=True)
        SUITE.encrypt(SAME, public_key(public), info=b"")  # a key that is none is told now
    except ValueError:
        raise BadInput(f"{request} holds no key that anything could be sealed to; make the request again") from None
    known = fleet.safe.directory / PUBLIC.format(name)
    if (fleet.safe.directory / f"recipient-{name}.key").exists() or (known.exists() and known.read_bytes() != public):
        raise Refused(f"the recipient {name} has another key in this fleet; ask under another name")
    certificate = fleet.sign_service(facts["csr"].encode(), name)
    fleet.safe.write(PUBLIC.format(name), public)
    host, port = fleet_broker(fleet) or ("", 0)
    answer = {
        "form": ANSWER, "recipient": name, "fleet": fleet.name, "broker_host": host, "broker_port": str(port),
        "root": fleet.trust_anchor().decode(), "certificate": certificate.decode(),
    }  # fmt: skip
    return name, json.dumps(answer, indent=1).encode() + b"\n"


def take(directory: Path, answer: Path, passphrase: Passphrase | None) -> Fleet:
    """Lay a fleet's answer beside the keys it is for; Refused when it is for others."""
    facts = read(answer, ANSWER, ("recipient", "fleet", "broker_host", "broker_port", "root", "certificate"))
    fleet = Fleet(Safe.open(directory, passphrase))
    if fleet.safe.facts.get("recipient") != facts["recipient"]:
        raise Refused(f"{answer} is for {facts['recipient'][:40]!a}, not for {directory}; carry the right one here")
    checked(facts["fleet"], "fleet")
    if fleet.safe.facts.get("name", facts["fleet"]) != facts["fleet"]:
        raise Refused(f"{directory} belongs to the fleet {fleet.name}; make another directory for this one")
    own = cast("ec.EllipticCurvePrivateKey", fleet.safe.keys(TLS)[0]).public_key()
    try:
        chain = x509.load_pem_x509_certificates(facts["certificate"].encode())
        (root,) = x509.load_pem_x509_certificates(facts["root"].encode())
        for one, above in zip(chain, [*chain[1:], root], strict=True):
            one.verify_directly_issued_by(above)
        sound = len(chain) == 2 and _der(chain[0].public_key()) == _der(own)
    except (ValueError, TypeError, InvalidSignature):
        sound = False
    if not sound:
        raise Refused(f"the certificate in {answer} is not for the keys in {directory}; let the fleet answer again")
    fleet.safe.write("root.pem", facts["root"].encode())
    fleet.safe.write(f"{TLS}.pem", facts["certificate"].encode())
    fleet.safe.seal(name=facts["fleet"], broker_host=facts["broker_host"], broker_port=facts["broker_port"])
    fleet.name = facts["fleet"]
    return fleet


def identity(fleet: Fleet) -> tuple[bytes, bytes] | None:
    """Return certificate and key (PEM) that a hub was admitted with; None where the authority itself is at hand."""
    try:
        certificate, key = fleet.safe.read(f"{TLS}.pem"), fleet.safe.keys(TLS)[0]
    except Missing:
        return None
    return certificate, authority.plain(cast("ec.EllipticCurvePrivateKey", key))


def admitted(directory: Path) -> None:
    """Missing when a hub has asked here, and the fleet's answer has not come yet."""
    try:
        facts = json.loads((directory / FACTS).read_bytes())
    except (OSError, ValueError):
        return  # opening it says what is wrong
    if isinstance(facts, dict) and "recipient" in facts and "name" not in facts:
        raise Missing("the fleet's answer is not here yet; carry the request there, then: privet-fleet open take")


def read(path: Path, form: str, names: tuple[str, ...]) -> dict[str, str]:
    """Read a request or an answer; BadInput unless it is exactly one."""
    try:
        with path.open("rb") as file:
            facts: Any = json.loads(file.read(MOST + 1)[:MOST])
    except FileNotFoundError:
        raise Missing(f"{path} is not there; carry it here") from None
    except (OSError, ValueError):
        facts = None
    whole = isinstance(facts, dict) and set(facts) == {"form", *names} and facts["form"] == form
    if not whole or not all(isinstance(facts[name], str) for name in names):
        raise BadInput(f"{path} is no {form.split()[1]} of a recipient; make it again")
    return {name: facts[name] for name in names}


def public_key(public: bytes) -> MLKEM768X25519PublicKey:
    """Read a recipient's public key; ValueError when it is none."""
    lattice = mlkem.MLKEM768PublicKey.from_public_bytes(public[:LATTICE])
    return MLKEM768X25519PublicKey(lattice, x25519.X25519PublicKey.from_public_bytes(public[LATTICE:]))


def _der(key: object) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return cast("ec.EllipticCurvePublicKey", key).public_bytes(serialization.Encoding.DER, form)

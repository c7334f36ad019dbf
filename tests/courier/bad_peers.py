"""Kinds of peers that a courier must not talk to: each is wrong in one way, and right in every other.

They greet in TLS and are wrong in what they show or choose; a client that does not look takes each of them. Those that
say something else are in `bad_words.py`.
"""

import ssl
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.courier.pki import Made, Tree, showing, sign

UNHEARD_OF = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")
Shown = Callable[[Path], tuple[bytes, ssl.SSLContext]]  # what the device trusts, and the server
ROGUE = "root of the tests"
REQUEST = """[req]
distinguished_name = nobody
x509_extensions = server
[nobody]
[server]
subjectAltName = DNS:localhost
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def leaf(**wrong: Any) -> Shown:
    """A server's certificate with something wrong."""

    def made(folder: Path) -> tuple[bytes, ssl.SSLContext]:
        """Make it."""
        tree = Tree()
        one = tree.leaf(**wrong)
        return tree.root.pem, showing(folder, one.key, [one.pem, tree.between.pem])

    return made


def between(**wrong: Any) -> Shown:
    """An intermediate with something wrong."""

    def made(folder: Path) -> tuple[bytes, ssl.SSLContext]:
        """Make it."""
        tree = Tree(**wrong)
        one = tree.leaf()
        return tree.root.pem, showing(folder, one.key, [one.pem, tree.between.pem])

    return made


def chosen(ciphers: str, key: str = "p256") -> Shown:
    """A right certificate, and a weak choice in TLS 1.2."""

    def made(folder: Path) -> tuple[bytes, ssl.SSLContext]:
        """Make it."""
        tree = Tree()
        one = tree.leaf(key=key, words=("digital_signature", "key_encipherment"))
        context = showing(folder, one.key, [one.pem, tree.between.pem])
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        return tree.root.pem, context

    return made


def version(newest: ssl.TLSVersion) -> Shown:
    """A right certificate, and a version of TLS that is over."""

    def made(folder: Path) -> tuple[bytes, ssl.SSLContext]:
        """Make it."""
        tree = Tree()
        one = tree.leaf()
        context = showing(folder, one.key, [one.pem, tree.between.pem])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = newest
        return tree.root.pem, context

    return made


def rogue(name: str) -> Shown:
    """Another authority, with a chain of its own."""

    def made(folder: Path) -> tuple[bytes, ssl.SSLContext]:
        """Make it."""
        theirs = sign(None, name, ca=True)
        one = Tree().leaf(issuer=theirs)
        return Tree().root.pem, showing(folder, one.key, [one.pem, theirs.pem])

    return made


def itself(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    """A certificate that signed itself."""
    one = sign(None, "localhost", ca=False, names=("localhost",), purpose=ExtendedKeyUsageOID.SERVER_AUTH)
    return Tree().root.pem, showing(folder, one.key, [one.pem])


def alone(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    """A right certificate without the intermediate."""
    tree = Tree()
    one = tree.leaf()
    return tree.root.pem, showing(folder, one.key, [one.pem])


def too_deep(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    """One more authority than the intermediate may have below it."""
    tree = Tree()
    deeper = sign(tree.between, "deeper", ca=True)
    one = tree.leaf(issuer=deeper)
    return tree.root.pem, showing(folder, one.key, [one.pem, deeper.pem, tree.between.pem])


def by_a_device(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    """A certificate that another server, or a device, signed with its own."""
    tree = Tree()
    other = tree.leaf(name="other", names=("other.example",))
    one = tree.leaf(issuer=other)
    return tree.root.pem, showing(folder, one.key, [one.pem, other.pem, tree.between.pem])


def in_circles(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    """Two authorities that vouch for each other, and nobody for them."""
    first = sign(None, "first", ca=True)
    second = sign(first, "second", ca=True)
    back = Made(resigned(first, second), first.key)
    one = Tree().leaf(issuer=second)
    return Tree().root.pem, showing(folder, one.key, [one.pem, second.pem, back.pem])


def resigned(one: Made, by: Made) -> x509.Certificate:
    """Sign the same name and key by another authority."""
    old = one.certificate
    builder = x509.CertificateBuilder(
        issuer_name=by.certificate.subject, subject_name=old.subject, public_key=old.public_key(),
        serial_number=old.serial_number, not_valid_before=old.not_valid_before_utc,
        not_valid_after=old.not_valid_after_utc,
    )  # fmt: skip
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(by.key, hashes.SHA256())


def oversize(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    """A chain of more than a hundred kilobytes."""
    tree = Tree()
    one = tree.leaf(more=((x509.UnrecognizedExtension(UNHEARD_OF, bytes(120_000)), False),))
    return tree.root.pem, showing(folder, one.key, [one.pem, tree.between.pem])


def touched(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    """A right certificate in which one letter of the name was exchanged after it was signed."""
    tree = Tree()
    one = tree.leaf(names=("localhosu",))
    der = one.certificate.public_bytes(Encoding.DER).replace(b"localhosu", b"localhost")
    changed = x509.load_der_x509_certificate(der)
    return tree.root.pem, showing(folder, one.key, [Made(changed, one.key).pem, tree.between.pem])


def over_sha1(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    """A certificate signed over a digest that is broken; only the openssl program still makes one."""
    tree = Tree()
    one = tree.leaf()
    context = showing(folder, tree.between.key, [tree.between.pem])
    for name in ("pem", "key"):
        (folder / f"by.{name}").write_bytes((folder / f"shown.{name}").read_bytes())
    showing(folder, one.key, [one.pem])
    (folder / "req.cnf").write_text(REQUEST)
    asked = "req -x509 -config req.cnf -new -key shown.key -subj /CN=localhost -days 9 -sha1"
    words = [*asked.split(), "-CA", "by.pem", "-CAkey", "by.key", "-out", "made.pem"]
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    (folder / "shown.pem").write_bytes((folder / "made.pem").read_bytes() + tree.between.pem)
    context.load_cert_chain(folder / "shown.pem", folder / "shown.key")
    return tree.root.pem, context


def constraint(*, permitted: str = "", excluded: str = "") -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """An intermediate that may speak for some names only."""
    return ((x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(permitted)] if permitted else None,
        excluded_subtrees=[x509.DNSName(excluded)] if excluded else None,
    ), True),)  # fmt: skip


SHOWN: dict[str, Shown] = {
    "another name": leaf(names=("broker.example",)),
    "a longer name": leaf(names=("localhost.example",)),
    "a star for everything": leaf(names=("*",)),
    "a star over a part": leaf(names=("local*",)),
    "a star below": leaf(names=("*.localhost",)),
    "the name in the subject alone": leaf(names=()),
    "the name in the subject, another beside it": leaf(names=("broker.example",), name="localhost"),
    "the name as an address of the web": leaf(names=(x509.UniformResourceIdentifier("https://localhost/"),)),
    "the name as one of mail": leaf(names=(x509.RFC822Name("broker@localhost"),)),
    "expired": leaf(days=(-30, -1)),
    "not yet valid": leaf(days=(1, 30)),
    "an expired intermediate": between(days=(-30, -1)),
    "an intermediate not yet valid": between(days=(1, 30)),
    "another authority": rogue("somebody else"),
    "another authority of the same name": rogue(ROGUE),
    "signed by itself": itself,
    "no intermediate": alone,
    "one authority too deep": too_deep,
    "signed by another server": by_a_device,
    "authorities in a circle": in_circles,
    "an intermediate that is no authority": between(ca=False, path=None),
    "an intermediate that says nothing of being one": between(drop=("basic",), path=None),
    "an intermediate that may not sign": between(words=("digital_signature",)),
    "an intermediate for other names": between(more=constraint(permitted="example.org")),
    "an intermediate that must not speak for this name": between(more=constraint(excluded="localhost")),
    "made for a client": leaf(purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
    "made to sign programs": leaf(purpose=ExtendedKeyUsageOID.CODE_SIGNING),
    "made for mail": leaf(purpose=ExtendedKeyUsageOID.EMAIL_PROTECTION),
    "a demand nobody knows": leaf(more=((x509.UnrecognizedExtension(UNHEARD_OF, b"x"), True),)),
    "no word of who signed it": leaf(drop=("authority",)),
    "an issuer that is not the signer": leaf(said_issuer="nobody"),
    "changed after it was signed": touched,
    "a chain too long to read": oversize,
    "an RSA key of 1024 bits": leaf(key="rsa1024"),
    "a curve of 192 bits": leaf(key="p192"),
    "a curve that nobody agreed on": leaf(key="k256"),
    "a signature over SHA-1": over_sha1,
    "an intermediate of 1024 bits": between(key="rsa1024"),
    "TLS 1.0": version(ssl.TLSVersion.TLSv1),
    "TLS 1.1": version(ssl.TLSVersion.TLSv1_1),
    "no certificate at all": chosen("ADH:AECDH"),
    "no encryption": chosen("ECDHE-ECDSA-NULL-SHA"),
    "CBC without authentication": chosen("ECDHE-ECDSA-AES128-SHA256"),
    "CBC over SHA-1": chosen("ECDHE-ECDSA-AES256-SHA"),
    "no forward secrecy": chosen("AES128-GCM-SHA256", "rsa2048"),
    "Camellia": chosen("ECDHE-ECDSA-CAMELLIA128-SHA256"),
    "a shortened tag": chosen("ECDHE-ECDSA-AES128-CCM8"),
}

"""Misconfigurations of a real mosquitto, each with the doors that it opens and no other."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from agent.core.record import Record
from provisioning.broker.audit.seat import Seat, Target, identity
from provisioning.broker.mosquitto import Broker, free_port
from provisioning.fleet.identity import Fleet
from provisioning.fleet.revocation import crl, revoke
from provisioning.fleet.safe import whole_file
from tests.courier import fake
from tests.courier.rig import FLEET, Site

TOP = f"privet/1/{FLEET}"


class Seed(Record):
    """What is changed: lines for those of the same key, lines added, the access list, files, the CRL left out."""

    __slots__ = ("access", "added", "before", "doors", "lines", "unrevoked")
    doors: tuple[str, ...]
    lines: tuple[str, ...]
    added: tuple[str, ...]
    access: str
    before: Callable[[Site, Path], None] | None
    unrevoked: bool


def seed(
    *doors: str, lines: tuple[str, ...] = (), added: tuple[str, ...] = (), access: str = "",
    before: Callable[[Site, Path], None] | None = None, unrevoked: bool = False,
) -> Seed:  # fmt: skip
    """Make one."""
    return Seed(doors=doors, lines=lines, added=added, access=access, before=before, unrevoked=unrevoked)


def served(**wrong: object) -> Callable[[Site, Path], None]:
    """Return what gives the broker a certificate with one thing wrong."""

    def give(site: Site, folder: Path) -> None:
        fake.certificate(site.directory, site.fleet, **wrong)  # type: ignore[arg-type]
        taken(site, folder)

    return give


def rogue(site: Site, folder: Path) -> None:
    """Give the broker a certificate of another fleet of the same name."""
    fake.certificate(site.directory, Fleet.create(site.directory / "rogue", FLEET))
    taken(site, folder)


def taken(site: Site, folder: Path) -> None:
    """Lay what was made where the broker looks."""
    whole_file(folder / "broker.pem", (site.directory / "server.pem").read_bytes())
    whole_file(folder / "broker.key", (site.directory / "server.key").read_bytes())


def lettered(site: Site, folder: Path) -> None:
    """Give the broker an RSA key: suites without forward secrecy need one."""
    from tests.courier.rig import plain

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    shaped = x509.load_pem_x509_certificate((folder / "broker.pem").read_bytes())
    issuer, issuer_key = site.fleet.issuer("server-ca")
    builder = x509.CertificateBuilder(
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), issuer_name=issuer.subject,
        public_key=key.public_key(), serial_number=x509.random_serial_number(),
        not_valid_before=shaped.not_valid_before_utc, not_valid_after=shaped.not_valid_after_utc,
    )  # fmt: skip
    for extension in shaped.extensions:
        if not isinstance(extension.value, x509.SubjectKeyIdentifier | x509.KeyUsage):
            builder = builder.add_extension(extension.value, extension.critical)
    made = builder.sign(issuer_key, hashes.SHA256())
    from cryptography.hazmat.primitives.serialization import Encoding

    whole_file(folder / "broker.pem", made.public_bytes(Encoding.PEM) + site.fleet.safe.read("server-ca.pem"))
    whole_file(folder / "broker.key", plain(key))


def passworded(_site: Site, folder: Path) -> None:
    """Give the broker an account out of a handbook."""
    subprocess.run(("mosquitto_passwd", "-b", "-c", str(folder / "accounts"), "guest", "guest"), check=True)


READS = "pattern read {top}/%u/ack\npattern read {top}/%u/policy\n"
WRITES = "pattern write {top}/%u/up/+\npattern write {top}/%u/warning\npattern write {top}/%u/state\n"
OWN = (READS + WRITES).format(top=TOP)
SEEDS: dict[str, Seed] = {
    "a second listener without TLS": seed("plain", added=("listener {plain} 127.0.0.1",)),
    "a second listener without TLS, for anybody": seed(
        "plain", lines=("allow_anonymous true",), added=("listener {plain} 127.0.0.1",),
    ),
    "a WebSocket without TLS": seed("web", added=("listener {web} 127.0.0.1", "protocol websockets")),
    "no certificate asked for": seed(
        "anonymous", "stranger", "password",
        lines=("require_certificate false", "use_identity_as_username false", "use_username_as_clientid false",
               "allow_anonymous true"),
    ),
    "any authority": seed("stranger"),
    "an account out of a handbook": seed(
        "password", lines=("require_certificate false", "use_identity_as_username false"),
        added=("password_file accounts",), before=passworded,
    ),
    "the CRL forgotten": seed("revoked", unrevoked=True),
    "TLS 1.1": seed("old-tls", lines=("tls_version tlsv1.1", "ciphers ALL:@SECLEVEL=0")),
    "suites with CBC": seed("suites", lines=("ciphers HIGH",)),
    "suites without encryption": seed("suites", lines=("ciphers eNULL:@SECLEVEL=0",)),
    "suites without forward secrecy": seed("suites", lines=("ciphers kRSA",), before=lettered),
    "an expired certificate": seed("server", before=served(start=-3, end=-2)),
    "a certificate of another name": seed("server", before=served(names=("broker.example",))),
    "a certificate of another fleet": seed("server", before=rogue),
    "a self-signed certificate": seed("server", before=served(self_signed=True)),
    "everything is readable": seed("listen", "neighbour", "share", access=OWN + "pattern read #\n"),
    "the fleet is readable": seed("listen", "neighbour", "share", access=OWN + f"pattern read {TOP}/#\n"),
    "warnings are readable": seed("listen", "neighbour", "share", access=OWN + f"pattern read {TOP}/+/warning\n"),
    "everything is writable": seed("speak", "will", "pose", access=READS.format(top=TOP) + "pattern write #\n"),
    "policies are writable": seed("speak", "will", "pose", access=OWN + f"pattern write {TOP}/+/policy\n"),
    "readings are writable": seed("speak", "will", "pose", access=OWN + f"pattern write {TOP}/+/up/+\n"),
    "other fleets are writable": seed("speak", "pose", access=OWN + "pattern write privet/1/+/%u/up/+\n"),
    "no access list": seed("listen", "neighbour", "share", "speak", "will", "pose", access="pattern readwrite #\n"),
    "$SYS is told": seed("system", lines=("sys_interval 1",), access=OWN + "user one\ntopic read $SYS/#\n"),
    "messages are kept": seed("kept", lines=("retain_available true",)),
    "the client says its name": seed("takeover", lines=("use_username_as_clientid false",)),
    "access by the client's word": seed(
        "takeover", "pose", lines=("use_username_as_clientid false",), access=OWN.replace("%u", "%c"),
    ),
    "no limit of size": seed("large", lines=("max_packet_size 200000000",)),
}  # fmt: skip


def built(site: Site, name: str, folder: Path) -> tuple[Broker, Seat]:
    """Return a broker that is not started yet, with this seed in it ("": none), and the seat before it."""
    one, other, lost = (site.device(who) for who in ("one", "other", "lost"))
    revoke(site.fleet, [(lost / "cert.pem").read_bytes()])
    chosen = SEEDS.get(name) or seed()
    plain, web = free_port(), free_port()
    broker = site.broker(folder.name)
    target = Target(host="127.0.0.1", port=broker.setup.port, fleet=FLEET, plain=(plain,), web=(web,))
    seat = Seat(target, identity(one), identity(other), identity(site.service("one")), identity(lost))
    seat.patience = 3.0  # the one seed that tells does so every other second
    if not chosen.unrevoked:
        whole_file(broker.directory / "revoked.pem", crl(site.fleet)[0])
        configure(broker, ("crlfile revoked.pem",), (), {})
    if chosen.before:
        chosen.before(site, broker.directory)
    if name == "any authority":
        anchors = (broker.directory / "clients.pem").read_bytes() + (seat.stranger().home / "cert.pem").read_bytes()
        whole_file(broker.directory / "clients.pem", anchors)
        configure(broker, ("# crlfile",), ("crlfile",), {})
    configure(broker, chosen.lines, (), {"plain": plain, "web": web}, chosen.added)
    if chosen.access:
        collector = f"user service.one\ntopic read {TOP}/+/up/+\ntopic read {TOP}/+/warning\ntopic read {TOP}/+/state\n"
        whole_file(broker.directory / "access.conf", (chosen.access + collector).encode())
    for path in broker.directory.iterdir():
        broker._give(path)
    return broker, seat


def configure(
    broker: Broker, lines: tuple[str, ...], without: tuple[str, ...], ports: dict[str, int], added: tuple[str, ...] = ()
) -> None:
    """Exchange lines of the configuration by their key; those with a listener come at the end."""
    path = broker.directory / "mosquitto.conf"
    keys = {line.split()[0] for line in lines} | set(without)
    kept = [line for line in path.read_text().splitlines() if line.split()[0] not in keys]
    whole_file(path, "\n".join([*kept, *lines, *(line.format(**ports) for line in added)]).encode() + b"\n")

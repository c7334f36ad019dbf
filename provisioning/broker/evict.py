"""End the live session of a client whose certificate counts no more, at any broker, without a restart.

Brokers ask for certificates when a client connects, not again. MQTT has one rule that all of them keep: who connects
under the name of a session takes it over, and the old connection is closed. So the fleet signs a certificate in that
name for itself, connects with it once, asks that nothing be kept, and throws the key away.
"""

import socket
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from agent.core.errors import Unreachable
from provisioning.fleet.identity import SERVICE, Credential, Fleet
from provisioning.fleet.safe import whole_file

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
PATIENCE = 5.0  # seconds for the broker's answer
DAYS = 1


def evict(fleet: Fleet, name: str, host: str, port: int) -> None:
    """Take the session of `name` over and end it, with all that waits in it; Unreachable when the broker refuses."""
    answers: list[Any] = []
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=name.replace(".", "_"),  # as a collector calls itself
        protocol=MQTTProtocolVersion.MQTTv311,  # every broker speaks it; clean means: nothing is kept
        clean_session=True,
        reconnect_on_failure=False,
    )
    client.suppress_exceptions = True
    client.connect_timeout = PATIENCE
    client.tls_set_context(_context(fleet, in_its_name(fleet, name)))
    client.on_socket_open = _undelayed
    client.on_connect = cast("Any", lambda _c, _u, _f, reason, _p: answers.append(reason))
    try:
        client.connect(host, port)
        ends = time.monotonic() + PATIENCE
        while not answers and time.monotonic() < ends and client.loop(0.1) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            pass
        client.disconnect()
    except OSError as error:
        raise Unreachable(f"the broker cannot be reached to end the session of {name} ({error}); restart it") from None
    if not answers or answers[0].is_failure:
        raise Unreachable(f"the broker did not let the fleet end the session of {name}; restart it to end it")


def in_its_name(fleet: Fleet, name: str) -> Credential:
    """Make a certificate with the same name as the one that counts no more, for one day and for us alone."""
    if name.startswith(SERVICE):
        return fleet.service(name.removeprefix(SERVICE), DAYS)
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    chain = fleet.sign_csr(request.public_bytes(pem), name, DAYS)
    return Credential(certificate=chain, key=key.private_bytes(pem, form, serialization.NoEncryption()))


def _context(fleet: Fleet, credential: Credential) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.load_verify_locations(cadata=fleet.trust_anchor().decode())
    with tempfile.TemporaryDirectory(prefix="privet-evict-") as folder:  # ssl takes a chain from a file alone
        path = Path(folder) / "both.pem"
        whole_file(path, credential.certificate + credential.key)
        context.load_cert_chain(str(path))
    return context


def _undelayed(_client: Client, _user: object, opened: Any) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

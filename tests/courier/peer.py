"""A small enrolment server of the tests: TLS and HTTP by hand, so that it can misbehave in every way there is.

It is right by default; `fault` names how it is not. It remembers what it was asked.
"""

import base64
import contextlib
import hashlib
import socket
import ssl
import threading
import time
from pathlib import Path

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import pkcs7

from provisioning.fleet.identity import Credential, Fleet
from provisioning.fleet.safe import whole_file
from provisioning.profile.sign import sign

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
HOST = "127.0.0.1"
DAYS = 90


def strange_request(name: str = "d1") -> bytes:
    """Return a request (PEM) for a key nobody else has."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256()).public_bytes(PEM)


class Peer:
    """The server of a fleet; each connection is one question and one answer, in a thread of its own."""

    def __init__(self, folder: Path, fleet: Fleet, shown: Credential | None = None) -> None:
        self.fleet = fleet
        self.tokens: dict[str, bytes] = {}  # device: sha256 of its token
        self.bound: dict[bytes, tuple[bytes, bytes]] = {}  # sha256 of a token: public key, answer
        self.fault = ""
        self.asked: list[tuple[str, str]] = []  # path, client's name
        self.alarms = 0
        self.time = int(time.time())
        self.time_key: Ed25519PrivateKey = fleet.signing_key()
        made = shown or fleet.server([HOST, "localhost"])
        whole_file(folder / "server.pem", made.certificate)
        whole_file(folder / "server.key", made.key)
        whole_file(folder / "clients.pem", fleet.client_anchors())
        self.over = threading.Event()
        self.listeners: list[socket.socket] = []
        self.port = self._listening(self._shown(folder, mutual=False))
        self.mutual = self._listening(self._shown(folder, mutual=True))  # where only devices with a certificate get in

    def _shown(self, folder: Path, *, mutual: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        if mutual:
            context.load_verify_locations(folder / "clients.pem")
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _listening(self, context: ssl.SSLContext) -> int:
        listener = socket.create_server((HOST, 0))
        self.listeners.append(listener)
        threading.Thread(target=self._serve, args=(listener, context), daemon=True).start()
        return int(listener.getsockname()[1])

    def admit(self, device: str, token: bytes) -> None:
        """Let a token enrol a device once."""
        self.tokens[device] = hashlib.sha256(token).digest()

    def close(self) -> None:
        """End it."""
        self.over.set()
        for listener in self.listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # who waits in accept() holds it open
            listener.close()

    def _serve(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(plain, context), daemon=True).start()

    def _talk(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        plain.settimeout(10)
        try:
            if self.fault == "no tls":
                plain.sendall(b"220 mail.example ESMTP\r\n" * 20)
                plain.recv(4096)
            elif self.fault == "mute":
                self.over.wait(10)
            else:
                with context.wrap_socket(plain, server_side=True) as channel:
                    self._answer(channel)
        except OSError:  # whoever asked has had enough, or does not trust us
            pass
        finally:
            plain.close()

    def _answer(self, channel: ssl.SSLSocket) -> None:
        path, head, body = request_of(channel)
        shown = channel.getpeercert(binary_form=True)
        names = x509.load_der_x509_certificate(shown).subject.rdns if shown else []
        client = next((str(one.value) for row in names for one in row), "")
        self.asked.append((path, str(client)))
        status, kind, content = self._judged(path, head, body, str(client))
        reply = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        if self.fault == "redirect":
            reply = f"HTTP/1.1 302 Found\r\nLocation: https://{HOST}:{self.port}/elsewhere\r\n"
        elif self.fault == "not http":
            channel.sendall(b"\x00\x01\x02 what? \r\n" * 40)
            return
        elif self.fault == "endless head":
            reply += "X-More: " + "x" * 60000 + "\r\n"
            channel.sendall(reply.encode() * 20)
            return
        elif self.fault == "status":
            reply, content = "HTTP/1.1 503 Busy\r\nRetry-After: 120\r\n", b""
        if self.fault == "drip":
            channel.sendall(reply.encode())
            while not self.over.wait(0.02):
                channel.sendall(b"X-A: b\r\n")
            return
        if self.fault == "announced":
            channel.sendall(f"{reply}Content-Length: {64 << 20}\r\n\r\n".encode())
            return
        if self.fault == "large":
            channel.sendall(f"{reply}\r\n".encode())
            for _ in range(64):
                channel.sendall(b"A" * (1 << 20))
            return
        length = len(content) + (100 if self.fault == "short" else 0)
        channel.sendall(f"{reply}Content-Length: {length}\r\n\r\n".encode() + content)

    def _judged(self, path: str, head: dict[str, str], body: bytes, client: str) -> tuple[str, str, bytes]:
        if path.startswith("/.well-known/est/time?nonce="):
            nonce = bytes.fromhex(path.partition("=")[2])
            key = Ed25519PrivateKey.generate() if self.fault == "forged time" else self.time_key
            nonce = bytes(32) if self.fault == "replayed time" else nonce
            if self.fault == "no time":
                return "404 Not Found", "text/plain", b""
            return "200 OK", "application/cose", sign(cbor2.dumps(["privet time 1", nonce, self.time]), key)
        try:
            csr = x509.load_der_x509_csr(base64.b64decode(body))
        except ValueError:
            return "400 Bad Request", "text/plain", b"this is no request"
        if path.endswith("/simplereenroll"):
            return self._given(client, csr) if client else ("401 Unauthorized", "text/plain", b"")
        device, _, token = base64.b64decode(head["authorization"].removeprefix("Basic ")).decode().partition(":")
        digest = hashlib.sha256(bytes.fromhex(token)).digest()
        if self.tokens.get(device) != digest:
            return "401 Unauthorized", "text/plain", b""
        public = csr.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        if digest in self.bound:
            if self.bound[digest][0] != public:
                self.alarms += 1
                return "403 Forbidden", "text/plain", b""
            return "200 OK", "application/pkcs7-mime; smime-type=certs-only", self.bound[digest][1]
        given = self._given(device, csr)
        self.bound[digest] = public, given[2]
        return given

    def _given(self, device: str, csr: x509.CertificateSigningRequest) -> tuple[str, str, bytes]:
        name = "somebody-else" if self.fault == "other name" else device
        asked = strange_request() if self.fault == "other key" else csr.public_bytes(PEM)
        if self.fault == "server use":
            made = self.fleet.server([HOST]).certificate
        else:
            made = self.fleet.sign_csr(asked, name, DAYS)
        given = x509.load_pem_x509_certificates(made)
        content = base64.encodebytes(pkcs7.serialize_certificates(given, DER))
        kind = "application/pkcs7-mime; smime-type=certs-only"
        if self.fault == "garbage":
            content = base64.encodebytes(bytes(range(256)) * 4)
        elif self.fault == "no base64":
            content = b"\xff\xfe" * 300
        elif self.fault == "html":
            kind, content = "text/html", b"<html>Sign in to the hotel network</html>"
        return "200 OK", kind, content


def request_of(channel: ssl.SSLSocket) -> tuple[str, dict[str, str], bytes]:
    """Read one request of HTTP/1.1: path, head (names in small letters), body."""
    taken = b""
    while b"\r\n\r\n" not in taken:
        part = channel.recv(4096)
        if not part:
            raise OSError
        taken += part
    top, _, body = taken.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    head = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(head.get("content-length", "0")):
        body += channel.recv(4096)
    return lines[0].split(" ")[1], head, body

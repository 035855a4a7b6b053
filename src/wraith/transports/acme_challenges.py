"""What an ACME authority looks for while an order is pending: by TLS or by HTTP.

For TLS-ALPN-01 (RFC 8737) the answer is a certificate, shown on the very port that serves everybody
else, to whoever offers the protocol `acme-tls/1`. Python's TLS cannot choose by that, so the hello
is read before TLS begins, and only while something is pending. For HTTP-01 (RFC 8555, section 8.3)
a listener of its own is open for as long as the order takes.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from wraith.protocol.client_hello import read_client_hello
from wraith.protocol.events import NEED_DATA
from wraith.protocol.http_answers import page
from wraith.protocol.http_head import RequestHead
from wraith.streams.deadlines import Deadlines
from wraith.streams.listening import Listener, listen
from wraith.streams.one_answer import OneAnswer
from wraith.transports.certificates import self_signed
from wraith.values.address import HostPort

PROTOCOL = b"acme-tls/1"

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737, section 3
_OCTETS_OF_32 = b"\x04\x20"  # DER: an OCTET STRING with a SHA-256 digest

HTTP_PATH = b"/.well-known/acme-challenge/"
HTTP_PATIENCE = 10.0
"""Seconds in which a client of the challenge port must have said what it wants."""


class AlpnChallenges:
    """The certificates that are shown for pending challenges, by the server name asked for."""

    def __init__(self) -> None:
        self._contexts: dict[str, ssl.SSLContext] = {}

    def __repr__(self) -> str:
        return f"<AlpnChallenges pending={len(self._contexts)}>"

    def add(self, identifier: str, key_authorization: str, folder: Path) -> None:
        """Show what proves that we hold `identifier`; `folder` is for a moment's file."""
        self._contexts[server_name_for(identifier)] = _context(
            identifier, key_authorization, folder
        )

    def clear(self) -> None:
        """Nothing is pending any more."""
        self._contexts.clear()

    def choose(self, first: bytes, usual: ssl.SSLContext) -> ssl.SSLContext | None:
        """The context to answer a client with; None while its hello is not complete."""
        if not self._contexts:
            return usual
        hello = read_client_hello(first)
        if hello is NEED_DATA:
            return None
        if hello is None or PROTOCOL not in hello.protocols:
            return usual
        return self._contexts.get(hello.server_name, usual)


def server_name_for(identifier: str) -> str:
    """The server name by which an authority asks for a name, or for an address (RFC 8738)."""
    try:
        return ipaddress.ip_address(identifier).reverse_pointer
    except ValueError:
        return identifier.lower()


def _context(identifier: str, key_authorization: str, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([PROTOCOL.decode()])
    with _moments_file(folder, _certificate(identifier, key_authorization)) as path:
        context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def _moments_file(folder: Path, data: bytes) -> Iterator[Path]:
    """A file for as long as the TLS library reads it, since it takes keys from files only."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".challenge.")  # mode 0600
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        yield path
    finally:
        path.unlink()


def _certificate(identifier: str, key_authorization: str) -> bytes:
    """Key and certificate in PEM, self-signed: name and digest of the key authorization."""
    alternative: x509.GeneralName
    try:
        alternative = x509.IPAddress(ipaddress.ip_address(identifier))
    except ValueError:
        alternative = x509.DNSName(identifier)
    digest = _OCTETS_OF_32 + hashlib.sha256(key_authorization.encode()).digest()
    return self_signed(
        "ACME challenge",
        datetime.timedelta(days=1),
        (x509.SubjectAlternativeName([alternative]), False),
        (x509.UnrecognizedExtension(_ACME_IDENTIFIER, digest), True),
    )


class HttpChallenges:
    """A port that knows the answers to pending challenges, and nothing else."""

    def __init__(self, address: HostPort) -> None:
        self._address = address
        self._answers: dict[bytes, str] = {}
        self._listener: Listener | None = None
        self._clients: Deadlines[OneAnswer] = Deadlines(HTTP_PATIENCE)

    def __repr__(self) -> str:
        state = "open" if self._listener is not None else "closed"
        return f"<HttpChallenges {self._address} {state} pending={len(self._answers)}>"

    async def open(self) -> None:
        """Begin to listen. Raises `ListenError`."""
        self._listener = await listen(
            self._address,
            lambda: OneAnswer(self._answer, self._clients),
            hint="name another with --acme-http ADDR:PORT, to which port 80 is forwarded",
        )

    def add(self, token: str, key_authorization: str) -> None:
        """Answer this token with its key authorization."""
        self._answers[HTTP_PATH + token.encode()] = key_authorization

    def _answer(self, request: RequestHead) -> bytes:
        answer = self._answers.get(request.target) if request.method == b"GET" else None
        if answer is None:
            return page(404, "There is nothing here.\n")
        return page(200, answer)

    def close(self) -> None:
        """Nothing is pending any more; stop listening."""
        self._answers.clear()
        self._clients.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

"""Whether the server's certificate is one that we trust, and what is said where TLS fails."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from wraith.errors import CertificateError, TlsError, TransportError, UsageError
from wraith.transports.tls_ciphers import prefer_aes_128
from wraith.transports.tls_read_ahead import read_ahead

_PIN = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")

EXPIRED, NOT_YET_VALID = 10, 9  # X509_V_ERR_… of OpenSSL's x509_vfy.h
SELF_SIGNED = (18, 19)
UNKNOWN_ISSUER = (2, 20, 21)
OTHER_NAME = (62, 64)

_PLAIN_TEXT = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
    }
)
_TOO_OLD = frozenset(
    {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"}
)
_NO_SUCH_NAME = frozenset({"TLSV1_UNRECOGNIZED_NAME"})

_PIN_HINT = "pin its key with --tls-pin SHA256:…, as the server prints it on start"


@dataclass(frozen=True, slots=True)
class Trust:
    """How a client checks the certificate of a server.

    A `pin` is enough by itself; with `ca` both must hold. Without either the system's roots
    decide. `name` is what the certificate must be for and what the server is told (SNI).
    """

    name: str
    ca: Path | None = None
    pin: str = ""
    insecure: bool = False

    def __post_init__(self) -> None:
        """Check the options. Raises `UsageError`."""
        if self.pin and not _PIN.fullmatch(self.pin):
            raise UsageError(
                "the TLS pin must be given as SHA256:…, as the server prints it on start"
            )
        if self.insecure and (self.pin or self.ca):
            raise UsageError(
                "--insecure trusts any certificate, so --tls-pin and --tls-ca would mean nothing",
                hint="leave --insecure out",
            )

    def context(self) -> ssl.SSLContext:
        """The context for one connection. Raises `UsageError` for a CA file that is none."""
        if self.insecure or (self.pin and self.ca is None):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # `check` decides, or the user has
        elif self.ca is None:
            context = ssl.create_default_context()
        else:
            context = _trusting(self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        prefer_aes_128(context)
        read_ahead(context)
        return context

    def check(self, server: str, certificate: bytes) -> None:
        """Hold the certificate, in DER, against the pin. Raises `CertificateError`."""
        if not self.pin:
            return
        from cryptography import x509  # not needed otherwise, and slow to import

        from wraith.transports.certificates import pin_of

        try:
            shown = pin_of(x509.load_der_x509_certificate(certificate))
        except Exception:
            shown = "one that cannot be read"
        if shown != self.pin:
            raise CertificateError(
                f"the certificate of {server} has another key than --tls-pin names: {shown}",
                hint="if the server has a new certificate, use the pin that it prints on start",
            )


def _trusting(path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(path.expanduser()))
    except ssl.SSLError as error:
        raise UsageError(
            f"{path} holds no certificate of an authority", hint="--tls-ca takes a PEM file"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def explain(error: Exception, server: str, trust: Trust) -> TransportError:
    """What to say of a handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error, server, trust)
    reason = getattr(error, "reason", None) or ""  # those that we raise ourselves have none
    if reason in _PLAIN_TEXT:
        return TlsError(
            f"{server} does not speak TLS", hint="check the port; plain SSH is --transport tcp"
        )
    if reason in _TOO_OLD:
        return TlsError(
            f"{server} speaks only versions of TLS that are too old",
            hint="it needs TLS 1.2 or later; plain SSH is --transport tcp",
        )
    if reason in _NO_SUCH_NAME:
        return TlsError(
            f"{server} does not know the name {trust.name}",
            hint="name another with --tls-server-name",
        )
    if isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):
        return TransportError(
            f"{server} cut the TLS handshake short",
            hint="if it goes by names, give the right one with --tls-server-name; "
            "plain SSH is --transport tcp",
        )
    words = reason.lower().replace("_", " ") or "unknown reason"
    return TlsError(f"the TLS handshake with {server} failed: {words}")


def _explain_certificate(
    error: ssl.SSLCertVerificationError, server: str, trust: Trust
) -> CertificateError:
    code = error.verify_code
    subject = f"the certificate of {server}"
    if code == EXPIRED:
        return CertificateError(
            f"{subject} has expired", hint=f"renew it on the server, or {_PIN_HINT}"
        )
    if code == NOT_YET_VALID:
        return CertificateError(
            f"{subject} is not valid yet", hint=f"check the clocks of both sides, or {_PIN_HINT}"
        )
    if code in OTHER_NAME:
        return CertificateError(
            f"{subject} is not for the name {trust.name}",
            hint="name the one that it is for with --tls-server-name",
        )
    if code in SELF_SIGNED:
        return CertificateError(
            f"{subject} is self-signed, or its chain ends in a root that is not trusted here",
            hint=f"{_PIN_HINT}, or name the root's file with --tls-ca PATH",
        )
    if code in UNKNOWN_ISSUER:
        return CertificateError(
            f"{subject} comes from an unknown issuer",
            hint=f"name the issuer's file with --tls-ca PATH, or {_PIN_HINT}",
        )
    return CertificateError(
        f"{subject} is not trusted: {error.verify_message}", hint=f"mend it, or {_PIN_HINT}"
    )

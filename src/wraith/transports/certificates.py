"""The certificate that a TLS server shows: from files, or made by itself and kept."""

from __future__ import annotations

import base64
import datetime
import hashlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wraith.errors import IdentityError
from wraith.state.files import write_private
from wraith.streams.log_line import log_event
from wraith.transports.tls_read_ahead import read_ahead

_log = logging.getLogger("wraith.server")

SELF_SIGNED = "tls_self_signed.pem"
"""Its name in the state directory; certificate and key in one file, so that they cannot part."""

LOCALHOST = x509.SubjectAlternativeName([x509.DNSName("localhost")])

SELF_SIGNED_LIFE = datetime.timedelta(days=3650)
"""A pin looks at the key alone, and whoever pins it should not have to come back every year."""


def server_context() -> ssl.SSLContext:
    """A context without a certificate yet: TLS 1.2 and later, without tickets in TLS 1.3.

    They would let a client skip the key exchange next time; a tunnel lives long, and the next time
    is rare. In TLS 1.2 they keep OpenSSL from remembering the sessions of strangers by itself.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    # As in SSH, the client's order counts: it knows which cipher its processor likes.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    read_ahead(context)
    return context


class CertificateSource:
    """What new connections are shown; replaced as a whole, so that open ones never notice.

    `make_context` makes the context that a certificate is loaded into.
    """

    def __init__(self, make_context: Callable[[], ssl.SSLContext] = server_context) -> None:
        self._make_context = make_context
        self._context: ssl.SSLContext | None = None
        self._leaf: x509.Certificate | None = None

    def __repr__(self) -> str:
        return f"<CertificateSource {self.pin or 'empty'}>"

    @property
    def context(self) -> ssl.SSLContext:
        """For the next handshake, which fails as long as there is no certificate."""
        if self._context is None:
            self._context = self._make_context()
        return self._context

    @property
    def leaf(self) -> x509.Certificate | None:
        """The certificate itself; None before the first `replace`."""
        return self._leaf

    @property
    def pin(self) -> str:
        """The certificate's public key as `--tls-pin` names it; "" where there is none."""
        return pin_of(self._leaf) if self._leaf is not None else ""

    @property
    def name(self) -> str | None:
        """The first name in it that a client can be told to connect to."""
        if self._leaf is None:
            return None
        try:
            names = self._leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (x509.ExtensionNotFound, ValueError):
            return None
        dns = names.value.get_values_for_type(x509.DNSName)
        return next((name for name in dns if "*" not in name), None)

    @property
    def is_self_signed(self) -> bool:
        """Whether nobody else vouches for it, so that clients need the pin."""
        return self._leaf is not None and self._leaf.issuer == self._leaf.subject

    def replace(self, cert: Path, key: Path | None = None) -> None:
        """Show the certificate in these files from now on; the key may be in the same file.

        Raises `IdentityError`, and then nothing changes.
        """
        context = self._make_context()
        try:
            context.load_cert_chain(cert, key, password=_no_password)
            leaf = x509.load_pem_x509_certificate(cert.read_bytes())
        except _Encrypted:
            raise IdentityError(
                f"the TLS key in {key or cert} is locked with a passphrase",
                hint="take it off with: openssl pkey -in KEY -out UNLOCKED",
            ) from None
        except ssl.SSLError as error:
            raise _unusable(cert, key, error) from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            where = f"{cert} with its key in {key}" if key else str(cert)
            raise IdentityError(
                f"cannot read the TLS certificate in {where}: {reason}",
                hint="check the path and its permissions, or make one with --tls-self-signed",
            ) from error
        except ValueError as error:
            raise IdentityError(f"{cert} holds no certificate: {error}") from error
        self._context, self._leaf = context, leaf
        _warn_of_dates(cert, leaf)


class _Encrypted(Exception):
    pass


def _no_password() -> str:
    raise _Encrypted  # OpenSSL would ask on the terminal


def _unusable(cert: Path, key: Path | None, error: ssl.SSLError) -> IdentityError:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return IdentityError(f"the TLS key in {key or cert} is not the one of {cert}")
    if key is None or reason is None or reason == "NO_START_LINE":
        return IdentityError(
            f"{cert} with {key or 'its key in the same file'} is no TLS certificate with its key",
            hint="give PEM files with --tls-cert and --tls-key",
        )
    words = str(reason).lower().replace("_", " ")
    return IdentityError(f"the TLS certificate in {cert} cannot be used: {words}")


def _warn_of_dates(path: Path, leaf: x509.Certificate) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if now > leaf.not_valid_after_utc:
        log_event(_log, logging.WARNING, "TLS certificate has expired", file=path)
    elif now < leaf.not_valid_before_utc:
        log_event(_log, logging.WARNING, "TLS certificate is not valid yet", file=path)


def pin_of(certificate: x509.Certificate) -> str:
    """A certificate's public key as `SHA256:…`: unpadded base64 of the digest of its SPKI.

    RFC 7469 section 2.4 has the same digest, and curl's `--pinnedpubkey` takes it with padding.
    """
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = base64.b64encode(hashlib.sha256(spki).digest())
    return f"SHA256:{digest.decode().rstrip('=')}"


def keep_self_signed(path: Path) -> bool:
    """See to it that there is a self-signed certificate in this file; whether it is new.

    It is made with a P-256 key and mode 0600. Raises `IdentityError`.
    """
    if path.exists():
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, self_signed("localhost", SELF_SIGNED_LIFE, (LOCALHOST, False)))
    except OSError as error:
        if path.exists():  # somebody else was quicker
            return False
        raise IdentityError(
            f"cannot write the TLS certificate to {path}: {(error.strerror or str(error)).lower()}",
            hint="name a folder that can be written with WRAITH_STATE_DIR",
        ) from error
    return True


def self_signed(
    common_name: str, life: datetime.timedelta, *extensions: tuple[x509.ExtensionType, bool]
) -> bytes:
    """A new key (P-256) and its certificate, in PEM; each extension with whether it is critical."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + life)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    certificate = builder.sign(key, hashes.SHA256())
    return private + certificate.public_bytes(serialization.Encoding.PEM)

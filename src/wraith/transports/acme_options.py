"""What is asked of an ACME authority, checked before anything is opened; needs no library."""

from __future__ import annotations

import importlib.util
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from wraith.errors import UsageError
from wraith.transports.base import ServeSettings
from wraith.values.address import HostPort, parse_listen
from wraith.values.host_text import TextError, checked_host

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True, slots=True)
class AcmeOptions:
    """For which names, and from whom; `http` is where HTTP-01 is answered, None for TLS-ALPN-01."""

    domains: tuple[str, ...]
    email: str | None = None
    directory: str = LETS_ENCRYPT
    ca: Path | None = None
    http: HostPort | None = None

    @classmethod
    def of(cls, settings: ServeSettings) -> Self | None:
        """The options of a server; None where it wants nothing from an authority.

        Raises `UsageError` for what cannot be used, a missing library included.
        """
        if not settings.acme_domain:
            _check_unused(settings)
            return None
        if importlib.util.find_spec("acme") is None:
            raise UsageError(
                "certificates by ACME need the extra acme",
                hint="install it with: pip install 'wraith-tunnel[acme]'",
            )
        http = settings.acme_http
        return cls(
            tuple(dict.fromkeys(_domain(name) for name in settings.acme_domain)),
            settings.acme_email or None,
            _directory(settings.acme_directory),
            Path(settings.acme_ca).expanduser() if settings.acme_ca is not None else None,
            _http(http) if http is not None else None,
        )


def _domain(text: str) -> str:
    if "*" in text:
        raise UsageError(
            f"no certificate for {text}: a wildcard can only be validated by DNS",
            hint="name each host with --acme-domain, or bring a certificate with --tls-cert",
        )
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    try:
        name = checked_host(text.rstrip(".")).encode("idna").decode().lower()
    except (TextError, UnicodeError):
        name = ""
    if not name or ":" in name:
        raise UsageError(f"no certificate for {text!r}: it is no host name or address")
    return name


def _directory(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.netloc:
        raise UsageError(f"cannot use the ACME directory {text!r}: it is no https:// URL")
    return text


def _http(text: str) -> HostPort:
    address = parse_listen(text, default_scheme="http")
    if address.scheme != "http":
        raise UsageError(f"cannot answer challenges on {text}: expected ADDR:PORT")
    return HostPort(address.host, address.port)


def _check_unused(settings: ServeSettings) -> None:
    """An option that would change nothing is a mistake."""
    for option, value in (
        ("--acme-email", settings.acme_email),
        ("--acme-ca", settings.acme_ca),
        ("--acme-http", settings.acme_http),
    ):
        if value:
            raise UsageError(f"{option} needs the name to get a certificate for: --acme-domain")

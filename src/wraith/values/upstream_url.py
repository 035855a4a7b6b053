"""Where strangers are sent: `https://127.0.0.1:8443?proxy_protocol=1`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from wraith.errors import UsageError
from wraith.values.address import HostPort

_PORTS = {"https": 443, "http": 80}

_HINT = "for example https://127.0.0.1:8443, or https://127.0.0.1:8443?proxy_protocol=1"


@dataclass(frozen=True, slots=True)
class UpstreamUrl:
    """A web server: `https` (best) or `http`, and whether it is told where strangers come from."""

    address: HostPort
    tls: bool
    proxy_protocol: bool = False

    def __str__(self) -> str:
        query = "?proxy_protocol=1" if self.proxy_protocol else ""
        return f"{'https' if self.tls else 'http'}://{self.address}{query}"


def parse_upstream_url(text: str) -> UpstreamUrl:
    """Read the URL of a web server. Raises `UsageError`."""
    try:
        parts = urlsplit(text)
        port = parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise UsageError("the stealth upstream is no URL that makes sense", hint=_HINT) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UsageError("the stealth upstream must be https:// or http:// with a host", hint=_HINT)
    if parts.username is not None or parts.path not in ("", "/") or parts.fragment:
        raise UsageError(
            "the stealth upstream's URL takes a host, a port and proxy_protocol, and no more",
            hint=_HINT,
        )
    proxied = options.pop("proxy_protocol", "0")
    if options or proxied not in ("0", "1"):
        raise UsageError("the stealth upstream knows one option: proxy_protocol=1", hint=_HINT)
    address = HostPort(parts.hostname, port or _PORTS[parts.scheme])
    return UpstreamUrl(address, parts.scheme == "https", proxied == "1")

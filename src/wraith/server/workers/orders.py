"""What a worker is told to be: the server's options, as they can be written down.

They travel over a socket that parent and worker alone hold, since some of them are secrets: the
host key, the secret of a hidden server, the credentials of a proxy. What was read or made once is
sent as it was, so that a worker that starts later is no other than its siblings.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wraith.errors import UsageError
from wraith.server.options import ServeOptions
from wraith.ssh.keys import PrivateKey
from wraith.values.proxy_url import ProxyUrl

_OF_THE_PARENT = ("listen", "transport", "trust_proxy", "metrics", "bus", "stealth_secret", "key")
"""What is the parent's business, or is sent in another form."""

_BYTES = "base64"


def check_shareable(options: ServeOptions) -> None:
    """Raises `UsageError` for what several processes cannot serve together."""
    for address in options.listen_addresses() if _names_addresses(options) else ():
        if address.scheme not in ("tcp", "tls"):
            raise UsageError(
                f"several workers cannot share {address.scheme}://: it is one endpoint with one "
                "identity",
                hint=f"serve {address.scheme} by a process of its own, without --workers",
            )
    for name in ("services", "bus_may"):
        if getattr(options, name):
            raise UsageError(f"{name} is code of this program, which workers do not have")


def _names_addresses(options: ServeOptions) -> bool:
    return not options.listen or any(isinstance(item, str) for item in options.listen)


def write_orders(
    options: ServeOptions, transports: tuple[str, ...], key: PrivateKey
) -> dict[str, Any]:
    """The options of a worker that greets streams of these transports."""
    values = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name not in (*_OF_THE_PARENT, "services", "bus_may")
    }
    stealth = options.stealth_settings()
    if stealth is not None and stealth.secret is not None:
        values["stealth_secret"] = stealth.secret
    values["listen"] = [f"{name}://127.0.0.1:0" for name in transports]  # none of them is bound
    values["key"] = key.export()
    return {name: _written(value) for name, value in values.items()}


def read_orders(orders: Mapping[str, Any]) -> ServeOptions:
    """The options that were written. Raises `UsageError` as `ServeOptions` does."""
    return ServeOptions(**{name: _read(value) for name, value in orders.items()})


def _written(value: Any) -> Any:
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    if isinstance(value, ProxyUrl):
        raise UsageError("a proxy for several workers must be given as text")
    return str(value) if isinstance(value, Path) else value


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value[_BYTES])
    return value

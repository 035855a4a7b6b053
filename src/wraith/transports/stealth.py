"""The client's side of a stealth secret: it is proved before a word of SSH is spoken."""

from __future__ import annotations

import asyncio
import logging
import stat
from pathlib import Path

from wraith.errors import TransportError, UsageError
from wraith.protocol import stealth_proof
from wraith.streams.log_line import log_event
from wraith.transports.base import ProtocolFactory, Transport

_log = logging.getLogger(__name__)


class ProvingTransport:
    """A TLS transport whose streams begin with the proof of a secret."""

    def __init__(self, tls: Transport, secret: bytes) -> None:
        self._tls = tls
        self._secret = secret

    def __repr__(self) -> str:
        return f"<ProvingTransport {self._tls!r}>"

    @property
    def name(self) -> str:
        """As `Transport.name`."""
        return self._tls.name

    @property
    def server(self) -> str:
        """As `Transport.server`."""
        return self._tls.server

    async def connect(self, factory: ProtocolFactory, timeout: float) -> asyncio.Transport:
        """As `Transport.connect`."""
        return await self._tls.connect(lambda: _Proof(self._secret, factory, self.server), timeout)

    async def close(self) -> None:
        """As `Transport.close`."""
        await self._tls.close()


class _Proof(asyncio.Protocol):
    """Writes the proof, and leaves the stream to the next protocol."""

    def __init__(self, secret: bytes, factory: ProtocolFactory, server: str) -> None:
        self._secret = secret
        self._factory = factory
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        tls = transport.get_extra_info("ssl_object")
        binding = tls.get_channel_binding("tls-unique")
        if tls.version() != "TLSv1.3" or not binding:
            raise TransportError(
                f"{self._server} speaks no TLS 1.3, which the stealth secret needs",
                hint="update the server, or leave --stealth-secret out on both sides",
            )
        transport.write(stealth_proof.prove(self._secret, binding))
        protocol = self._factory()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


def read_secret(source: str | Path | bytes) -> bytes:
    """The secret in a file, or given as bytes.

    Raises `UsageError`. A file that others may read is used, and complained about in the log.
    """
    if isinstance(source, bytes):
        return stealth_proof.parse_secret(source)
    path = Path(source).expanduser()
    try:
        text = path.read_bytes()
        open_to_all = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    except OSError as error:
        raise UsageError(
            f"cannot read the stealth secret in {path}: {(error.strerror or str(error)).lower()}"
        ) from error
    if open_to_all:
        log_event(_log, logging.WARNING, "others may read the stealth secret", file=path)
    return stealth_proof.parse_secret(text)

"""What the options of a client and of a server make of iroh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wraith.errors import UsageError
from wraith.state.folder import state_dir
from wraith.transports.base import Acceptor, ConnectSettings, Kind, ServeSettings
from wraith.transports.iroh.accepting import IrohAcceptor
from wraith.transports.iroh.connecting import IrohTransport
from wraith.values.address import ListenAddress
from wraith.values.host_text import is_ipv6
from wraith.values.iroh_peer import parse_iroh_peer, parse_relay


def _connecting(settings: ConnectSettings) -> IrohTransport:
    if settings.server:
        raise UsageError(
            "iroh reaches a peer, not a server by its name",
            hint="give --peer with an endpoint id, ID@ADDR:PORT or a ticket instead of --server",
        )
    if not settings.peer:
        raise UsageError(
            "no iroh peer given",
            hint="name it with --peer: an endpoint id, ID@ADDR:PORT or a ticket",
        )
    peer, relay = parse_iroh_peer(settings.peer), parse_relay(settings.iroh_relay)
    if relay.is_disabled and not peer.addresses:
        raise UsageError(
            "without a relay nobody can say where an iroh peer is",
            hint="give its address with --peer ID@ADDR:PORT, or a ticket that holds one",
        )
    return IrohTransport(peer, relay, _path(settings.iroh_key))


def _accepting(addresses: Sequence[ListenAddress], settings: ServeSettings) -> list[Acceptor]:
    """One acceptor for all addresses: an endpoint is one identity, with a socket a family."""
    families = [is_ipv6(address.host) for address in addresses]
    everywhere = any(not address.host for address in addresses)
    if len(addresses) > 1 and (everywhere or len(set(families)) < len(families)):
        raise UsageError("iroh listens on one IPv4 and one IPv6 address at most")
    key = _path(settings.iroh_key) or state_dir() / "iroh.key"
    return [IrohAcceptor(addresses, parse_relay(settings.iroh_relay), key)]


def _path(named: str | Path | None) -> Path | None:
    return Path(named).expanduser() if named is not None else None


IROH = Kind("iroh", _connecting, _accepting)

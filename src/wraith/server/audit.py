"""Every line that the server may log about a connection; never a destination.

INFO connection opened remote_addr=203.0.113.50 transport=tcp
INFO auth attempt remote_addr=203.0.113.50 user=root key_fingerprint=SHA256:… result=reject …
INFO connection closed remote_addr=203.0.113.50 duration=12.3
"""

from __future__ import annotations

import logging

from wraith.policy.keys import CertificateFacts
from wraith.ssh.server_session import Offer
from wraith.streams.log_line import log_event
from wraith.transports.base import PeerInfo

_log = logging.getLogger("wraith.server")


def _event(event: str, info: PeerInfo, **fields: object) -> None:
    log_event(_log, logging.INFO, event, remote_addr=info.address or "-", **fields)


def _detail(event: str, info: PeerInfo, **fields: object) -> None:
    log_event(_log, logging.DEBUG, event, remote_addr=info.address or "-", **fields)


def connection_opened(info: PeerInfo) -> None:
    """A stream was accepted."""
    named = {"peer": info.name} if info.name else {}
    _event("connection opened", info, transport=info.transport, **named)


def connection_refused(info: PeerInfo, reason: str) -> None:
    """A stream was turned away by a limit before a byte was read."""
    _event("connection refused", info, transport=info.transport, reason=reason)


def connection_closed(info: PeerInfo, duration: float) -> None:
    """A stream ended, `duration` seconds after it was accepted."""
    _event("connection closed", info, duration=f"{duration:.1f}")


def auth_accepted(info: PeerInfo, user: str, offer: Offer) -> None:
    """A key was accepted and its signature is good."""
    _event("auth attempt", info, user=user, **_key_fields(offer), result="accept")


def auth_rejected(info: PeerInfo, user: str, offer: Offer | None, reason: str) -> None:
    """A key, or another method, was refused; `reason` is one of a few fixed words."""
    fields = _key_fields(offer) if offer is not None else {}
    _event("auth attempt", info, user=user, **fields, result="reject", reason=reason)


def remote_forward(info: PeerInfo, *, granted: bool) -> None:
    """A remote forward was asked for; where is nobody's business."""
    _detail("remote forward", info, result="grant" if granted else "refuse")


def shows_channels() -> bool:
    """Whether `channel` says anything at the level that is set."""
    return _log.isEnabledFor(logging.DEBUG)


def channel(info: PeerInfo, result: str) -> None:
    """A channel was asked for: opened, or why not, and never whereto."""
    _detail("channel", info, result=result)


def _key_fields(offer: Offer) -> dict[str, object]:
    if isinstance(offer, CertificateFacts):
        return {
            "key_fingerprint": offer.key.fingerprint,
            "ca_fingerprint": offer.signing_key.fingerprint,
            "key_id": offer.key_id,
            "serial": offer.serial,
        }
    return {"key_fingerprint": offer.fingerprint}

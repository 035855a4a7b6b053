"""Where a channel goes: policy first, then a dialer or a service of our own.

Every channel passes here, whichever way its bytes will travel afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wraith.dialing.base import Attempt, Outcome, SocketDialer
from wraith.dialing.direct import DirectDialer
from wraith.dialing.lookups import Lookups
from wraith.errors import ChannelRefused, Refusal
from wraith.policy.access import AccessRules, Peer, Verdict
from wraith.policy.identity import Grant
from wraith.streams.relay import relay_pair
from wraith.values.address import (
    Destination,
    HostPort,
    TcpDestination,
    UnixPath,
)

REMEMBERED = 1024
"""Answers of the policy that are kept for one peer."""

OpenService = Callable[[TcpDestination], asyncio.Protocol]
"""Opens a channel to a reserved name, or raises `ChannelRefused`."""


class ChannelRouter:
    """Opens destinations for one authenticated peer.

    `timeout` is in seconds, for reaching one; `service` opens what the server answers itself.
    With `proxied`, what is reached by TCP is reached through that, and names are resolved behind
    it: then the rules about addresses can only be held against what was asked for. `lookups` are
    those of the whole server.
    """

    def __init__(
        self,
        rules: Callable[[], AccessRules],
        grant: Grant,
        timeout: float,
        service: OpenService,
        proxied: SocketDialer | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        self.rules = rules
        self._grant = grant
        self._service = service
        self._peer = Peer(grant.principals, grant.fingerprint)
        self._direct = DirectDialer(self.approve, timeout, lookups)
        self._proxied = proxied
        self._answers: dict[object, bool] = {}
        self._answered_by: AccessRules | None = None

    def __repr__(self) -> str:
        return f"<ChannelRouter {self._grant.fingerprint}>"

    async def open(self, destination: Destination) -> asyncio.Protocol:
        """The protocol for the channel, its other half connected. Raises `ChannelRefused`.

        What policy can refuse without knowing the address is refused before a name is resolved;
        the dialer asks again about each address.
        """
        if not self.may_try(destination):
            raise ChannelRefused(Refusal.PROHIBITED)
        if isinstance(destination, TcpDestination) and destination.is_reserved:
            return self._service(destination)
        near, far = relay_pair()
        await self._dialer(destination).dial(destination, far)
        return near

    def connect(self, destination: Destination, outcome: Outcome) -> Attempt | None:
        """A socket to the destination, by callbacks: `open` without its relay."""
        if not self.may_try(destination):
            outcome.failed(Refusal.PROHIBITED)
            return None
        return self._dialer(destination).connect_soon(destination, outcome)

    def _dialer(self, destination: Destination) -> SocketDialer:
        if self._proxied is not None and isinstance(destination, TcpDestination):
            return self._proxied
        return self._direct

    def may_try(self, destination: Destination) -> bool:
        """What can be said before a name is resolved; every channel is asked this."""

        def ask(rules: AccessRules) -> bool:
            if not self._grant.forwarding.may_open(destination):
                return False
            if self._proxied is not None and isinstance(destination, TcpDestination):
                return rules.decide_unresolved(destination, self._peer)
            return rules.decide_name(destination, self._peer) is not Verdict.DENY

        return self._remembered(destination, ask)

    def approve(self, destination: TcpDestination, address: str) -> bool:
        """Whether the destination may be reached at an address that it resolved to."""

        def ask(rules: AccessRules) -> bool:
            return rules.decide(destination.host, address, destination.port, self._peer)

        return self._remembered((destination, address), ask)

    def _remembered(self, question: object, ask: Callable[[AccessRules], bool]) -> bool:
        """The answer to a question; policy is pure, so one that was given stands.

        It stands until other rules are set. The memory is bounded, and forgets all at once.
        """
        rules = self.rules()
        if rules is not self._answered_by or len(self._answers) >= REMEMBERED:
            self._answers.clear()
            self._answered_by = rules
        answer = self._answers.get(question)
        if answer is None:
            answer = self._answers[question] = ask(rules)
        return answer

    def may_listen(self, address: HostPort | UnixPath) -> bool:
        """Whether the peer may have this address listened on."""
        forwarding = self._grant.forwarding
        if isinstance(address, HostPort):
            return forwarding.may_listen(address.host, address.port)
        return forwarding.may_listen_unix() and self.rules().decide_unix(address.path, self._peer)

"""Services on reserved names: made for each channel, told who asks, and held to the rules."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.paths import take
from wraith.errors import ChannelRefused, Refusal, UsageError
from wraith.server.options import ServeOptions
from wraith.server.services import ServicePeer
from wraith.testing import Loopback


@pytest.fixture(params=["both fast", "stock server"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hot path and the ordinary one give the same answers."""
    take(monkeypatch, request.param)


class Card(asyncio.Protocol):
    """Says who is there, and goes."""

    def __init__(self, peer: ServicePeer) -> None:
        self._peer = peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"{self._peer.user} {self._peer.transport}".encode())
        transport.close()


async def ask(tunnel: Loopback, name: str, port: int = 0) -> bytes:
    reader, writer = await tunnel.client.open_connection(name, port)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def refusal(tunnel: Loopback, name: str) -> Refusal:
    with pytest.raises(ChannelRefused) as caught:
        await tunnel.client.open_connection(name, 0)
    return caught.value.reason


def serving(service: Callable[[ServicePeer], asyncio.Protocol], **more: Any) -> Loopback:
    return Loopback(serve={"services": {"wraith-Card": service}, **more})


async def test_each_channel_gets_one_of_its_own_that_knows_who_asks() -> None:
    seen: list[ServicePeer] = []

    def card(peer: ServicePeer) -> Card:
        seen.append(peer)
        return Card(peer)

    async with serving(card) as tunnel:
        assert await ask(tunnel, "wraith-card") == b"tester memory"
        assert await ask(tunnel, "WRAITH-CARD", 4711) == b"tester memory"
        assert len(seen) == 2
        assert seen[0].fingerprint.startswith("SHA256:")
        assert (seen[0].principals, seen[0].address) == ((), "127.0.0.1")


async def test_a_service_takes_the_place_of_one_that_the_server_has() -> None:
    async with Loopback(serve={"services": {"wraith-echo": Card}}) as tunnel:
        assert await ask(tunnel, "wraith-echo") == b"tester memory"


@pytest.mark.parametrize("rule", ["deny wraith-*", "deny wraith-card:0", "deny *"])
async def test_a_rule_keeps_it_from_being_made(rule: str) -> None:
    made: list[ServicePeer] = []

    def card(peer: ServicePeer) -> Card:
        made.append(peer)
        return Card(peer)

    async with serving(card, rules=[rule]) as tunnel:
        assert await refusal(tunnel, "wraith-card") is Refusal.PROHIBITED
    assert not made


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ("restrict", False),
        ('permitopen="*:*"', False),
        ('permitopen="wraith-echo:*"', False),
        ('permitopen="wraith-card:*"', True),
        ('restrict,permitopen="wraith-card:0"', True),
    ],
)
async def test_a_key_with_limits_needs_it_named(limits: str, allowed: bool) -> None:
    tunnel = serving(Card)
    line = tunnel.serve_options.authorized_keys
    assert isinstance(line, bytes)
    limited = limits.encode() + b" " + line
    tunnel.serve_options = dataclasses.replace(tunnel.serve_options, authorized_keys=limited)
    async with tunnel:
        if allowed:
            assert await ask(tunnel, "wraith-card") == b"tester memory"
        else:
            assert await refusal(tunnel, "wraith-card") is Refusal.PROHIBITED


async def test_a_name_that_nothing_answers_to_is_refused() -> None:
    async with serving(Card) as tunnel:
        assert await refusal(tunnel, "wraith-") is Refusal.PROHIBITED
        assert await refusal(tunnel, "wraith-cards") is Refusal.PROHIBITED


async def test_a_service_may_refuse_and_its_fault_ends_its_own_channel_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(_peer: ServicePeer) -> asyncio.Protocol:
        raise ChannelRefused(Refusal.RESOURCE_SHORTAGE)

    def broken(_peer: ServicePeer) -> asyncio.Protocol:
        raise RuntimeError("to db.internal:5432")

    services = {"wraith-full": full, "wraith-broken": broken, "wraith-card": Card}
    async with Loopback(serve={"services": services}) as tunnel:
        assert await refusal(tunnel, "wraith-full") is Refusal.RESOURCE_SHORTAGE
        assert await refusal(tunnel, "wraith-broken") is Refusal.FAILED
        assert await ask(tunnel, "wraith-card") == b"tester memory"
    assert "error=RuntimeError" in caplog.text
    assert "db.internal" not in caplog.text


async def test_a_reload_leaves_the_services_as_they_are() -> None:
    async with serving(Card) as tunnel:
        tunnel.server.reload(ServeOptions(authorize=["ssh-ed25519 AAAA"]))
        assert await ask(tunnel, "wraith-card") == b"tester memory"


@pytest.mark.parametrize("name", ["", "echo", "wraith-", "wraith echo", "wraith-/run", "*"])
def test_what_no_service_can_be_called_is_told_at_once(name: str) -> None:
    with pytest.raises(UsageError):
        ServeOptions(services={name: Card})

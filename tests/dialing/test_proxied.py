"""A dialer whose destinations lie behind a proxy, and what the operator hears of that proxy."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.upstream import behaving, silence, upstream
from wraith.dialing.proxied import ProxiedDialer
from wraith.dialing.via_proxy import ViaProxy
from wraith.errors import ChannelRefused, ProxyError, Refusal
from wraith.testing import Recorder
from wraith.values.address import HostPort, TcpDestination, UnixDestination
from wraith.values.proxy_url import ProxyUrl

DOWN = ProxyUrl("socks5", HostPort("127.0.0.1", 1))


class Told:
    """Whoever waits for a socket, and the operator."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[socket.socket | Refusal] = asyncio.Future()
        self.notes: list[ProxyError | None] = []

    def connected(self, sock: socket.socket) -> None:
        self.outcome.set_result(sock)

    def failed(self, reason: Refusal) -> None:
        self.outcome.set_result(reason)

    def dialer(self, proxy: ProxyUrl, timeout: float = 5) -> ProxiedDialer:
        return ProxiedDialer(ViaProxy(proxy), timeout, self.notes.append)


async def test_a_stream() -> None:
    told, left = Told(), Recorder()
    async with upstream() as proxy, behaving(echo) as far:
        dialer = told.dialer(proxy.url("socks5"))
        stream = await dialer.dial(TcpDestination("127.0.0.1", far.port), left)
        stream.write(b"hello")
        assert await left.until_received(5) == b"hello"
        stream.close()
        await left.until_lost()
    assert told.notes == [None]
    assert repr(dialer) == f"<ProxiedDialer socks5://{proxy.address} timeout=5>"


async def test_a_socket_by_callback() -> None:
    told = Told()
    async with upstream() as proxy, behaving(silence) as far:
        told.dialer(proxy.url("http")).connect_soon(TcpDestination("127.0.0.1", far.port), told)
        sock = await told.outcome
        assert isinstance(sock, socket.socket)
        sock.close()


@pytest.mark.parametrize("reason", [Refusal.REFUSED, Refusal.PROHIBITED])
async def test_what_the_proxy_says_of_the_destination_is_no_fault_of_its_own(
    reason: Refusal,
) -> None:
    told = Told()
    async with upstream(refuses=reason) as proxy:
        told.dialer(proxy.url("socks5")).connect_soon(TcpDestination("a", 1), told)
        assert await told.outcome is reason
    assert told.notes == [None]


async def test_a_fault_of_the_proxy_is_noted_and_the_client_told_no_more_than_a_reason() -> None:
    told = Told()
    with pytest.raises(ChannelRefused) as caught:
        await told.dialer(DOWN).dial(TcpDestination("a", 1), Recorder())
    assert caught.value.reason is Refusal.NETWORK_UNREACHABLE
    assert "proxy" not in str(caught.value)
    (note,) = told.notes
    assert note is not None
    assert "cannot reach the proxy" in note.message


async def test_silence_is_nobodys_fault_for_sure() -> None:
    told = Told()
    async with behaving(silence) as address:
        dialer = told.dialer(ProxyUrl("http", address), timeout=0.1)
        dialer.connect_soon(TcpDestination("a", 1), told)
        assert await told.outcome is Refusal.TIMED_OUT
    assert told.notes == []


async def test_a_unix_socket_is_behind_no_proxy() -> None:
    with pytest.raises(ChannelRefused) as caught:
        await Told().dialer(DOWN).connect(UnixDestination("/run/secret"))
    assert caught.value.reason is Refusal.PROHIBITED


async def test_given_up_it_tells_nobody() -> None:
    told = Told()
    async with behaving(silence) as address:
        attempt = told.dialer(ProxyUrl("http", address)).connect_soon(TcpDestination("a", 1), told)
        await asyncio.sleep(0.02)
        assert attempt is not None
        attempt.cancel()
        await asyncio.sleep(0.02)
    assert not told.outcome.done()


async def test_a_protocol_that_fails_to_begin_leaves_no_socket() -> None:
    class Broken(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise RuntimeError("broken")

    async with upstream() as proxy, behaving(silence) as far:
        dialer = Told().dialer(proxy.url("socks5"))
        with pytest.raises(RuntimeError, match="broken"):
            await dialer.dial(TcpDestination("127.0.0.1", far.port), Broken())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)

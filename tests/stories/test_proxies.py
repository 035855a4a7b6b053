"""A proxy on the way to the server, and one on the way to the destinations."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.support.journeys import (
    JOURNEYS,
    Journey,
    echo,
    finish,
    origin,
    through_socks,
    tunnel_over,
)
from tests.support.paths import PATHS, ask_for, session_of, take
from tests.support.upstream import upstream
from wraith.client.options import ConnectOptions
from wraith.errors import ChannelRefused, ProxyAuthenticationError, Refusal, UsageError
from wraith.protocol.ssh_reason import encode_refusal
from wraith.server.options import ServeOptions
from wraith.testing import Loopback, MemoryAcceptor, MemoryTransport
from wraith.values.address import TcpDestination
from wraith.values.credentials import Credentials

ME = Credentials("hunter1", "hunter2")
LANGUAGES = pytest.mark.parametrize("language", ["socks5", "http"])


def url(language: str, address: object, credentials: Credentials | None = None) -> str:
    who = f"{credentials.username}:{credentials.password}@" if credentials else ""
    return f"{language}://{who}{address}"


class TestOnTheWayToTheServer:
    @LANGUAGES
    @pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.__name__)
    async def test_the_tunnel_carries_every_journey(self, language: str, journey: Journey) -> None:
        async with upstream(credentials=ME) as proxy:
            way = url(language, proxy.address, ME)
            async with tunnel_over("tcp", proxy=way) as tunnel:
                await journey(tunnel)

    @LANGUAGES
    async def test_the_first_attempt_tells_of_wrong_credentials(self, language: str) -> None:
        async with upstream(credentials=ME) as proxy:
            way = url(language, proxy.address, Credentials("hunter1", "hunter3"))
            with pytest.raises(ProxyAuthenticationError, match="does not accept"):
                async with tunnel_over("tcp", proxy=way, retry_first_attempt=True) as tunnel:
                    await tunnel.client.wait_closed()

    async def test_a_transport_without_a_socket_has_none(self) -> None:
        memory = MemoryTransport(MemoryAcceptor())
        with pytest.raises(UsageError, match="transport memory cannot go through a proxy"):
            ConnectOptions(transport=memory, proxy="socks5://127.0.0.1:1080")
        ConnectOptions(transport=memory, proxy="direct")


class TestOnTheWayToTheDestinations:
    @LANGUAGES
    @pytest.mark.parametrize("path", PATHS)
    async def test_names_are_the_proxys_on_either_path(
        self, path: str, language: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take(monkeypatch, path)
        async with (
            origin(echo) as port,
            upstream(credentials=ME, names={"far.test": "127.0.0.1"}) as proxy,
            tunnel_over("tcp", serve={"proxy": url(language, proxy.address, ME)}) as tunnel,
        ):
            reader, writer = await tunnel.client.open_connection("far.test", port)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            await finish(writer)
            reader, writer = await through_socks(tunnel, port, early=b"at once")
            assert await reader.readexactly(7) == b"at once"
            await finish(writer)
            asked = [destination.reveal() for destination in proxy.asked]
            assert asked == [f"far.test:{port}", f"127.0.0.1:{port}"]

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        ("rules", "host", "verdict"),
        [
            (["deny far.test"], "far.test", Refusal.PROHIBITED),
            (["deny far.test"], "FAR.test.", Refusal.PROHIBITED),
            (["deny loopback"], "127.0.0.1", Refusal.PROHIBITED),
            (["deny loopback"], "::ffff:127.0.0.1", Refusal.PROHIBITED),
            (["deny loopback"], "127.1", Refusal.PROHIBITED),
            ([], "169.254.169.254", Refusal.PROHIBITED),
            (["deny *"], "far.test", Refusal.PROHIBITED),
            (["allow far.test", "deny *"], "far.test", None),
            # What the name stands for is known to the proxy alone.
            (["deny loopback"], "far.test", None),
        ],
    )
    async def test_both_paths_ask_the_same_policy(
        self,
        path: str,
        rules: list[str],
        host: str,
        verdict: Refusal | None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        take(monkeypatch, path)
        async with (
            origin(echo) as port,
            upstream(names={"far.test": "127.0.0.1"}) as proxy,
            Loopback(serve={"proxy": url("socks5", proxy.address), "rules": rules}) as tunnel,
        ):
            answer = await ask_for(tunnel.client, TcpDestination(host, port))
            assert answer == (None if verdict is None else encode_refusal(verdict))
            assert len(proxy.asked) == (verdict is None)

    @LANGUAGES
    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        "reason",
        [
            Refusal.PROHIBITED,
            Refusal.REFUSED,
            Refusal.HOST_UNREACHABLE,
            Refusal.NETWORK_UNREACHABLE,
            Refusal.TIMED_OUT,
        ],
    )
    async def test_what_the_proxy_says_arrives(
        self, path: str, language: str, reason: Refusal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take(monkeypatch, path)
        async with (
            upstream(refuses=reason) as proxy,
            Loopback(serve={"proxy": url(language, proxy.address)}) as tunnel,
        ):
            answer = await ask_for(tunnel.client, TcpDestination("far.test", 80))
            assert answer == encode_refusal(reason)

    @pytest.mark.parametrize("path", PATHS)
    async def test_faults_of_the_proxy_are_told_apart(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take(monkeypatch, path)
        async with Loopback(serve={"proxy": "socks5://127.0.0.1:1"}) as tunnel:
            answer = await ask_for(tunnel.client, TcpDestination("far.test", 80))
            assert answer == encode_refusal(Refusal.NETWORK_UNREACHABLE)
        async with (
            upstream(credentials=ME) as proxy,
            Loopback(serve={"proxy": url("socks5", proxy.address)}) as tunnel,
        ):
            answer = await ask_for(tunnel.client, TcpDestination("far.test", 80))
            assert answer == encode_refusal(Refusal.FAILED)

    @pytest.mark.parametrize("path", PATHS)
    async def test_datagrams_do_not_go_around_it(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take(monkeypatch, path)
        datagrams = TcpDestination("wraith-udp", 0)
        async with Loopback(serve={"proxy": "socks5://127.0.0.1:1"}) as tunnel:
            assert await session_of(tunnel.client).capabilities() == frozenset()
            answer = await ask_for(tunnel.client, datagrams)
            assert answer == encode_refusal(Refusal.UNSUPPORTED)
        async with Loopback() as tunnel:
            assert await ask_for(tunnel.client, datagrams) is None

    async def test_our_own_services_and_remote_forwards_are_not_proxied(self) -> None:
        async with Loopback(serve={"proxy": "socks5://127.0.0.1:1"}) as tunnel:
            for journey in JOURNEYS:
                if journey.__name__ in ("the_echo_service", "a_remote_forward"):
                    await journey(tunnel)

    async def test_other_options_bring_another_proxy_for_new_sessions(self) -> None:
        async with upstream(refuses=Refusal.TIMED_OUT) as proxy, Loopback() as tunnel:
            options = tunnel.serve_options
            changed: dict[str, Any] = {"proxy": url("http", proxy.address)}
            server = tunnel.server
            import dataclasses

            server.reload(dataclasses.replace(options, **changed))
            async with client_of(tunnel) as client:
                with pytest.raises(ChannelRefused) as caught:
                    await client.open_connection("127.0.0.1", 80)
            assert caught.value.reason is Refusal.TIMED_OUT


def client_of(tunnel: Loopback) -> Any:
    """A second client of the same server."""
    from wraith.client.connect import connect

    return connect(tunnel.connect_options)


class TestCredentials:
    async def test_are_in_no_log_and_no_repr(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        bad = Credentials("hunter1", "hunter3")
        shown: list[object] = []
        async with upstream(credentials=ME) as proxy:
            for theirs in (ME, bad):
                for language in ("socks5", "http"):
                    far = url(language, proxy.address, theirs)
                    near = url(language, proxy.address, ME)
                    async with tunnel_over("tcp", serve={"proxy": far}, proxy=near) as tunnel:
                        shown += [tunnel.serve_options, tunnel.server, tunnel.server.options]
                        shown += [tunnel.connect_options, tunnel.client, tunnel.server.proxied]
                        await ask_for(tunnel.client, TcpDestination("far.test", 80))
        assert "upstream proxy fails" in caplog.text
        for text in (caplog.text, *map(repr, shown), *map(str, shown)):
            assert "hunter" not in text
            assert "aHVudGVy" not in text  # the same in base64

    @pytest.mark.parametrize("options", [ConnectOptions, ServeOptions])
    def test_are_in_no_complaint(self, options: Any) -> None:
        with pytest.raises(UsageError) as caught:
            options(proxy="socks5://hunter1:hunter2@127.0.0.1")
        assert "hunter" not in str(caught.value)


async def test_two_tunnels_chained() -> None:
    """The second goes through the first one's SOCKS5 port, and the first server's loopback."""
    async with origin(echo) as port, tunnel_over("tcp") as first:
        proxy = url("socks5", first.client.socks5_addresses[0])
        async with tunnel_over("tcp", proxy=proxy) as second:
            reader, writer = await through_socks(second, port)
            writer.write(b"x" * 300_000)
            writer.write_eof()
            assert await reader.read() == b"x" * 300_000
            await finish(writer)
            await asyncio.sleep(0)

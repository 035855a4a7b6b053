"""Through a proxy to a destination: true proxies, and ones that are of no use."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.support.upstream import Behaviour, behaving, dribbles, says, silence, upstream
from wraith.dialing.via_proxy import ViaProxy
from wraith.errors import ChannelRefused, ProxyAuthenticationError, ProxyError, Refusal
from wraith.values.address import HostPort, TcpDestination
from wraith.values.credentials import Credentials
from wraith.values.proxy_url import ProxyUrl

LANGUAGES = ["socks5", "http"]
ME = Credentials("me", "hunter2")
SECRET = TcpDestination("secret.example", 80)

GRANTED = {
    "socks5": (b"\5\0", b"\5\0\0\1\0\0\0\0\0\0"),
    "http": (b"HTTP/1.1 200 OK\r\n\r\n",),
}

pytestmark = pytest.mark.parametrize("language", LANGUAGES)


@asynccontextmanager
async def greeter() -> AsyncIterator[TcpDestination]:
    """A destination that speaks first."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-greeter\r\n")
        writer.write(await reader.read(100))

    async with behaving(greet) as address:
        yield TcpDestination("greeter.test", address.port)


async def read(sock: socket.socket, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size and (piece := await loop.sock_recv(sock, size - len(data))):
        data += piece
    return data


async def refused(proxy: ProxyUrl, timeout: float = 5) -> ChannelRefused | ProxyError:
    with pytest.raises((ChannelRefused, ProxyError)) as caught:
        await ViaProxy(proxy).connect(SECRET, timeout)
    error = caught.value
    assert isinstance(error, ChannelRefused | ProxyError)
    for text in (str(error), str(getattr(error, "hint", ""))):
        assert "secret" not in text
        assert "hunter2" not in text
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    return error


@pytest.mark.parametrize("credentials", [None, ME])
async def test_a_name_that_only_the_proxy_knows(
    language: str, credentials: Credentials | None
) -> None:
    async with (
        greeter() as destination,
        upstream(credentials=credentials, names={"greeter.test": "127.0.0.1"}) as proxy,
    ):
        sock = await ViaProxy(proxy.url(language, credentials)).connect(destination, 5)
        with sock:
            assert not sock.getblocking()
            assert await read(sock, 17) == b"SSH-2.0-greeter\r\n"
            await asyncio.get_running_loop().sock_sendall(sock, b"hello")
            assert await read(sock, 5) == b"hello"
        assert proxy.asked == [destination]


@pytest.mark.parametrize("behaviour", [says, dribbles])
async def test_what_the_destination_says_at_once_stays_in_the_socket(
    language: str, behaviour: Callable[..., Behaviour]
) -> None:
    *before, last = GRANTED[language]
    async with behaving(behaviour(*before, last + b"SSH-2.0-early")) as address:
        with await ViaProxy(ProxyUrl(language, address)).connect(SECRET, 5) as sock:
            assert await read(sock, 13) == b"SSH-2.0-early"


async def test_credentials_that_nobody_asks_for_do_no_harm(language: str) -> None:
    async with greeter() as destination, upstream(names={"greeter.test": "127.0.0.1"}) as proxy:
        with await ViaProxy(proxy.url(language, ME)).connect(destination, 5) as sock:
            assert await read(sock, 3) == b"SSH"


@pytest.mark.parametrize("reason", list(Refusal))
async def test_what_the_proxy_says_about_the_destination(language: str, reason: Refusal) -> None:
    async with upstream(refuses=reason) as proxy:
        error = await refused(proxy.url(language))
    assert isinstance(error, ChannelRefused)
    if language == "socks5":  # which has no word for these two
        reason = {
            Refusal.NAME_UNKNOWN: Refusal.HOST_UNREACHABLE,
            Refusal.RESOURCE_SHORTAGE: Refusal.FAILED,
        }.get(reason, reason)
    assert error.reason is reason


@pytest.mark.parametrize(
    ("credentials", "problem"),
    [
        (None, "wants a user name and a password"),
        (Credentials("me", "hunter22"), "does not accept the user name and the password"),
    ],
)
async def test_a_proxy_that_does_not_know_us(
    language: str, credentials: Credentials | None, problem: str
) -> None:
    async with upstream(credentials=ME) as proxy:
        error = await refused(proxy.url(language, credentials))
    assert isinstance(error, ProxyAuthenticationError)
    assert str(error) == f"the proxy {language}://{proxy.address} {problem}"
    assert error.hint is not None
    assert "@FILE" in error.hint
    assert error.reason is Refusal.FAILED


async def test_a_proxy_that_is_down(language: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        proxy = ProxyUrl(language, HostPort(*holder.getsockname()), ME)
        error = await refused(proxy)
    assert isinstance(error, ProxyError)
    assert str(error).startswith(f"cannot reach the proxy {language}://127.0.0.1:")
    assert "connection refused" in str(error)
    assert error.reason is Refusal.NETWORK_UNREACHABLE


async def test_a_proxy_whose_name_is_unknown(language: str) -> None:
    error = await refused(ProxyUrl(language, HostPort("proxy.invalid", 1)))
    assert "the name is unknown" in str(error)


async def test_a_proxy_that_cannot_be_connected_to_in_time(language: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        error = await refused(ProxyUrl(language, HostPort(*full.getsockname())), timeout=0.2)
        for filler in fillers:
            filler.close()
    assert "no answer within 0.2 s" in str(error)
    assert isinstance(error, ProxyError)


async def test_no_descriptor_left_for_the_proxy(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("wraith.dialing.happy_eyeballs.socket.socket", exhausted)
    error = await refused(ProxyUrl(language, HostPort("127.0.0.1", 1)))
    assert error.reason is Refusal.RESOURCE_SHORTAGE


async def test_silence_of_the_proxy_itself(language: str) -> None:
    async with behaving(silence) as address:
        error = await refused(ProxyUrl(language, address), timeout=0.2)
    if language == "socks5":
        assert isinstance(error, ProxyError)
        assert "it said nothing within 0.2 s" in str(error)
    else:  # which says nothing before the destination has answered
        assert error.reason is Refusal.TIMED_OUT


async def test_silence_beyond_the_proxy(language: str) -> None:
    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(GRANTED[language][:-1]))
        await silence(reader, writer)

    async with behaving(waits) as address:
        error = await refused(ProxyUrl(language, address), timeout=0.2)
    assert isinstance(error, ChannelRefused)
    assert error.reason is Refusal.TIMED_OUT


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", r"unknown version|does not begin as HTTP/1"),
        (b"HTTP/1.1 abc\r\n\r\n", r"unknown version|not an HTTP/1 answer"),
        (b"", "ended the connection in the middle"),
        (b"H", r"unknown version|in the middle"),
        (b"\5", r"in the middle|does not begin"),
    ],
)
async def test_something_that_is_no_proxy(language: str, message: bytes, problem: str) -> None:
    async with behaving(says(message)) as address:
        error = await refused(ProxyUrl(language, address))
    assert type(error) is ProxyError
    kind = {"socks5": "a SOCKS5", "http": "an HTTP"}[language]
    assert f"does not answer as {kind} proxy does" in str(error)
    assert error.reason is Refusal.FAILED
    assert re.search(problem, str(error))


async def test_a_proxy_that_resets_the_connection(language: str) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with behaving(reset) as address:
        error = await refused(ProxyUrl(language, address))
    assert "broke the connection (connection reset by peer)" in str(error)


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        (TcpDestination("a\r\nX: y", 80), Refusal.NAME_UNKNOWN),
        (TcpDestination("", 80), Refusal.NAME_UNKNOWN),
        (TcpDestination("ü" * 200, 80), Refusal.NAME_UNKNOWN),
        (TcpDestination("\udcff", 80), Refusal.NAME_UNKNOWN),
        (TcpDestination("a", 65536), Refusal.FAILED),
    ],
)
async def test_what_no_proxy_is_asked_for(
    language: str, destination: TcpDestination, reason: Refusal
) -> None:
    with pytest.raises(ChannelRefused) as caught:
        await ViaProxy(ProxyUrl(language, HostPort("127.0.0.1", 1))).connect(destination, 5)
    assert caught.value.reason is reason


@pytest.mark.parametrize("after", [0.0, 0.05])
async def test_given_up_at_any_moment_it_leaves_nothing(language: str, after: float) -> None:
    async with behaving(silence) as address:
        task = asyncio.create_task(ViaProxy(ProxyUrl(language, address)).connect(SECRET, 5))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_it_introduces_itself_without_the_credentials(language: str) -> None:
    via = ViaProxy(ProxyUrl(language, HostPort("a", 1), ME))
    assert repr(via) == f"<ViaProxy {language}://a:1>"

"""Reaching a server's socket, and what is said of it."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from tests.support.upstream import upstream
from wraith.errors import (
    ProxyAuthenticationError,
    ProxyError,
    Refusal,
    TransportError,
    UsageError,
)
from wraith.transports import reaching
from wraith.transports.reaching import (
    dial_directly,
    dial_through,
    reach,
    server_address,
    server_option,
)
from wraith.values.address import HostPort
from wraith.values.credentials import Credentials
from wraith.values.proxy_url import ProxyUrl

SERVER = HostPort("gw.example.com", 22)


async def test_a_socket_that_leads_to_the_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = HostPort("127.0.0.1", server.getsockname()[1])
        with await reach(address, dial_directly, 5) as sock:
            assert sock.getpeername() == server.getsockname()
            assert not sock.getblocking()


async def test_whoever_does_not_answer_is_given_up() -> None:
    async def silent(_server: HostPort, timeout: float) -> socket.socket:
        async with asyncio.timeout(timeout):
            await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(TransportError, match=r"gw.example.com:22: no answer within 0.05 s"):
        await reach(SERVER, silent, 0.05)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ECONNREFUSED, ""), "connection refused: nothing listens on that port"),
        (socket.gaierror(socket.EAI_NONAME, ""), "the name is unknown"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route to host"),
        (OSError("odd"), "odd"),
    ],
)
async def test_each_failure_is_one_sentence(error: OSError, sentence: str) -> None:
    async def fails(_server: HostPort, _timeout: float) -> socket.socket:
        raise error

    with pytest.raises(TransportError) as caught:
        await reach(SERVER, fails, 5)
    assert caught.value.message.startswith(f"cannot reach gw.example.com:22: {sentence}")


async def test_a_sentence_that_the_dialer_has_already_stays() -> None:
    async def says(_server: HostPort, _timeout: float) -> socket.socket:
        raise TransportError("the proxy refused")

    with pytest.raises(TransportError, match=r"^the proxy refused$"):
        await reach(SERVER, says, 5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "no server given"), ("gw.example.com:0", "no server can have port 0")],
)
def test_a_server_that_cannot_be(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        server_address(text, 22)


def test_the_option_that_leads_to_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert server_address("gw.example.com", 443) == HostPort("gw.example.com", 443)
    assert server_option(HostPort("192.0.2.7", 22), 22) == ("--server", "192.0.2.7")
    assert server_option(HostPort("192.0.2.7", 22), 443) == ("--server", "192.0.2.7:22")
    assert server_option(HostPort("2001:db8::7", 443), 443) == ("--server", "[2001:db8::7]")
    monkeypatch.setattr(reaching, "_own_address", lambda: "192.0.2.1")
    for every in ("0.0.0.0", "::"):
        assert server_option(HostPort(every, 22), 22) == ("--server", "192.0.2.1")


LANGUAGES = pytest.mark.parametrize("language", ["socks5", "http"])


@LANGUAGES
async def test_a_server_whose_name_only_the_proxy_knows(language: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = HostPort("gw.test", server.getsockname()[1])
        async with upstream(names={"gw.test": "127.0.0.1"}) as proxy:
            with await reach(address, dial_through(proxy.url(language)), 5) as sock:
                assert sock.getpeername() == (proxy.address.host, proxy.address.port)


@LANGUAGES
@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (Refusal.PROHIBITED, "the proxy does not allow it"),
        (Refusal.REFUSED, "the server refused the connection: nothing listens on that port"),
        (Refusal.HOST_UNREACHABLE, "the proxy cannot reach the host, or does not know its name"),
        (Refusal.NETWORK_UNREACHABLE, "the proxy has no way to its network"),
        (Refusal.TIMED_OUT, "no answer in time"),
        (Refusal.FAILED, "the proxy could not, and does not say why"),
    ],
)
async def test_what_the_proxy_says_of_the_server(
    language: str, reason: Refusal, sentence: str
) -> None:
    async with upstream(refuses=reason) as proxy:
        url = proxy.url(language, Credentials("hunter1", "hunter2"))
        with pytest.raises(TransportError) as caught:
            await reach(SERVER, dial_through(url), 5)
    assert not isinstance(caught.value, ProxyError)
    where = f"{language}://{proxy.address}"
    assert str(caught.value) == (
        f"cannot reach gw.example.com:22 through the proxy {where}: {sentence}"
    )
    hinted = language == "http" and reason is Refusal.PROHIBITED
    assert (caught.value.hint is not None) == hinted


@LANGUAGES
async def test_the_faults_of_the_proxy_itself_are_told_apart(language: str) -> None:
    async with upstream(credentials=Credentials("me", "pwd")) as proxy:
        with pytest.raises(ProxyAuthenticationError, match="wants a user name"):
            await reach(SERVER, dial_through(proxy.url(language)), 5)
    with pytest.raises(ProxyError, match=f"cannot reach the proxy {language}://127.0.0.1:"):
        await reach(SERVER, dial_through(ProxyUrl(language, HostPort("127.0.0.1", 1))), 5)

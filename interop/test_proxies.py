"""Real proxies on the way to the server, and on the way from it to the destinations."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interop.peers import proxies, socks
from interop.peers.origins import Digest, Echo
from interop.peers.process import Process, wait_until
from interop.peers.proxies import FORBIDDEN, KINDS, Kind, Proxy, running
from interop.peers.roles import Address, ClientAsk, Pair, ServerAsk, unused_port
from interop.peers.stage import Stage, Tunnel
from interop.peers.tools import require_tool
from interop.peers.transfer import MEGABYTE, echo, exchange
from interop.peers.wraith import WraithServer
from wraith.server.options import ServeOptions
from wraith.testing import PROMISES, MakePair
from wraith.transports.base import PeerInfo, Transport
from wraith.transports.reaching import dial_through
from wraith.transports.tcp import TcpTransport
from wraith.transports.tls import TlsTransport
from wraith.transports.tls_trust import Trust
from wraith.values.address import parse_host_port
from wraith.values.proxy_url import parse_proxy_url

WRAITHS = Pair("wraith", "wraith")

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
every_login = pytest.mark.parametrize(
    ("kind", "credentials"),
    [
        (kind, credentials)
        for kind in KINDS
        for credentials in (False, True)
        if kind.takes_credentials or not credentials
    ],
    ids=lambda value: str(value) if isinstance(value, Kind) else "login" if value else "open",
)

LARGE = 200 * MEGABYTE


@pytest.fixture(scope="module")
def shared() -> Iterator[Mapping[Kind, Proxy]]:
    """Proxies without credentials that several stories use one after the other."""
    with Stage() as stage:
        yield {kind: running(stage, kind) for kind in KINDS}


# Every stream keeps every promise


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the TLS server of this process keeps the certificate that it makes."""
    monkeypatch.setenv("WRAITH_STATE_DIR", str(tmp_path / "state"))


@asynccontextmanager
async def proxied_pairs(proxy: Proxy, scheme: str) -> AsyncIterator[MakePair]:
    url = parse_proxy_url(proxy.url())
    assert url is not None
    dial = dial_through(url)
    accepted: list[asyncio.Protocol] = []

    def accept(_info: PeerInfo) -> asyncio.Protocol:
        return accepted.pop()

    async def make(
        left: asyncio.Protocol, right: asyncio.Protocol
    ) -> tuple[asyncio.Transport, asyncio.Transport]:
        accepted.append(right)
        address = parse_host_port(acceptor.addresses[0].removeprefix(f"{scheme}://"))
        transport: Transport = TcpTransport(address, dial)
        if scheme == "tls":
            transport = TlsTransport(address, Trust("gw", pin=acceptor.notes["tls pin"]), dial)
        stream = await transport.connect(lambda: left, timeout=5)
        while not hasattr(right, "stream"):
            await asyncio.sleep(0.01)
        return stream, right.stream

    listen = [f"{scheme}://127.0.0.1:0"]
    (acceptor,) = ServeOptions(listen=listen, tls_self_signed=scheme == "tls").acceptors()
    await acceptor.start(accept)
    try:
        yield make
    finally:
        await acceptor.close()


HALF_CLOSE = "a_half_close_lets_the_other_side_answer"


@pytest.mark.parametrize(
    ("kind", "scheme", "promise"),
    [
        pytest.param(kind, scheme, promise, id=f"{kind}-{scheme}-{promise.__name__}")
        for kind in KINDS
        for scheme in ("tcp", "tls")  # TLS ends a direction inside, where no proxy sees it
        for promise in PROMISES
        if kind.half_closes or scheme == "tls" or promise.__name__ != HALF_CLOSE
    ],
)
async def test_a_proxied_stream_keeps_every_promise(
    shared: Mapping[Kind, Proxy],
    state: None,
    kind: Kind,
    scheme: str,
    promise: Callable[[MakePair], Awaitable[None]],
) -> None:
    async with proxied_pairs(shared[kind], scheme) as make:
        await promise(make)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.half_closes], ids=str)
def test_where_a_half_close_is_lost_it_is_the_proxy_that_loses_it(
    shared: Mapping[Kind, Proxy], kind: Kind, far_digest: Digest
) -> None:
    """The same with curl's way of talking to a proxy: plain sockets, and nothing of ours."""
    with (
        plain_tunnel(shared[kind], far_digest.address) as stream,
        pytest.raises((EOFError, ConnectionError)),
    ):
        exchange(stream, up=10, down=10)


def plain_tunnel(proxy: Proxy, target: Address) -> socket.socket:
    if proxy.kind.scheme == "socks5":
        return socks.connect(proxy.address, target)
    stream = socket.create_connection(proxy.address, timeout=10)
    stream.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += stream.recv(1)
    assert b" 200 " in head
    return stream


# On the way to the server


def tunnel_through(stage: Stage, url: str, scheme: str) -> Tunnel:
    secret, key = stage.home("secret") / "proxy", stage.key()
    secret.write_text(url + "\n")
    tls = ["--tls-self-signed"] if scheme == "tls" else []
    server = stage.server("wraith", ServerAsk([key.public], transport=scheme, extra=tls))
    assert isinstance(server, WraithServer)
    trust = ["--transport", "tls", "--tls-pin", server.news["tls_pin"]] if tls else []
    ask = ClientAsk(extra=["--proxy", f"@{secret}", *trust])
    return Tunnel(server, stage.client("wraith", server, key, ask), key)


@every_login
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
@pytest.mark.timeout(300)
def test_a_tunnel_through_it_carries_much_and_comes_back(
    stage: Stage, kind: Kind, credentials: bool, scheme: str, far_digest: Digest, far_echo: Echo
) -> None:
    proxy = running(stage, kind, credentials=credentials)
    tunnel = tunnel_through(stage, proxy.url(), scheme)

    def transfer() -> None:
        with socks.connect(tunnel.client.socks, far_digest.address) as stream:
            exchange(stream, up=LARGE, down=LARGE)

    def works() -> bool:
        try:
            with socks.connect(tunnel.client.socks, far_echo.address) as stream:
                echo(stream)
        except (OSError, EOFError, socks.Refused):
            return False
        return True

    transfer()
    proxy.process.kill()
    proxy.start()
    wait_until(works, 15, "the tunnel is back, through the same proxy")
    transfer()


def connect_through(stage: Stage, proxy: str, server: Address, *options: str) -> Process:
    """Start `wraith connect` and let it decide for itself what to do."""
    key = stage.key()
    where = ["--server", str(server), "--proxy", proxy]
    who = ["--identity", str(key.path), "--socks5", "127.0.0.1:0"]
    return stage.process([require_tool("wraith"), "connect", *where, *who, *options])


def retried_because(process: Process, sentence: str) -> None:
    process.wait_for_log(lambda log: sentence in log)
    assert process.running


class TestTheClientSays:
    @every_kind
    def test_that_the_server_is_down(self, stage: Stage, kind: Kind) -> None:
        proxy = running(stage, kind)
        with unused_port() as closed:
            process = connect_through(stage, proxy.url(), closed)
            where = f"cannot reach {closed} through the proxy {proxy.bare_url}: "
            refused = "the server refused the connection"
            vague = "the proxy cannot reach the host"
            retried_because(process, where + (refused if kind.tells_refused else vague))

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.forbids], ids=str)
    def test_that_the_proxy_does_not_allow_it(self, stage: Stage, kind: Kind) -> None:
        process = connect_through(stage, running(stage, kind).url(), FORBIDDEN)
        retried_because(process, "the proxy does not allow it")

    @every_kind
    def test_that_the_proxy_is_down(self, stage: Stage, kind: Kind) -> None:
        with unused_port() as closed:
            process = connect_through(stage, f"{kind.scheme}://{closed}", Address("gw.test", 22))
            retried_because(
                process, f"cannot reach the proxy {kind.scheme}://{closed}: connection refused"
            )

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.takes_credentials], ids=str)
    @pytest.mark.parametrize("given", [True, False], ids=["wrong", "none"])
    def test_that_the_proxy_does_not_take_the_credentials(
        self, stage: Stage, kind: Kind, given: bool
    ) -> None:
        proxy = running(stage, kind, credentials=True)
        url = proxy.url(password="canary-wrong-71aa") if given else proxy.bare_url
        process = connect_through(stage, url, Address("127.0.0.1", 1))
        assert process.wait(15) == 1, process.log
        problem = "does not accept the user name" if given else "wants a user name"
        assert f"the proxy {proxy.bare_url} {problem}" in process.log
        assert "@FILE" in process.log, "the next step"
        assert "canary" not in process.log

    def test_that_it_is_no_such_proxy(self, stage: Stage) -> None:
        nowhere, patience = Address("127.0.0.1", 1), ("--connect-timeout", "2")
        http, socks5 = running(stage, proxies.TINYPROXY), running(stage, proxies.MICROSOCKS)
        process = connect_through(stage, f"socks5://{http.address}", nowhere, *patience)
        retried_because(process, "does not answer as a SOCKS5 proxy does: it said nothing")
        process = connect_through(stage, f"http://{socks5.address}", nowhere, *patience)
        retried_because(process, "does not answer as an HTTP proxy does")


# On the way to the destinations


def serving_through(stage: Stage, url: str, *extra: str, client: str = "wraith") -> Tunnel:
    secret = stage.home("secret") / "proxy"
    secret.write_text(url + "\n")
    ask = ServerAsk(extra=["--proxy", f"@{secret}", *extra])
    return stage.tunnel(Pair(client, "wraith"), ask)


@every_login
@pytest.mark.parametrize("client", ["wraith", "openssh"])
def test_destinations_are_reached_through_it(
    stage: Stage, kind: Kind, credentials: bool, client: str, far_echo: Echo
) -> None:
    proxy = running(stage, kind, credentials=credentials)
    tunnel = serving_through(stage, proxy.url(), client=client)
    for host in ("127.0.0.1", "localhost"):
        target = Address(host, far_echo.address.port)
        with socks.connect(tunnel.client.socks, target) as stream:
            echo(stream)
            echo(stream, b"x" * 100_000)
    proxy.stop()
    with pytest.raises((socks.Refused, OSError, EOFError, AssertionError)):
        socks.connect(tunnel.client.socks, far_echo.address).close()


class TestTheRepliesTell:
    @every_kind
    def test_a_closed_port_an_unknown_name_and_what_is_forbidden(
        self, stage: Stage, kind: Kind
    ) -> None:
        client = serving_through(stage, running(stage, kind).url()).client
        unreachable = socks.HOST_UNREACHABLE
        with unused_port() as closed:
            told = socks.CONNECTION_REFUSED if kind.tells_refused else unreachable
            assert socks.refusal(client.socks, closed) == told
        unknown = socks.refusal(client.socks, Address("nowhere.invalid", 80))
        assert unknown == (socks.GENERAL_FAILURE if kind is proxies.MICROSOCKS else unreachable)
        if kind.forbids:
            assert socks.refusal(client.socks, FORBIDDEN) == socks.NOT_ALLOWED

    @every_kind
    def test_a_proxy_that_is_down(self, stage: Stage, kind: Kind, far_echo: Echo) -> None:
        proxy = running(stage, kind)
        tunnel = serving_through(stage, proxy.url())
        proxy.process.kill()
        refusal = socks.refusal(tunnel.client.socks, far_echo.address)
        assert refusal == socks.NETWORK_UNREACHABLE
        log = tunnel.server.process.log
        assert f'upstream proxy fails reason="cannot reach the proxy {proxy.bare_url}' in log
        proxy.start()
        with socks.connect(tunnel.client.socks, far_echo.address) as stream:
            echo(stream)
        assert f"upstream proxy works proxy={proxy.bare_url}" in tunnel.server.process.log

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.takes_credentials], ids=str)
    def test_wrong_credentials(self, stage: Stage, kind: Kind, far_echo: Echo) -> None:
        proxy = running(stage, kind, credentials=True)
        tunnel = serving_through(stage, proxy.url(password="canary-wrong-71aa"))
        refusal = socks.refusal(tunnel.client.socks, far_echo.address)
        assert refusal == socks.GENERAL_FAILURE
        assert "does not accept the user name and the password" in tunnel.server.process.log


# Secrets


@pytest.mark.parametrize("kind", [proxies.MICROSOCKS, proxies.SQUID], ids=str)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_credentials_and_destinations_occur_in_no_output(
    stage: Stage, kind: Kind, log_format: str
) -> None:
    proxy = running(stage, kind, credentials=True)
    talkative = ["--log-level", "debug", "--log-format", log_format]
    far = stage.enter(Echo(Address("127.77.88.99", 0)))
    server = ServerAsk(extra=["--proxy", proxy.url(), *talkative])
    client = ClientAsk(extra=["--proxy", proxy.url(), "--connect-timeout", "1", *talkative])
    tunnel = stage.tunnel(WRAITHS, server, client)
    with socks.connect(tunnel.client.socks, far.address) as stream:
        echo(stream)
    for target in (Address("127.77.88.99", 1), Address("canary-name.invalid", 80)):
        socks.refusal(tunnel.client.socks, target)
    proxy.process.kill()
    socks.refusal(tunnel.client.socks, far.address)
    tunnel.client.process.wait_for_log(lambda log: "cannot reach the proxy" in log)
    tunnel.client.stop()
    tunnel.server.stop()
    tunnel.client.process.killed = tunnel.server.process.killed = True  # stopped by the story

    written = {path: path.read_text(errors="replace") for path in outputs(stage.folder)}
    assert any("auth" in text for text in written.values()), "the logs are really there"
    for path, text in written.items():
        for trace in ("canary", "Y2FuYXJ5", "127.77.88.99"):
            assert trace not in text, f"{path.name} tells {trace}"


def outputs(folder: Path) -> Iterator[Path]:
    """Every file that Wraith wrote: its logs, and its state and runtime folders."""
    for home in folder.glob("wraith*"):
        yield from home.glob("*.log")
        for kind in ("state", "run", "tmp"):
            yield from (path for path in (home / kind).rglob("*") if path.is_file())


# Chains


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
@pytest.mark.parametrize("language", ["socks5", "http"])
def test_two_wraiths_chained(stage: Stage, far_digest: Digest, language: str, scheme: str) -> None:
    """The second tunnel runs inside the first, by the port that speaks SOCKS5 and HTTP."""
    first = stage.tunnel(WRAITHS)
    second = tunnel_through(stage, f"{language}://{first.client.socks}", scheme)
    with socks.connect(second.client.socks, far_digest.address) as stream:
        exchange(stream, up=20 * MEGABYTE, down=20 * MEGABYTE)

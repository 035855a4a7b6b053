"""`wraith doctor connect`: the stages of a connection, each tried by itself, and nothing changed.

No host key is recorded, no port stays bound, and no remote forward is asked for. The stages follow
each other; where one fails for good, those behind it cannot be tried and are left out.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator

from wraith.client.connect import session_settings
from wraith.client.doctor_tls import examine_tls
from wraith.client.host_keys import HostKeys
from wraith.client.identities import Identities
from wraith.client.options import ConnectOptions
from wraith.dialing.base import Dialer
from wraith.dialing.direct import resolve
from wraith.dialing.happy_eyeballs import connect_first
from wraith.dialing.reasons import told
from wraith.errors import (
    AuthenticationError,
    ChannelRefused,
    HostKeyError,
    ListenError,
    Refusal,
    TransportError,
    WraithError,
)
from wraith.protocol.capabilities import UDP
from wraith.ssh.client_session import ClientSession, open_session, read_host_key
from wraith.ssh.keys import Identity
from wraith.streams.listening import try_to_bind
from wraith.transports.base import Transport
from wraith.values.address import HostPort, TcpDestination, UnixPath
from wraith.values.finding import Finding, fail, ok, warn

ECHO = TcpDestination("wraith-echo", 0)
DATAGRAMS = TcpDestination("wraith-udp", 0)

NOWHERE = TcpDestination("doctor.invalid", 80)
"""A name that nobody can have (RFC 2606), so that asking for it tells nobody anything."""

PATIENCE = 10.0
"""Seconds for one question to the server."""

_PROXY_VARIABLES = (
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
)


async def examine(options: ConnectOptions) -> AsyncIterator[Finding]:
    """Go through the stages, and tell of each as soon as it is known."""
    for finding in examine_ports(options):
        yield finding
    async for finding in _examine_way(options):
        yield finding
        if finding.verdict == "fail":
            return
    identities = Identities(options)
    try:
        keys = await identities.load()
        yield ok("identity", f"{len(keys)} key{'' if len(keys) == 1 else 's'} to offer")
        async for finding in _examine_session(options, keys):
            yield finding
    except WraithError as error:
        yield fail("identity", error)
    finally:
        await identities.close()


# What is on this machine


def examine_ports(options: ConnectOptions) -> Iterator[Finding]:
    """Whether the local ports are free, and what would leak past them."""
    address = options.socks5_address()
    wanted: list[tuple[str, HostPort | UnixPath]] = []
    if address is not None:
        wanted.append(("socks5", address))
    wanted += [("forward", spec.listen) for spec in options.parsed_local_forwards()]
    for stage, listen in wanted:
        try:
            try_to_bind(listen)
        except ListenError as error:
            hint = "if that is a client of yours, wraith status shows it; else choose another port"
            yield fail(stage, ListenError(error.message, hint=hint))
        else:
            yield ok(stage, f"{listen} is free")
    yield from _examine_environment()
    if options.parsed_remote_forwards():
        text = "remote forwards are not tried: the server would have to listen"
        yield warn("remote-forward", text, "wraith connect says at once whether they are granted")


def _examine_environment() -> Iterator[Finding]:
    for name in _PROXY_VARIABLES:
        scheme = os.environ.get(name, "").partition("://")[0].lower()
        if scheme in ("socks5", "socks4", "socks"):
            text = f"{name} begins with {scheme}://, with which programs resolve names themselves"
            better = "socks5h" if scheme != "socks4" else "socks4a"
            yield warn("dns", text, f"write {better}:// so that no query leaves this machine")


# The way to the server


async def _examine_way(options: ConnectOptions) -> AsyncIterator[Finding]:
    transport = options.make_transport()
    try:
        proxy = options.proxy_url()
        if proxy is not None:
            yield await _examine_proxy(proxy.address, options.connect_timeout)
        elif options.server:
            yield await _examine_name(options.known_host_name()[0])
        async for finding in _examine_stream(options, transport):
            yield finding
    finally:
        await transport.close()


async def _examine_name(host: str) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE):
            found = await resolve(host, 0)
    except TimeoutError:
        return fail("name", TransportError(f"the name {host} was not resolved in {PATIENCE:g} s"))
    except OSError as error:
        hint = "check the spelling, and this machine's DNS"
        return fail("name", TransportError(f"{host}: {told(error)}", hint=hint))
    addresses = list(dict.fromkeys(str(address[0]) for _, address in found))
    if addresses == [host]:
        return ok("name", f"{host} is an address")
    return ok("name", f"{host} is {', '.join(addresses[:4])}")


async def _examine_proxy(proxy: HostPort, timeout: float) -> Finding:
    try:
        async with asyncio.timeout(timeout):
            sock = await connect_first(await resolve(proxy.host, proxy.port))
    except TimeoutError:
        return fail("proxy", TransportError(f"the proxy {proxy} does not answer"))
    except OSError as error:
        return fail("proxy", TransportError(f"the proxy {proxy} cannot be reached: {told(error)}"))
    sock.close()
    return ok("proxy", f"{proxy} answers")


async def _examine_stream(options: ConnectOptions, transport: Transport) -> AsyncIterator[Finding]:
    stage = "tcp" if transport.name == "tls" else transport.name
    began = time.monotonic()
    try:
        stream = await transport.connect(asyncio.Protocol, options.connect_timeout)
    except WraithError as error:
        yield fail(transport.name, error)
        return
    took = (time.monotonic() - began) * 1000
    yield ok(stage, f"{transport.server} is reached in {took:.0f} ms")
    if transport.name == "tls":
        yield examine_tls(stream, insecure=options.insecure)
    stream.abort()


# The session


async def _examine_session(options: ConnectOptions, keys: list[Identity]) -> AsyncIterator[Finding]:
    transport = options.make_transport()
    try:
        async for finding in _examine_session_over(transport, options, keys):
            yield finding
    finally:
        await transport.close()  # not before: a session lives on what its transport holds


async def _examine_session_over(
    transport: Transport, options: ConnectOptions, keys: list[Identity]
) -> AsyncIterator[Finding]:
    host_keys = HostKeys(options)
    host_keys.load()
    settings = session_settings(options, transport.server, keys, host_keys)
    try:
        session = await open_session(
            lambda factory: transport.connect(factory, options.connect_timeout), settings
        )
    except HostKeyError as error:
        yield fail("host-key", error)
        return
    except AuthenticationError as error:
        yield ok("host-key", "the server's key is accepted")
        yield fail("authentication", error)
        return
    except WraithError as error:
        yield fail("session", error)
        return
    try:
        yield _examine_host_key(host_keys, session.host_key_blob)
        yield ok("authentication", f"{settings.user} may enter")
        for stage in (_examine_channel, _examine_datagrams, _examine_names):
            yield await stage(session)
    finally:
        await session.close()


def _examine_host_key(host_keys: HostKeys, blob: bytes) -> Finding:
    key, _ = read_host_key(blob)
    if host_keys.knows(blob):
        return ok("host-key", f"{key.fingerprint} is the one expected")
    hint = f"compare it with what the server prints on start: --host-key {key.fingerprint}"
    return warn("host-key", f"{key.fingerprint} is not on record yet", hint)


async def _examine_channel(session: ClientSession) -> Finding:
    if "Wraith" not in session.server_version:
        return warn(
            "channel",
            f"the server is {_printable(session.server_version)}, which has no echo to try",
            "connections are made as far as it allows them",
        )
    echo = _Echo()
    began = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            stream = await session.dial(ECHO, echo)
            stream.write(b"are you there")
            await echo.heard
    except ChannelRefused as error:
        hint = "the key's options or the server's rules leave wraith-echo out"
        return warn("channel", f"no test channel: {error.message}", hint)
    except (TimeoutError, OSError, WraithError):
        return fail("channel", TransportError("the server opened a channel and did not answer"))
    stream.close()
    took = (time.monotonic() - began) * 1000
    return ok("channel", f"a channel opened and answered in {took:.0f} ms")


async def _examine_datagrams(session: ClientSession) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE):
            offered = await session.capabilities()
    except TimeoutError:
        offered = frozenset()
    if UDP not in offered:
        text = "the server carries no datagrams"
        return warn("udp", text, "UDP ASSOCIATE is refused with reply 7, and programs fall back")
    reason = await _refusal_of(session, DATAGRAMS)
    if reason is None:
        return ok("udp", "the server carries datagrams")
    text = f"no datagrams with this key: {ChannelRefused(reason).message}"
    return warn("udp", text, "they need a permitopen, or a rule, that names wraith-udp")


async def _examine_names(session: ClientSession) -> Finding:
    reason = await _refusal_of(session, NOWHERE)
    if reason in (Refusal.NAME_UNKNOWN, Refusal.HOST_UNREACHABLE):
        return ok("dns", "names are resolved by the server, and none by this machine")
    if reason is Refusal.PROHIBITED:
        return ok("dns", "names are passed on to the server, which allows this key only some")
    text = "a name that cannot exist was not refused as unknown"
    return warn("dns", text, "the server's resolver may answer every name with an address")


async def _refusal_of(session: Dialer, destination: TcpDestination) -> Refusal | None:
    try:
        async with asyncio.timeout(PATIENCE):
            stream = await session.dial(destination, asyncio.Protocol())
    except ChannelRefused as error:
        return error.reason
    except (TimeoutError, WraithError):
        return Refusal.TIMED_OUT
    stream.abort()
    return None


def _printable(text: str) -> str:
    return "".join(character for character in text[:60] if character.isprintable())


class _Echo(asyncio.Protocol):
    """Hears something."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.heard.done():
            self.heard.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.heard.done():
            self.heard.set_exception(exc or ConnectionResetError("it ended"))
            self.heard.exception()

"""One table of destinations: the fast way and the ordinary one come to the same verdict."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import PATHS, ask_for, take
from wraith.errors import Refusal
from wraith.protocol.ssh_reason import encode_refusal
from wraith.ssh.certificates import sign_user_key
from wraith.ssh.keys import PrivateKey, generate
from wraith.testing import Loopback
from wraith.values.address import Destination, TcpDestination, UnixDestination


@dataclass(frozen=True)
class Place:
    """What a test has on this machine."""

    port: int
    """Of something that listens on 127.0.0.1."""

    closed: int
    """A port that nobody listens on."""

    path: str
    """A Unix socket that somebody listens on."""

    fingerprint: str
    """Of the client's key."""


Where = Callable[[Place], Destination]
Text = Callable[[Place], str]


def tcp(host: str, port: int | None = None) -> Where:
    return lambda place: TcpDestination(host, place.port if port is None else port)


def unix(path: str | None = None) -> Where:
    return lambda place: UnixDestination(place.path if path is None else path)


@dataclass(frozen=True)
class Case:
    name: str
    where: Where
    verdict: Refusal | None
    rules: Sequence[str | Text] = ()
    key: str | Text = ""
    """Options of the client's line in authorized_keys."""

    principals: tuple[str, ...] = ()
    """Of a certificate, with which the client then comes."""

    serve: dict[str, Any] = field(default_factory=dict)
    before: tuple[Where, ...] = ()
    """Destinations that were opened before, and stay open."""


OK = None
NO = Refusal.PROHIBITED

CASES = [
    # What no rule matches
    Case("an address", tcp("127.0.0.1"), OK),
    Case("a name", tcp("localhost"), OK),
    Case("a port that nobody listens on", lambda p: TcpDestination("127.0.0.1", p.closed),
         Refusal.REFUSED),
    Case("a name without an address", tcp("no-such.invalid", 80), Refusal.NAME_UNKNOWN),
    Case("a port beyond 16 bits", lambda p: TcpDestination("127.0.0.1", 65536 + p.port),
         Refusal.FAILED),
    Case("a port beyond 16 bits by name", lambda p: TcpDestination("localhost", 65536 + p.port),
         Refusal.FAILED),
    Case("metadata", tcp("169.254.169.254", 80), NO),
    Case("metadata as IPv6", tcp("fd00:ec2::254", 80), NO),
    Case("metadata in disguise", tcp("::ffff:169.254.169.254", 80), NO),
    Case("another cloud's metadata", tcp("168.63.129.16", 80), NO),
    Case("link-local", tcp("169.254.7.7", 80), NO),
    Case("link-local as IPv6", tcp("fe80::1", 80), NO),
    Case("a Unix path", unix(), NO),
    Case("a Unix path that is not there", unix("/nowhere/at/all"), NO),
    # Rules
    Case("denied by address", tcp("127.0.0.1"), NO, ["deny 127.0.0.1"]),
    Case("denied by address, asked by name", tcp("localhost"), NO, ["deny loopback"]),
    Case("denied by name", tcp("localhost"), NO, ["deny localhost"]),
    Case("denied by name, asked by address", tcp("127.0.0.1"), OK, ["deny localhost"]),
    Case("denied by name in other letters", tcp("LocalHost."), NO, ["deny localhost"]),
    Case("a dressed-up IPv4 address", tcp("::ffff:127.0.0.1"), NO, ["deny 127.0.0.0/8"]),
    Case("another spelling of the address", tcp("127.1"), NO, ["deny 127.0.0.0/8"]),
    Case("denied by port", tcp("127.0.0.1"), NO, [lambda p: f"deny *:{p.port}"]),
    Case("denied by port, asked beyond 16 bits",
         lambda p: TcpDestination("localhost", 65536 + p.port), Refusal.FAILED,
         [lambda p: f"deny *:{p.port}"]),
    Case("denied by another port", tcp("127.0.0.1"), OK, [lambda p: f"deny *:{p.closed}"]),
    Case("allowed before denied", tcp("127.0.0.1"), OK, ["allow 127.0.0.1", "deny *"]),
    Case("denied before allowed", tcp("127.0.0.1"), NO, ["deny loopback", "allow 127.0.0.1"]),
    Case("allowed by name, the address denied later", tcp("localhost"), OK,
         ["allow localhost", "deny *"]),
    Case("allowed by name, asked by address", tcp("127.0.0.1"), NO,
         ["allow localhost", "deny *"]),
    Case("a denied name is not resolved", tcp("no-such.invalid", 80), NO, ["deny *.invalid"]),
    Case("the rest turned round", tcp("no-such.invalid", 80), NO, ["deny *"]),
    Case("metadata allowed on purpose: nobody there", tcp("127.0.0.1"), OK, ["allow metadata"]),
    Case("a Unix path with a rule", unix(), OK, [lambda p: f"allow {p.path}"]),
    Case("a Unix path with a rule for its folder", unix(), OK,
         [lambda p: f"allow {Path(p.path).parent}/*"]),
    Case("a Unix path that leaves its folder",
         lambda p: UnixDestination(f"{Path(p.path).parent}/x/../../sock"), NO,
         [lambda p: f"allow {Path(p.path).parent}/*"]),
    Case("a Unix path that nobody listens on", unix("/nowhere/at/all"), Refusal.REFUSED,
         ["allow /nowhere/*"]),
    Case("a Unix path that is too long", unix("/nowhere/" + "x" * 200), Refusal.FAILED,
         ["allow /nowhere/*"]),
    # Rules for some
    Case("denied to this key", tcp("127.0.0.1"), NO, [lambda p: f"deny * key={p.fingerprint}"]),
    Case("denied to another key", tcp("127.0.0.1"), OK, ["deny * key=SHA256:" + "A" * 43]),
    Case("allowed to a principal", tcp("127.0.0.1"), OK,
         ["allow loopback principal=ops", "deny *"], principals=("tester", "ops")),
    Case("allowed to another principal", tcp("127.0.0.1"), NO,
         ["allow loopback principal=ops", "deny *"], principals=("tester", "dev")),
    Case("a user name is no principal", tcp("127.0.0.1"), NO,
         ["allow loopback principal=tester", "deny *"]),
    # Limits of the key
    Case("permitopen that names it", tcp("127.0.0.1"), OK,
         key=lambda p: f'permitopen="127.0.0.1:{p.port}"'),
    Case("permitopen for another port", tcp("127.0.0.1"), NO,
         key=lambda p: f'permitopen="127.0.0.1:{p.closed}"'),
    Case("permitopen by name, asked by address", tcp("127.0.0.1"), NO,
         key='permitopen="localhost:*"'),
    Case("permitopen by name", tcp("localhost"), OK, key='permitopen="localhost:*"'),
    Case("permitopen and a rule against it", tcp("localhost"), NO, ["deny loopback"],
         key='permitopen="localhost:*"'),
    Case("permitopen and a Unix path", unix(), NO, [lambda p: f"allow {p.path}"],
         key='permitopen="localhost:*"'),
    Case("permitopen for the Unix path", unix(), OK, [lambda p: f"allow {p.path}"],
         key=lambda p: f'permitopen="{p.path}"'),
    Case("no-port-forwarding", tcp("127.0.0.1"), NO, key="no-port-forwarding"),
    Case("restrict", tcp("127.0.0.1"), NO, key="restrict"),
    Case("restrict with port-forwarding", tcp("127.0.0.1"), OK, key="restrict,port-forwarding"),
    Case("restrict and a service", tcp("wraith-echo", 0), NO, key="restrict"),
    Case("permitopen and a service", tcp("wraith-echo", 0), NO, key='permitopen="localhost:*"'),
    Case("permitopen for the service", tcp("wraith-echo", 0), OK,
         key='permitopen="wraith-echo:*"'),
    # Names that only we answer
    Case("a service", tcp("wraith-echo", 0), OK),
    Case("a service at any port", tcp("Wraith-Echo", 7), OK),
    Case("a service at an impossible port", tcp("wraith-echo", 70_000), Refusal.FAILED),
    Case("a service that there is not", tcp("wraith-unheard-of", 0), NO),
    Case("a service against the rules", tcp("wraith-echo", 0), NO, ["deny wraith-*"]),
    Case("a service against all rules", tcp("wraith-echo", 0), NO, ["deny *"]),
    # Limits of the session
    Case("one channel too many", tcp("127.0.0.1"), Refusal.RESOURCE_SHORTAGE,
         serve={"max_channels": 2}, before=(tcp("127.0.0.1"), tcp("localhost"))),
    Case("as many channels as allowed", tcp("127.0.0.1"), OK,
         serve={"max_channels": 2}, before=(tcp("127.0.0.1"),)),
    Case("a service too many", tcp("wraith-echo", 0), Refusal.RESOURCE_SHORTAGE,
         serve={"max_channels": 1}, before=(tcp("wraith-echo", 0),)),
    Case("the only channel, for a service", tcp("wraith-echo", 0), OK, serve={"max_channels": 1}),
]  # fmt: skip


@asynccontextmanager
async def a_place(tmp_path: Path, key: PrivateKey) -> AsyncIterator[Place]:
    async def silence(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    path = str(tmp_path / "sock")
    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    unix_server = await asyncio.start_unix_server(silence, path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        try:
            yield Place(
                server.sockets[0].getsockname()[1],
                free.getsockname()[1],
                path,
                key.public.fingerprint,
            )
        finally:
            server.close()
            unix_server.close()
            await asyncio.sleep(0)


def said(text: str | Text, place: Place) -> str:
    return text if isinstance(text, str) else text(place)


def tunnel_for(case: Case, place: Place, key: PrivateKey, tmp_path: Path) -> Loopback:
    serve: dict[str, Any] = {"rules": [said(rule, place) for rule in case.rules], **case.serve}
    if case.principals:
        authority = generate("authority")
        (tmp_path / "ca.pub").write_text(authority.public.line())
        (tmp_path / "id").write_bytes(key.export())
        (tmp_path / "id").chmod(0o600)
        certificate = sign_user_key(
            key.public.line(), authority, principals=case.principals, valid_for="1h"
        )
        (tmp_path / "id-cert.pub").write_text(certificate)
        serve |= {"authorized_keys": b"", "cert_authority": [tmp_path / "ca.pub"]}
        identity: Path | bytes = tmp_path / "id"
    else:
        line = f"{said(case.key, place)} {key.public.line()}".strip()
        serve["authorized_keys"] = line.encode()
        identity = key.export()
    return Loopback(serve=serve, connect={"identity": [identity], "user": "tester"})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_every_way_comes_to_the_same_verdict_and_says_it_in_the_same_words(
    case: Case, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, path)
    key = generate()
    async with (
        a_place(tmp_path, key) as place,
        tunnel_for(case, place, key, tmp_path) as tunnel,
    ):
        kept = [await opened(tunnel, where(place)) for where in case.before]
        answer = await ask_for(tunnel.client, case.where(place))
        assert answer == (None if case.verdict is None else encode_refusal(case.verdict))
        for stream in kept:
            stream.abort()


async def opened(tunnel: Loopback, destination: Destination) -> asyncio.Transport:
    return await tunnel.client._manager.dial(destination, Unmoved())


class Unmoved(asyncio.Protocol):
    """Keeps its stream open whatever comes."""

    def eof_received(self) -> bool:
        return True


@pytest.mark.parametrize("path", PATHS)
async def test_a_refusal_leaves_no_channel_behind(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, path)
    async with Loopback(serve={"rules": ["deny loopback"], "max_channels": 2}) as tunnel:
        for _ in range(5):
            for host in ("127.0.0.1", "localhost", "wraith-unheard-of", "no-such.invalid"):
                assert await ask_for(tunnel.client, TcpDestination(host, 1)) is not None
        assert sum(peer.channel_count for peer in tunnel.server._peers) == 0
        assert await ask_for(tunnel.client, TcpDestination("wraith-echo", 0)) is None

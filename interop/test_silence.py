"""Destinations are never logged: a whole session at debug level, and every output searched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from interop.peers import socks
from interop.peers.origins import Echo
from interop.peers.roles import ANY_PORT, Address, ClientAsk, Pair, Place, ServerAsk
from interop.peers.stage import Stage, Tunnel
from interop.peers.transfer import echo, open_stream, read_to_end

pytestmark = pytest.mark.pairs(client="wraith", server="wraith")

CANARY = "127.77.88.99"
NAME = "canary-7f3a.test"
FORBIDDEN = "127.77.88.98"
UNKNOWN = "canary-7f3b.invalid"

TRACES = [
    CANARY,
    FORBIDDEN,
    "canary-7f3",
    "7f4d5863",
    r"\x7fMXc",
    "2135775331",
    "canary-path",
]
"""The destinations as text, as the bytes of a packet in hexadecimal and as Python prints them."""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_whole_session_names_no_destination(stage: Stage, pair: Pair, log_format: str) -> None:
    sockets = stage.home("sockets")
    tcp = stage.enter(Echo(Address(CANARY, 0)))
    unix = stage.enter(Echo(sockets / "canary-path"))
    talkative = ["--log-level", "debug", "--log-format", log_format]
    targets: list[Place] = [
        tcp.address,
        Address(NAME, tcp.address.port),
        Address(UNKNOWN, 80),
        Address(CANARY, 1),
        unix.place,
        sockets / "canary-path-missing",
        Address(FORBIDDEN, 80),
    ]
    tunnel = stage.tunnel(
        pair,
        ServerAsk(
            hosts={NAME: CANARY},
            unix_folder=sockets,
            extra=["--rule", f"deny {FORBIDDEN}", *talkative],
        ),
        ClientAsk(
            local=[(ANY_PORT, target) for target in targets],
            remote=[(ANY_PORT, target) for target in targets],
            extra=["--connect-timeout", "1", *talkative],
        ),
    )

    _visit_all(tunnel, targets)
    tunnel.server.process.kill()
    assert socks.refusal(tunnel.client.socks, tcp.address) == socks.GENERAL_FAILURE
    tunnel.server.start()
    tunnel.client.stop()
    tunnel.client.process.killed = True  # stopped before the stage does
    tunnel.server.stop()
    tunnel.server.process.killed = True

    written = {path: path.read_text(errors="replace") for path in _outputs(stage.folder)}
    assert any("auth" in text for text in written.values()), "the logs are really there"
    for path, text in written.items():
        for trace in TRACES:
            assert trace not in text, f"{path.name} names a destination: {trace}"


def _visit_all(tunnel: Tunnel, targets: list[Place]) -> None:
    proxy = tunnel.client.socks
    for target in targets:
        if isinstance(target, Path):
            continue
        with suppress(socks.Refused), socks.connect(proxy, target) as stream:
            echo(stream)
        with open_stream(proxy) as stream, suppress(OSError):
            stream.sendall(f"GET http://{target}/ HTTP/1.0\r\nHost: {target}\r\n\r\n".encode())
            stream.recv(1)
        with open_stream(proxy) as stream, suppress(OSError):
            stream.sendall(f"CONNECT {target} HTTP/9.9\r\n\r\n".encode())
            read_to_end(stream)
    for place in (*tunnel.client.local, *tunnel.client.remote):
        with open_stream(place) as stream, suppress(OSError, EOFError):
            echo(stream)


def _outputs(folder: Path) -> Iterator[Path]:
    """Every file that Wraith wrote: its logs, and its state and runtime folders."""
    for home in folder.glob("wraith*"):
        yield from home.glob("*.log")
        for kind in ("state", "run", "tmp"):
            yield from (path for path in (home / kind).rglob("*") if path.is_file())

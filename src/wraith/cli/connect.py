"""`wraith connect`: the client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import rich_click as click

from wraith.cli import report
from wraith.cli.options import (
    apply,
    command,
    common_options,
    iroh_options,
    option,
    ready_option,
    transport_option,
)
from wraith.errors import WraithError
from wraith.streams.log_line import log_event

if TYPE_CHECKING:
    from wraith.client.connect import Client
    from wraith.client.options import ConnectOptions

_log = logging.getLogger("wraith.client")

DRAIN = 2.0
"""Seconds that open connections get when the client stops."""

RUNNING = {
    "name": "How it runs",
    "options": [
        "--ready-fd",
        "--config",
        "--profile",
        "--log-level",
        "--log-format",
        "--version",
        "--help",
    ],
}

GROUPS = [
    {
        "name": "The server",
        "options": ["--server", "--peer", "--transport", "--proxy", "--iroh-relay", "--iroh-key"],
    },
    {"name": "Who we are", "options": ["--identity", "--user"]},
    {
        "name": "What it offers here",
        "options": ["--socks5", "--socks5-auth", "--socks5-open", "--forward", "--remote-forward"],
    },
    {"name": "Whom we trust", "options": ["--host-key", "--known-hosts", "--strict-host-key"]},
    {
        "name": "The TLS around it",
        "options": [
            "--tls-server-name",
            "--tls-ca",
            "--tls-pin",
            "--insecure",
            "--stealth-secret",
        ],
    },
    {
        "name": "When things go wrong",
        "options": ["--keepalive", "--connect-timeout", "--exit-on-forward-failure"],
    },
    RUNNING,
]

session_options = apply(
    option(
        "--server",
        metavar="HOST[:PORT]",
        default="",
        show_default=False,
        envvar="WRAITH_SERVER",
        help="The server; the port is 22 (tls: 443) unless given.",
    ),
    option(
        "--peer",
        metavar="ID",
        default="",
        show_default=False,
        help="The server as an iroh endpoint: its id, ID@ADDR:PORT, or a ticket.",
    ),
    transport_option("How to reach it."),
    iroh_options("a fresh key"),
    option(
        "--proxy",
        metavar="URL",
        show_default=False,
        help="Reach it through socks5://… or http://…; @FILE hides the credentials.",
    ),
    option(
        "--identity",
        "-i",
        multiple=True,
        metavar="PATH",
        envvar="WRAITH_IDENTITY",
        show_default="~/.ssh/id_ed25519, then the agent",
        help="Private key; a certificate beside it (-cert.pub) is used.",
    ),
    option(
        "--user",
        metavar="NAME",
        default="",
        show_default="login name",
        help="User to log in as.",
    ),
    option(
        "--host-key",
        metavar="SHA256:…",
        default="",
        show_default=False,
        help="The only host key to accept, as the server prints it on start.",
    ),
    option(
        "--known-hosts",
        metavar="PATH",
        show_default="<state>/known_hosts, then ~/.ssh/known_hosts",
        help="Host keys on record.",
    ),
    option(
        "--strict-host-key",
        is_flag=True,
        help="Refuse a server that is not on record, instead of recording it.",
    ),
    option(
        "--tls-server-name",
        metavar="NAME",
        default="",
        show_default="the server's",
        help="Name that its certificate must have.",
    ),
    option(
        "--tls-ca",
        metavar="PATH",
        show_default="the system's",
        help="Authorities to trust.",
    ),
    option(
        "--tls-pin",
        metavar="SHA256:…",
        default="",
        show_default=False,
        help="The only certificate key to accept, as the server prints it; enough by itself.",
    ),
    option(
        "--insecure",
        is_flag=True,
        help="Accept any certificate; the host key is still checked.",
    ),
    option(
        "--stealth-secret",
        metavar="FILE",
        help="Prove this secret first, to a server that asks for it.",
    ),
    option(
        "--keepalive",
        type=click.FloatRange(min=0, min_open=True),
        default=15.0,
        metavar="SECONDS",
        help="The server is dead when nothing has come for three times this.",
    ),
    option(
        "--connect-timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=10.0,
        metavar="SECONDS",
        help="For one attempt; and how long a new connection waits for a session.",
    ),
)

local_options = apply(
    option(
        "--socks5",
        metavar="ADDR:PORT",
        default="127.0.0.1:1080",
        help="The proxy: SOCKS5, SOCKS4a, HTTP CONNECT and /proxy.pac.",
    ),
    option(
        "--socks5-auth",
        metavar="USER:PASS",
        show_default=False,
        help="Credentials that the proxy demands.",
    ),
    option(
        "--socks5-open", is_flag=True, help="Allow a proxy beyond loopback without credentials."
    ),
    option(
        "--forward",
        "-L",
        "local_forwards",
        multiple=True,
        metavar="SPEC",
        help="[bind:]port:host:hostport, from here to there.",
    ),
    option(
        "--remote-forward",
        "-R",
        "remote_forwards",
        multiple=True,
        metavar="SPEC",
        help="[bind:]port[:host:hostport], from there to here; a port alone is a SOCKS5 proxy.",
    ),
    option(
        "--exit-on-forward-failure",
        is_flag=True,
        help="End if the server refuses a remote forward.",
    ),
)


@command(GROUPS)
@apply(session_options, local_options, ready_option, common_options)
def connect(log_level: str, log_format: str, ready_fd: int | None, **values: Any) -> None:
    """Open a tunnel: one SSH session, a SOCKS5 proxy and port forwards.

    The session is restored whenever it dies. Names are resolved on the server's side.
    """
    from wraith.cli import logs
    from wraith.client.options import ConnectOptions

    logs.configure(log_level, log_format)
    try:
        options = ConnectOptions(**values, retry_first_attempt=True, ask_passphrase=ask_passphrase)
    except WraithError as error:
        report.fail(error)
    report.run(lambda: _connect(options, ready_fd, human=log_format == "text"))


async def _connect(options: ConnectOptions, ready_fd: int | None, *, human: bool) -> int:
    from wraith.client.connect import Client

    client = Client(options)
    stop = report.Stop()
    stop.install(on_hangup=client.hurry)
    async with client, _status(client, human=human):
        announcing = asyncio.create_task(_announce(client, ready_fd, human=human))
        ended = asyncio.create_task(client.wait_closed())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (announcing, stopped):
            task.cancel()
        if ended.done():
            ended.result()
        ended.cancel()
        await client.close(DRAIN)
    return 0


@contextlib.asynccontextmanager
async def _status(client: Client, *, human: bool) -> AsyncIterator[None]:
    """What others may ask, and what stands on a terminal."""
    from wraith.cli import live_line
    from wraith.client.status_socket import open_status_socket

    async with contextlib.AsyncExitStack() as stack:
        try:
            socket = await open_status_socket(client.status)
            stack.callback(socket.close)
        except (WraithError, NotImplementedError, AttributeError) as error:
            # Not worth ending for; AttributeError is Windows, which has no such sockets.
            reason = getattr(error, "message", "this system has no Unix sockets")
            log_event(_log, logging.INFO, "status not offered", reason=reason)
        if live_line.is_wanted(human=human):
            await stack.enter_async_context(live_line.shown(client.status))
        yield


async def _announce(client: Client, ready_fd: int | None, *, human: bool) -> None:
    socks5 = [str(address) for address in client.socks5_addresses]
    local = [str(address) for address in client.local_forward_addresses]
    if human:
        _say_each("SOCKS5 proxy  ", socks5)
        _say_each("forward       ", local)
    try:
        await client.wait_connected()
    except WraithError:
        return  # told by `wait_closed`
    remote = [str(address) if address else None for address in client.remote_forward_addresses]
    facts: dict[str, object] = {
        "socks5": socks5[0] if socks5 else None,
        "local_forwards": local,
        "remote_forwards": remote,
    }
    report.ready(ready_fd, facts)
    if not human:
        report.ready(2, facts)
        return
    _say_each("remote forward", [address for address in remote if address])
    if socks5:
        curl = f"curl --socks5-hostname {socks5[0]} https://example.com/"
        report.say(f"\nconnected; try:  {curl}\n")


def _say_each(what: str, addresses: list[str]) -> None:
    for address in addresses:
        report.say(f"{what} {address}")


def ask_passphrase(name: str) -> str | None:
    """The passphrase of a locked key: from the environment, else from whoever sits there."""
    given = os.environ.get("WRAITH_PASSPHRASE")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        return None
    with report.signals_end_the_program():
        return str(click.prompt(f"Passphrase for {name}", hide_input=True, err=True))

"""`wraith serve`: the server."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rich_click as click

from wraith.cli import report
from wraith.cli.connect import RUNNING
from wraith.cli.options import (
    Line,
    apply,
    command,
    common_options,
    iroh_options,
    option,
    read_again,
    ready_option,
    transport_option,
)
from wraith.streams.log_line import log_event
from wraith.transports.acme_options import LETS_ENCRYPT

if TYPE_CHECKING:
    from wraith.server.options import ServeOptions
    from wraith.server.serve import Server
    from wraith.server.workers.supervisor import Supervisor

_log = logging.getLogger("wraith.server")

MAX_WORKERS = 256
"""More than any machine has processors for."""

GROUPS = [
    {
        "name": "Where to listen",
        "options": ["--listen", "--transport", "--iroh-relay", "--iroh-key", "--trust-proxy"],
    },
    {
        "name": "Who may enter",
        "options": [
            "--key",
            "--authorized-keys",
            "--authorize",
            "--cert-authority",
            "--revoked-keys",
        ],
    },
    {"name": "TLS", "options": ["--tls-cert", "--tls-key", "--tls-self-signed"]},
    {
        "name": "TLS certificates by ACME",
        "options": [
            "--acme-domain",
            "--acme-email",
            "--acme-directory",
            "--acme-ca",
            "--acme-http",
        ],
    },
    {
        "name": "Who is not let in",
        "options": ["--stealth", "--stealth-upstream", "--stealth-secret"],
    },
    {"name": "Where they may go", "options": ["--rule", "--proxy", "--remote-forwards"]},
    {"name": "Event bus", "options": ["--bus"]},
    {
        "name": "Limits",
        "options": [
            "--max-connections-per-ip",
            "--max-auth-attempts",
            "--max-channels",
            "--max-startups",
            "--max-startups-per-ip",
            "--login-grace",
            "--keepalive",
        ],
    },
    {"name": "Scale", "options": ["--workers"]},
    {"name": "What it tells", "options": ["--metrics"]},
    RUNNING,
]

serve_options = apply(
    option(
        "--listen",
        multiple=True,
        metavar="ADDR:PORT",
        show_default="port 22 (tls: 443) of every interface",
        help="Address to listen on, also as tcp://…, tls://… or iroh://; port 0 takes a free one.",
    ),
    transport_option("Transport of addresses without a scheme."),
    iroh_options("<state>/iroh.key, made on first start"),
    option(
        "--trust-proxy",
        multiple=True,
        metavar="CIDR",
        show_default=False,
        help="Load balancers that say by the PROXY protocol, v1 or v2, for whom they connect.",
    ),
    option(
        "--key",
        metavar="PATH",
        show_default="<state>/host_ed25519, made on first start",
        help="SSH host key.",
    ),
    option(
        "--authorized-keys",
        metavar="PATH",
        show_default="~/.ssh/authorized_keys",
        help="Keys that may enter, in OpenSSH's format with its options.",
    ),
    option(
        "--authorize",
        multiple=True,
        type=Line(),
        metavar="'ssh-ed25519 …'",
        help="One public key that may enter.",
    ),
    option(
        "--cert-authority",
        multiple=True,
        metavar="PATH",
        help="Public keys of authorities whose user certificates are trusted.",
    ),
    option(
        "--revoked-keys", metavar="PATH", help="Keys that may not enter: an OpenSSH KRL or a list."
    ),
    option("--tls-cert", metavar="PATH", help="TLS certificate with its chain, PEM."),
    option("--tls-key", metavar="PATH", help="Its key, if not in the same file."),
    option("--tls-self-signed", is_flag=True, help="Make a TLS certificate and keep it."),
    option("--stealth", is_flag=True, help="Who does not speak SSH inside TLS meets nginx."),
    option(
        "--stealth-upstream",
        metavar="URL",
        help="Real web server for them, such as https://127.0.0.1:8443[?proxy_protocol=1].",
    ),
    option(
        "--stealth-secret",
        metavar="FILE",
        help="Only who proves this secret may speak SSH at all.",
    ),
    option(
        "--acme-domain",
        multiple=True,
        metavar="NAME",
        help="Name or address to get a certificate for; agrees to the authority's terms.",
    ),
    option(
        "--acme-email",
        metavar="ADDRESS",
        default="",
        show_default=False,
        help="How the authority may reach you.",
    ),
    option(
        "--acme-directory",
        metavar="URL",
        default=LETS_ENCRYPT,
        show_default="Let's Encrypt",
        help="The authority.",
    ),
    option("--acme-ca", metavar="PATH", help="Who vouches for the authority itself, PEM."),
    option(
        "--acme-http",
        metavar="ADDR:PORT",
        show_default="by TLS on the listening port",
        help="Answer its challenges by HTTP here; port 80 must lead to it.",
    ),
    option(
        "--rule",
        "rules",
        multiple=True,
        type=Line(),
        metavar="'allow|deny PATTERN'",
        help="Access rule; the first that matches decides.",
    ),
    option(
        "--proxy",
        metavar="URL",
        show_default=False,
        help="Reach destinations through socks5://… or http://…; @FILE hides its credentials.",
    ),
    option(
        "--remote-forwards",
        type=click.Choice(["off", "loopback", "any"]),
        default="loopback",
        help="Addresses that -R may bind.",
    ),
    option(
        "--bus",
        default="memory://",
        metavar="URL",
        help="Where the event bus meets other servers: memory:// for nowhere, or redis://…",
    ),
    option(
        "--max-connections-per-ip",
        type=click.IntRange(min=0),
        default=0,
        show_default="no limit",
        metavar="N",
        help="Connections from one address at a time.",
    ),
    option(
        "--max-auth-attempts",
        type=click.IntRange(min=1),
        default=10,
        metavar="N",
        help="Failed attempts before disconnect.",
    ),
    option(
        "--max-channels",
        type=click.IntRange(min=1),
        default=1024,
        metavar="N",
        help="Channels of one session.",
    ),
    option(
        "--max-startups",
        type=click.IntRange(min=1),
        default=100,
        metavar="N",
        help="Unauthenticated connections in all.",
    ),
    option(
        "--max-startups-per-ip",
        type=click.IntRange(min=1),
        default=20,
        metavar="N",
        help="Unauthenticated connections from one address (IPv6: one /64).",
    ),
    option(
        "--login-grace",
        type=click.FloatRange(min=0, min_open=True),
        default=30.0,
        metavar="SECONDS",
        help="Time to authenticate.",
    ),
    option(
        "--keepalive",
        type=click.FloatRange(min=0, min_open=True),
        default=15.0,
        metavar="SECONDS",
        help="A client is dead when nothing has come for three times this.",
    ),
    option(
        "--metrics",
        metavar="ADDR:PORT",
        show_default="off",
        help="Show counts as Prometheus text at http://ADDR:PORT/metrics.",
    ),
    option(
        "--workers",
        type=click.IntRange(min=1, max=MAX_WORKERS),
        default=1,
        metavar="N",
        help="Processes that share the listening ports and serve together; tcp and tls only.",
    ),
    ready_option,
    common_options,
)


@command(GROUPS)
@serve_options
@click.pass_context
def serve(
    ctx: click.RichContext,
    /,
    log_level: str,
    log_format: str,
    ready_fd: int | None,
    workers: int,
    **values: Any,
) -> None:
    """Run the server: the way out of the tunnel.

    It speaks SSH. Clients are `wraith connect` or a stock `ssh -D`; they get connections to where
    the rules allow, and never a shell.
    """
    from wraith.cli import logs
    from wraith.cli.systemd import inherited_acceptors
    from wraith.errors import UsageError, WraithError
    from wraith.policy.trusted_proxies import TrustedProxies
    from wraith.server.options import ServeOptions

    logs.configure(log_level, log_format)
    try:
        trusted = TrustedProxies.parse(values["trust_proxy"])
        inherited, named = inherited_acceptors(trusted), values.pop("listen")
        if inherited and not named and values["transport"] != "tcp":
            raise UsageError(
                f"the sockets that were handed over serve TCP, not {values['transport']}",
                hint="leave out --transport, or say where to listen with --listen",
            )
        listen = [*inherited, *named]
        options = ServeOptions(listen=listen, **values)
        make = _one(options) if workers == 1 else _several(options, workers, log_level, log_format)
    except WraithError as error:
        report.fail(error)
    report.run(lambda: _serve(ctx, make, ready_fd, human=log_format == "text"))


Make = Callable[[], "Server | Supervisor"]


def _one(options: ServeOptions) -> Make:
    from wraith.server.serve import Server

    return lambda: Server(options)


def _several(options: ServeOptions, count: int, level: str, style: str) -> Make:
    """Raises `UsageError` for what several processes cannot serve together."""
    from wraith.server.workers.orders import check_shareable
    from wraith.server.workers.supervisor import Supervisor

    check_shareable(options)
    return lambda: Supervisor(options, count, (level, style))


async def _serve(
    ctx: click.Context,
    make: Make,
    ready_fd: int | None,
    *,
    human: bool,
) -> int:
    from wraith.cli import systemd

    server = make()
    stop = report.Stop()
    async with server:
        stop.install(on_hangup=lambda: _reload(ctx, server))
        _announce(server, ready_fd, human=human)
        systemd.notify("READY=1")
        await stop.wait()
        systemd.notify("STOPPING=1")
    return 0


def _reload(ctx: click.Context, server: Server | Supervisor) -> None:
    """Read the configuration file and the keys again; what is bad keeps its old values."""
    from wraith.cli import systemd
    from wraith.errors import WraithError
    from wraith.server.options import ServeOptions

    systemd.notify_reloading()
    try:
        values = read_again(ctx)
        known = {field.name for field in dataclasses.fields(ServeOptions)}
        server.reload(ServeOptions(**{name: values[name] for name in known & values.keys()}))
    except (WraithError, click.ClickException) as error:
        log_event(_log, logging.ERROR, "options not reloaded", reason=error.message)
        server.reload()
    systemd.notify("READY=1")


def _announce(server: Server | Supervisor, ready_fd: int | None, *, human: bool) -> None:
    commands = connect_commands(server)
    facts: dict[str, object] = {
        "listen": list(server.listen_addresses),
        "metrics": str(server.metrics_address) if server.metrics_address else None,
        "host_key": server.host_key_fingerprint,
        "connect": commands[0] if commands else None,
        **{name.replace(" ", "_"): text for name, text in server.notes.items()},
    }
    report.ready(ready_fd, facts)
    if not human:
        report.ready(2, facts)
        return
    made = "  (new)" if server.host_key_created else ""
    for url in server.listen_addresses:
        report.say(f"listening on   {url}")
    report.say(f"host key       {server.host_key_fingerprint}{made}")
    if server.metrics_address is not None:
        report.say(f"metrics        http://{server.metrics_address}/metrics")
    for name, text in server.notes.items():
        report.say(f"{name:<14} {text}")
    which = "On the other machine, one of" if len(commands) > 1 else "On the other machine"
    report.say("\n".join([f"\n{which}:\n", *(f"  {line}" for line in commands), ""]))


def connect_commands(server: Server | Supervisor) -> list[str]:
    """The lines to paste on the other side, one for each way in."""
    return [
        shlex.join(["wraith", "connect", *options, "--host-key", server.host_key_fingerprint])
        for options in server.invitations
    ]

"""`wraith demo`: a whole tunnel on this machine, with throw-away keys, in one command."""

from __future__ import annotations

import rich_click as click

from wraith.cli.options import command, option


@command([{"name": "The demonstration", "options": ["--keep", "--megabytes"]}])
@option("--keep", is_flag=True, help="Leave the proxy up until Ctrl-C.")
@option("--megabytes", type=click.IntRange(1, 4096), default=16, metavar="N", help="How much.")
def demo(keep: bool, megabytes: int) -> None:
    """Show a whole tunnel on this machine: server, client, and a download through the proxy.

    It starts `wraith serve` and `wraith connect` with throw-away keys, and a web server for them
    to reach; fetches from it by name through the SOCKS5 port, and checks what arrived.
    """
    from wraith.cli.demo_tunnel import run_demo

    run_demo(keep=keep, megabytes=megabytes)

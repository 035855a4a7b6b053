"""The command line: a thin layer over `ConnectOptions` and `ServeOptions`.

The commands import what they run when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import rich_click as click

from wraith._version import __version__
from wraith.cli.connect import connect
from wraith.cli.demo import demo
from wraith.cli.keygen import keygen
from wraith.cli.serve import serve
from wraith.cli.stream import stream


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wraith")
def cli() -> None:
    """An SSH tunnel with the reach of a VPN: a SOCKS5 proxy and port forwards, without root.

    \b
    On the machine to come out of:  wraith serve
    On your own:                    wraith connect --server HOST
    Everything, on this machine:    wraith demo
    """


for command in (serve, connect, stream, keygen, demo):
    cli.add_command(command)


def main() -> None:
    """Run the command line; the entry point of the `wraith` script."""
    cli(auto_envvar_prefix="WRAITH")


__all__ = ["cli", "main"]

"""The command line: a thin layer over `ConnectOptions` and `ServeOptions`.

The commands import what they run when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Any

import rich_click as click

from wraith.cli import report
from wraith.cli.connect import connect
from wraith.cli.demo import demo
from wraith.cli.doctor import doctor
from wraith.cli.engine import engine
from wraith.cli.keygen import keygen
from wraith.cli.options import version_option
from wraith.cli.serve import serve
from wraith.cli.status import status
from wraith.cli.stream import stream
from wraith.cli.worker import worker


class Wraith(click.RichGroup):
    """The commands; a usage error is told like any other, in a sentence with a next step."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """As click's, in standalone mode."""
        try:
            sys.exit(super().main(*args, **{**extra, "standalone_mode": False}) or 0)
        except click.ClickException as error:
            report.misused(error)
        except click.Abort:
            sys.exit(1)
        except BrokenPipeError:
            report.nobody_reads()


@click.group(
    cls=Wraith,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "WRAITH"},
)
@version_option
def cli() -> None:
    """An SSH tunnel with the reach of a VPN: a SOCKS5 proxy and port forwards, without root.

    \b
    On the machine to come out of:  wraith serve
    On your own:                    wraith connect --server HOST
    Everything, on this machine:    wraith demo
    """


for _command in (serve, connect, status, doctor, stream, keygen, demo, engine, worker):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; the entry point of the `wraith` script."""
    cli()


__all__ = ["cli", "main"]

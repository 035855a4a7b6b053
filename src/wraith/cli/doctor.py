"""`wraith doctor`: the stages of a connection or of a start, each with the next step."""

from __future__ import annotations

from typing import Any

import rich_click as click

from wraith.cli import report
from wraith.cli.connect import GROUPS as CONNECT_GROUPS
from wraith.cli.connect import ask_passphrase, local_options, session_options
from wraith.cli.options import apply, command, common_options
from wraith.cli.serve import GROUPS as SERVE_GROUPS
from wraith.cli.serve import serve_options
from wraith.values.finding import Finding, Verdict

_SHOWN = {
    Verdict.OK: ("ok  ", "green"),
    Verdict.WARN: ("warn", "yellow"),
    Verdict.FAIL: ("FAIL", "red"),
}


class Doctor(click.RichGroup):
    """`connect`, unless `serve` is asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; options without a subcommand are those of `connect`."""
        if args and args[0] not in (*self.commands, "--help", "-h", "--version"):
            args = ["connect", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Doctor)
def doctor() -> None:
    """Find out where a connection, or a server's start, fails, and what to do next.

    \b
    wraith doctor --server HOST …      the way to a server, stage by stage
    wraith doctor serve --listen …     what a server needs on its start

    It takes the options of the command that is not well, and changes nothing.
    """


@command(CONNECT_GROUPS)
@apply(session_options, local_options, common_options)
def connect(log_level: str, log_format: str, **values: Any) -> None:
    """Examine the way to a server: name, proxy, TCP, TLS, host key, authentication, channels."""
    from wraith.cli import logs
    from wraith.client.options import ConnectOptions
    from wraith.errors import WraithError

    logs.configure("error" if log_level == "info" else log_level, log_format)
    try:
        options = ConnectOptions(**values, ask_passphrase=ask_passphrase)
    except WraithError as error:
        report.fail(error)
    report.run(lambda: _connect(options))


async def _connect(options: Any) -> int:
    from wraith.client.doctor import examine

    return _sum_up([_show(finding) async for finding in examine(options)])


@command(SERVE_GROUPS)
@serve_options
def serve(
    log_level: str, log_format: str, ready_fd: int | None, workers: int, **values: Any
) -> None:
    """Examine what a server needs on its start: keys, ports, rules, limits of the system."""
    from wraith.cli import logs
    from wraith.errors import WraithError
    from wraith.server.doctor import examine
    from wraith.server.options import ServeOptions
    from wraith.server.workers.orders import check_shareable

    logs.configure("warning" if log_level == "info" else log_level, log_format)
    try:
        options = ServeOptions(**values)
        if workers > 1:
            check_shareable(options)
    except WraithError as error:
        report.fail(error)
    raise SystemExit(_sum_up([_show(finding) for finding in examine(options)]))


doctor.add_command(connect)
doctor.add_command(serve)


def _show(finding: Finding) -> Verdict:
    word, colour = _SHOWN[finding.verdict]
    click.echo(f"{click.style(word, fg=colour)}  {finding.stage:<16} {finding.text}")
    if finding.hint:
        click.echo(f"      {'':<16} → {finding.hint}")
    return finding.verdict


def _sum_up(verdicts: list[Verdict]) -> int:
    """The exit code: 1 if anything failed."""
    return int(Verdict.FAIL in verdicts)

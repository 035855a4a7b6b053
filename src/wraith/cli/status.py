"""`wraith status`: what the running clients of this user say of themselves."""

from __future__ import annotations

import json
import sys

import rich_click as click

from wraith.cli import report
from wraith.cli.options import command, option

GROUPS = [{"name": "How it is shown", "options": ["--json", "--version", "--help"]}]


@command(GROUPS)
@option("--json", "as_json", is_flag=True, help="One JSON object for each client, on a line.")
def status(as_json: bool) -> None:
    """Show the session of each running `wraith connect`, and what its interfaces carry.

    Connections and bytes are counted for each interface, and never for a destination. The exit code
    is 1 when no client runs, or none of them has a session.
    """
    from wraith.client.status import InterfaceStatus, Status
    from wraith.client.status_socket import ask_all
    from wraith.errors import WraithError

    try:
        answers = ask_all()
    except WraithError as error:
        report.fail(error)
    if not answers:
        report.fail(
            WraithError("no client of this user is running", hint="start one with: wraith connect")
        )
    for number, answer in answers.items():
        if as_json:
            click.echo(json.dumps({"pid": number, **answer}))
            continue
        interfaces = answer.pop("interfaces", ())
        assert isinstance(interfaces, list)
        each = tuple(InterfaceStatus(**item) for item in interfaces)
        _show(number, Status(**answer, interfaces=each))  # type: ignore[arg-type]
    if not any(answer.get("state") == "connected" for answer in answers.values()):
        sys.exit(1)


def _show(number: int, status: object) -> None:
    from wraith.cli.wording import headline, table
    from wraith.client.status import Status

    assert isinstance(status, Status)
    click.echo(f"[{number}] {headline(status)}")
    if status.interfaces:
        click.echo("\n".join(f"  {line}" for line in table(status)))

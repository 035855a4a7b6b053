"""`wraith keygen`: a key pair, or a certificate for somebody else's key."""

from __future__ import annotations

import getpass
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from wraith.cli import report
from wraith.cli.options import command, option

if TYPE_CHECKING:
    from wraith.ssh.keys import PrivateKey

GROUPS = [
    {"name": "A key pair", "options": ["--output", "--comment", "--passphrase"]},
    {
        "name": "A certificate",
        "options": ["--certificate", "--ca", "--principal", "--valid-for", "--key-id", "--serial"],
    },
]


@command(GROUPS)
@option("--output", "-o", metavar="PATH", default="~/.ssh/id_ed25519", help="Where the key goes.")
@option("--comment", metavar="TEXT", show_default="user@host", help="Comment in the public key.")
@option("--passphrase", is_flag=True, help="Ask for a passphrase that locks the key.")
@option(
    "--certificate",
    metavar="PUBKEY",
    help="Sign this user key instead; the certificate is written beside it.",
)
@option("--ca", metavar="KEY", help="The authority's private key.")
@option("--principal", "principals", multiple=True, metavar="NAME", help="User it may log in as.")
@option("--valid-for", metavar="TIME", default="52w", help="Such as 12h, 30d or 52w.")
@option("--key-id", metavar="TEXT", default="", show_default="the comment", help="Name for logs.")
@option("--serial", type=click.IntRange(min=0), default=0, metavar="N", help="Serial number.")
def keygen(
    output: str,
    comment: str | None,
    passphrase: bool,
    certificate: str | None,
    ca: str | None,
    principals: tuple[str, ...],
    valid_for: str,
    key_id: str,
    serial: int,
) -> None:
    """Make an Ed25519 key pair in OpenSSH's format, or sign a user's key with a CA."""
    from wraith.errors import WraithError

    try:
        if certificate is None:
            _make_pair(Path(output).expanduser(), comment, ask=passphrase)
        else:
            if ca is None or not principals:
                raise click.UsageError("--certificate needs --ca KEY and at least one --principal")
            _sign(Path(certificate), Path(ca), principals, valid_for, key_id, serial)
    except WraithError as error:
        report.fail(error)


def _make_pair(path: Path, comment: str | None, *, ask: bool) -> None:
    from wraith.ssh.keys import generate

    public_path = path.with_name(path.name + ".pub")
    lock = (
        click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
        if ask
        else None
    )
    key = generate(comment or f"{getpass.getuser()}@{socket.gethostname()}")
    _write_pair(path, public_path, key, lock)
    click.echo(f"private key   {path}", err=True)
    click.echo(f"public key    {public_path}", err=True)
    click.echo(f"fingerprint   {key.public.fingerprint}", err=True)
    click.echo("\nLet it in by adding this line to the server's authorized_keys:\n", err=True)
    click.echo(f"{key.public.line()} {key.comment}")


def _write_pair(path: Path, public_path: Path, key: PrivateKey, passphrase: str | None) -> None:
    from wraith.errors import UsageError
    from wraith.state.files import write_private

    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if public_path.exists():
            raise FileExistsError(public_path)
        write_private(path, key.export(passphrase))
        public_path.write_text(f"{key.public.line()} {key.comment}\n", encoding="utf-8")
    except FileExistsError:
        raise UsageError(
            f"{path} is there already, and is not overwritten",
            hint="name another file with --output",
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}"
        ) from error


def _sign(
    public_path: Path,
    ca_path: Path,
    principals: tuple[str, ...],
    valid_for: str,
    key_id: str,
    serial: int,
) -> None:
    from wraith.cli.connect import ask_passphrase
    from wraith.errors import UsageError
    from wraith.ssh.certificates import sign_user_key
    from wraith.ssh.keys import read_private_key

    authority = read_private_key(ca_path.expanduser(), ask_passphrase)
    try:
        public_line = public_path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"cannot read {public_path}: {reason.lower()}") from None
    text = sign_user_key(
        public_line,
        authority,
        principals=principals,
        valid_for=valid_for,
        key_id=key_id,
        serial=serial,
    )
    stem = public_path.name.removesuffix(".pub")
    target = public_path.expanduser().with_name(f"{stem}-cert.pub")
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot write {target}: {reason}") from error
    click.echo(f"certificate   {target}", err=True)
    sys.stdout.write(text)

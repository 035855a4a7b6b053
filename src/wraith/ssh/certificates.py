"""Signing user certificates (OpenSSH's PROTOCOL.certkeys, ssh-keygen(1) CERTIFICATES)."""

from __future__ import annotations

from collections.abc import Sequence

import asyncssh

from wraith.errors import UsageError
from wraith.ssh.keys import PrivateKey


def sign_user_key(
    public_line: str,
    authority: PrivateKey,
    *,
    principals: Sequence[str],
    valid_for: str,
    key_id: str = "",
    serial: int = 0,
) -> str:
    """The certificate, as a line for a `-cert.pub` file.

    `valid_for` is a time as in sshd_config(5), such as `12h` or `52w`, from now. It permits port
    forwarding and nothing else, since a Wraith server has nothing else. Raises `UsageError`.
    """
    try:
        key = asyncssh.import_public_key(public_line)
    except (asyncssh.KeyImportError, ValueError) as error:
        raise UsageError(f"that is not a public key: {error}") from None
    try:
        certificate = authority.library_key.generate_user_certificate(
            key,
            key_id or str(key.get_comment() or "wraith"),
            serial=serial,
            principals=list(principals),
            valid_after="-60s",
            valid_before=f"+{valid_for}",
            permit_x11_forwarding=False,
            permit_agent_forwarding=False,
            permit_port_forwarding=True,
            permit_pty=False,
            permit_user_rc=False,
        )
    except ValueError:
        raise UsageError(
            f"cannot use the time {valid_for!r}", hint="write it like 12h, 30d or 52w"
        ) from None
    return str(certificate.export_certificate("openssh").decode()).rstrip("\n") + "\n"

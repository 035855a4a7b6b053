"""Is this one of ours, or a stranger? Decided on the first bytes, and without saying a word.

Twice: on the very first byte of a connection, whether it begins TLS at all; and on the first
record inside TLS. Ours come in one record: the SSH identification (RFC 4253, section 4.2), or the
proof of a secret. Who sends less is a stranger at once, because the server that we resemble does
not wait for more either: it answers a 400 as soon as a digit follows `SSH-`.
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.protocol import stealth_proof

SSH_BEGINS = b"SSH-2.0-"

_TLS_HANDSHAKE = 0x16
_SSL2 = 0x80


def begins_tls(first: int) -> bool:
    """Whether a connection's first byte begins TLS, or SSL 2, as nginx tells them from plain text.

    The TLS library says what it thinks of an SSL 2 hello.
    """
    return first == _TLS_HANDSHAKE or first >= _SSL2


@dataclass(frozen=True, slots=True, repr=False)
class Doorkeeper:
    """Tells ours from strangers by the first record.

    Without a `secret`, who speaks SSH is ours. With one, only who proves it on this very
    connection; see `wraith.protocol.stealth_proof`.
    """

    secret: bytes | None = None

    def __repr__(self) -> str:
        return f"<Doorkeeper secret={'***' if self.secret is not None else None}>"

    def admit(self, record: bytes, binding: bytes | None) -> bytes | None:
        """Return what of the first record is for SSH, or None for a stranger's.

        `binding` is the TLS channel binding, None where the connection has none that is sound.
        """
        if self.secret is None:
            return record if record.startswith(SSH_BEGINS) else None
        # The proof of a connection without a binding is that of an empty one, which nobody has: so
        # that both take the same way and the same time.
        claimed, rest = record[: stealth_proof.SIZE], record[stealth_proof.SIZE :]
        proven = stealth_proof.verify(self.secret, binding or b"", claimed)
        return rest if proven and binding else None

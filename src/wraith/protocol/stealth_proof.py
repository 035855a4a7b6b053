"""The proof that a client knows the server's secret, before a word of SSH is spoken.

    proof = HMAC-SHA256(secret, "wraith stealth 1" NUL binding)      (RFC 2104)

The binding is the client's Finished message of this TLS 1.3 connection (RFC 8446, section 4.4.4):
a MAC over the whole handshake, both key shares and the server's certificate among it, under a key
that only the two ends have. Another connection has another one, so that a recorded proof is worth
nothing there, and who sits between the two has two connections with different ones. A standard
exporter (RFC 9266) would do as well; Python 3.11 has no way to ask for it. In TLS 1.2 the same
message is 12 bytes long and without an extension not bound to the certificate, so that there is no
proof below 1.3.

The secret stays secret from whoever sees proofs: it is the key of the HMAC. It must be a random one
all the same, since one who sits in the middle may try guesses at home.
"""

from __future__ import annotations

import hashlib
import hmac

from wraith.errors import UsageError

SIZE = 32
"""Bytes of a proof."""

MIN_SECRET = 16
"""Bytes that a secret must have."""

_LABEL = b"wraith stealth 1\0"


def prove(secret: bytes, binding: bytes) -> bytes:
    """Return the proof for one connection."""
    return hmac.digest(secret, _LABEL + binding, hashlib.sha256)


def verify(secret: bytes, binding: bytes, claimed: bytes) -> bool:
    """Whether `claimed` is the proof for this connection; how wrong it is does not show in time."""
    return hmac.compare_digest(prove(secret, binding), claimed)


def parse_secret(text: bytes) -> bytes:
    """The secret in a file: all of it but the line end. Raises `UsageError` if it is too short."""
    secret = text.rstrip(b"\r\n")
    if len(secret) < MIN_SECRET:
        raise UsageError(
            f"the stealth secret is shorter than {MIN_SECRET} bytes",
            hint="make one: openssl rand -base64 32 > secret",
        )
    return secret

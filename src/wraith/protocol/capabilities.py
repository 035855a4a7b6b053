"""What a server can do beyond SSH, asked by the global request `capabilities@wraith`.

The answer is a name-list (RFC 4251, section 5): `udp,…`. A server that does not know the request
answers with failure at once (RFC 4254, section 4), and that means none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

REQUEST: Final = "capabilities@wraith"

#: The server carries datagrams, by a channel to `wraith-udp`.
UDP: Final = "udp"

MAX_ANSWER = 4096
"""Bytes of an answer that are looked at; ours have some ten."""

_NAME = re.compile(r"[!-+\--~]{1,64}")  # printable, without the comma that stands between two


def encode(names: Iterable[str]) -> bytes:
    """Return the answer that tells of these capabilities."""
    return ",".join(sorted(names)).encode("ascii")


def decode(answer: bytes) -> frozenset[str]:
    """Return the capabilities in a server's answer; what is no name in it does not count."""
    text = answer[:MAX_ANSWER].decode("ascii", "replace")
    return frozenset(name for name in text.split(",") if _NAME.fullmatch(name))

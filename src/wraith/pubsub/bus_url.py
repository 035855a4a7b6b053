"""What `--bus` may be: where the events of one server meet those of others.

memory://                                       nowhere: this server alone
redis://[user:password@]host[:port][/db]        a Redis; rediss:// with TLS, unix:// for a socket
redis://host?prefix=chat:                       another prefix of its channels than `wraith:`
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from wraith.errors import UsageError
from wraith.pubsub.backend import Backend, BackendFactory, BackendOwner, MemoryBackend

MEMORY = "memory://"
DEFAULT_PREFIX = "wraith:"
_REDIS_SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class BusUrl:
    """A `--bus`, understood. It may hold a password, so that only its scheme is ever shown."""

    scheme: str
    url: str = field(default="", repr=False)
    """For the Redis library, without what is ours."""
    prefix: str = field(default=DEFAULT_PREFIX, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `UsageError`, which does not repeat the text."""
        try:
            parts = urlsplit(text)
            query = dict(_query(parts.query)) if parts.query else {}
            parts.port  # noqa: B018 - raises ValueError for what is none
        except ValueError:
            raise _bad() from None
        if parts.scheme == "memory" and not (parts.netloc or parts.path or parts.query):
            return cls("memory")
        prefix = query.pop("prefix", DEFAULT_PREFIX)
        if parts.scheme not in _REDIS_SCHEMES or not (parts.netloc or parts.path) or parts.fragment:
            raise _bad()
        base, more = text.partition("?")[0], f"?{urlencode(query)}" if query else ""
        return cls(parts.scheme, base + more, prefix)

    def backend(self) -> BackendFactory:
        """What makes the backend. Raises `UsageError` where the extra for it is not installed."""
        if self.scheme == "memory":
            return MemoryBackend
        if importlib.util.find_spec("redis") is None:
            raise UsageError(
                "the bus over Redis needs an extra that is not installed",
                hint="pip install 'wraith-tunnel[redis]'",
            )
        return self._redis

    def _redis(self, owner: BackendOwner) -> Backend:
        from wraith.pubsub.redis_backend import RedisBackend

        return RedisBackend(owner, self.url, self.prefix)


def _query(text: str) -> list[tuple[str, str]]:
    return parse_qsl(text, keep_blank_values=True, strict_parsing=True)


def _bad() -> UsageError:
    return UsageError(
        "cannot use this URL for the bus", hint="memory://, or redis://[user:password@]host[:port]"
    )

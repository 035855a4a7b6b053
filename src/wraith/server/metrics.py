"""`--metrics ADDR:PORT`: the server's counts as Prometheus text (extra: metrics).

Labels are fixed words. No address, user name, key or destination is one, so a monitoring system
learns how much, and nothing about whom.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

from wraith.errors import UsageError
from wraith.protocol.http_answers import page, response
from wraith.protocol.http_head import RequestHead
from wraith.server.counts import Counts
from wraith.streams.deadlines import Deadlines
from wraith.streams.listening import Listener, listen
from wraith.streams.one_answer import OneAnswer
from wraith.values.address import HostPort

PATH = b"/metrics"

PATIENCE = 5.0
"""Seconds for a request, and for taking the answer."""


class Counted(Protocol):
    """What is shown: a server's figures, or those of all its workers."""

    version: str

    @property
    def counts(self) -> Counts:
        """What has been done so far."""
        ...

    @property
    def stranger_count(self) -> int:
        """Connections that have not authenticated."""
        ...

    @property
    def session_count(self) -> int:
        """Connections, authenticated or not."""
        ...

    @property
    def channel_count(self) -> int:
        """Open channels."""
        ...

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received and sent by all sessions so far."""
        ...


class Metrics:
    """The listener; made by `start_metrics`."""

    def __init__(self, server: Counted) -> None:
        # A heavy import, which nobody pays for without the option.
        from prometheus_client import CollectorRegistry

        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(server))
        self._listener: Listener | None = None
        self._deadlines: Deadlines[OneAnswer] = Deadlines(PATIENCE)

    def __repr__(self) -> str:
        return f"<Metrics {self.address}>"

    @property
    def address(self) -> HostPort | None:
        """Where it is really bound."""
        bound = self._listener.addresses[0] if self._listener is not None else None
        return bound if isinstance(bound, HostPort) else None

    async def start(self, where: HostPort) -> None:
        """Begin to answer. Raises `ListenError`."""
        self._listener = await listen(
            where,
            lambda: OneAnswer(self.answer, self._deadlines),
            hint="choose another port with --metrics ADDR:PORT",
        )

    def answer(self, request: RequestHead) -> bytes:
        """The metrics now, to whoever asks for them."""
        from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        if request.target.partition(b"?")[0] != PATH:
            return page(404, "metrics are at /metrics\n")
        if request.method != b"GET":
            return page(405, "")
        return response(200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry).decode())

    def close(self) -> None:
        """Stop answering."""
        if self._listener is not None:
            self._listener.close()
        self._deadlines.close()


async def start_metrics(server: Counted, where: HostPort) -> Metrics:
    """Answer at `where`. Raises `ListenError`, and `UsageError` without the library."""
    try:
        metrics = Metrics(server)
    except ImportError:
        raise UsageError(
            "metrics need a library that is not installed",
            hint="pip install 'wraith-tunnel[metrics]'",
        ) from None
    await metrics.start(where)
    return metrics


class _Collector:
    """Asks the server when it is asked, as the library wants it."""

    def __init__(self, server: Counted) -> None:
        self._server = server

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        server, counts = self._server, self._server.counts
        yield InfoMetricFamily("wraith", "The server's version.", {"version": server.version})
        gauges = {
            "strangers": ("Connections that have not authenticated.", server.stranger_count),
            "sessions": ("Authenticated sessions.", server.session_count - server.stranger_count),
            "channels": ("Open channels.", server.channel_count),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"wraith_{name}", text, value)
        yield _by_word("connections", "Connections, by what became of them.", counts.connections)
        yield _by_word("authentications", "Log-in attempts, by result.", counts.authentications)
        yield _by_word("channel_opens", "Channels asked for, by result.", counts.channels)
        traffic = CounterMetricFamily(
            "wraith_session_bytes", "Bytes of sessions, by direction.", labels=["direction"]
        )
        for direction, count in zip(("in", "out"), server.traffic, strict=True):
            traffic.add_metric([direction], count)
        yield traffic


def _by_word(name: str, text: str, counted: Counter[str]) -> Any:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"wraith_{name}", text, labels=["result"])
    for word, count in sorted(counted.items()):
        family.add_metric([word], count)
    return family

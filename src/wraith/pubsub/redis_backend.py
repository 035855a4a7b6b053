"""The bus of several servers over Redis: one channel of Redis for each topic.

Two connections, one that listens and one that publishes, live and die together: when either
breaks, both are made anew, everything that is wanted is asked for again, and the gap is reported.
A publication whose answer is missing may have arrived, so it is not tried again. What is not
published yet waits for the next connection.

The library's own reconnecting is switched off: it would repeat publications, and subscribe again
without a word about what was missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from wraith.policy.reconnect import delays
from wraith.pubsub.backend import BackendOwner, Gap
from wraith.pubsub.outgoing import Outgoing
from wraith.streams.log_line import log_event
from wraith.streams.tasks import TaskSet

_log = logging.getLogger("wraith.pubsub")

CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 10.0
"""Seconds for the answer to a publication, or to all subscriptions after a reconnection."""

KEEPALIVE = 5.0
"""Seconds of silence after which Redis is asked for a sign of life; three of them end the link."""

FIRST_DELAY, LONGEST_DELAY = 0.25, 10.0
FLUSH_TIMEOUT = 1.0
TURN = 64

Broken = (RedisError, OSError, TimeoutError)


class RedisBackend:
    """As `Backend`. `url` is what the Redis library takes; topics become `prefix` + topic."""

    def __init__(self, owner: BackendOwner, url: str, prefix: str) -> None:
        self._owner = owner
        self._prefix = prefix.encode()
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=CONNECT_TIMEOUT,
            # Ours are around whole exchanges. The library's would end a link that has nothing to
            # say, and are made of `wait_for`, which before Python 3.12 can swallow a cancellation.
            socket_timeout=None,
            socket_keepalive=True,
        )
        # A subscription that is always there: it keeps the link in the state in which Redis
        # answers PING, and nobody can publish to a reserved type.
        self._own = self._prefix + b"__link:"
        self._wanted: set[str] = set()
        self._wanted_changed = asyncio.Event()
        self._outgoing = Outgoing()
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._linked = False
        self._heard = 0.0
        self._down_since: float | None = None
        self._tasks = TaskSet("bus over redis")
        self._tasks.spawn(self._run(), "link")

    def __repr__(self) -> str:
        state = "linked" if self._linked else "down"
        return f"<RedisBackend {state} topics={len(self._wanted)} {self._outgoing}>"

    # As `Backend`

    def publish(self, topic: str, body: bytes) -> None:
        """As `Backend.publish`."""
        self._outgoing.put(topic, body)
        self._idle.clear()
        self._more.set()

    def subscribe(self, topic: str) -> None:
        """As `Backend.subscribe`."""
        self._wanted.add(topic)
        self._wanted_changed.set()

    def unsubscribe(self, topic: str) -> None:
        """As `Backend.unsubscribe`."""
        self._wanted.discard(topic)
        self._wanted_changed.set()

    async def close(self) -> None:
        """As `Backend.close`; what waits has a second to leave if there is a link."""
        if self._linked:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_TIMEOUT):
                    await self._idle.wait()
        await self._tasks.close()

    # The link

    async def _run(self) -> None:
        waits = delays(random.random, FIRST_DELAY, LONGEST_DELAY)
        while True:
            error = await self._live()
            if self._linked:
                self._linked = False
                waits = delays(random.random, FIRST_DELAY, LONGEST_DELAY)
            if self._down_since is None:
                self._down_since = _now()
            delay = next(waits)
            kind = type(error).__name__
            log_event(_log, logging.WARNING, "bus link lost", error=kind, retry_in=f"{delay:.1f}")
            await asyncio.sleep(delay)

    async def _live(self) -> Exception:
        """One life of the link; what ended it."""
        listening, publishing = self._connection(), self._connection()
        try:
            await listening.connect()
            await publishing.connect()
            asked = await self._ask_for_all(listening)
            self._restored()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(listening), name="bus over redis: listen")
                group.create_task(self._ask(listening, asked), name="bus over redis: ask")
                group.create_task(self._publish(publishing), name="bus over redis: publish")
        except Broken as error:
            return error
        except ExceptionGroup as group_error:
            broken, others = group_error.split(Broken)
            if others is not None or broken is None:
                raise
            return _first(broken)
        finally:
            for connection in (listening, publishing):
                with contextlib.suppress(*Broken):
                    await connection.disconnect(nowait=True)
        raise AssertionError("the tasks of a link end with an error only")

    def _connection(self) -> Any:
        return self._pool.make_connection()  # type: ignore[no-untyped-call]

    def _restored(self) -> None:
        self._linked = True
        down_since, self._down_since = self._down_since, None
        log_event(_log, logging.INFO, "bus link made")
        if down_since is not None:
            self._owner.missed(Gap(_now() - down_since, self._outgoing.dropped()))

    # Listening

    async def _ask_for_all(self, connection: AbstractConnection) -> set[str]:
        """Subscribe to what is wanted, and wait until Redis has said yes to each."""
        asked = set(self._wanted)
        channels = [self._own, *map(self._channel, asked)]
        await _send(connection, "SUBSCRIBE", channels)
        missing = len(channels)
        async with asyncio.timeout(ANSWER_TIMEOUT):
            while missing:
                missing -= self._take(await connection.read_response()) == b"subscribe"
        return asked

    async def _listen(self, connection: AbstractConnection) -> None:
        turn = 0
        while True:
            self._take(await connection.read_response())
            turn += 1
            if turn % TURN == 0:
                await asyncio.sleep(0)  # what is buffered already is read without waiting

    def _take(self, message: Any) -> bytes:
        """Hand a message over; what kind it was."""
        self._heard = _now()
        if not isinstance(message, list) or not message:
            raise RedisError("no message of a subscription")
        if message[0] == b"message" and message[1].startswith(self._prefix):
            topic = message[1][len(self._prefix) :].decode(errors="replace")
            if topic in self._wanted:
                self._owner.arrived(topic, message[2])
        return bytes(message[0])

    async def _ask(self, connection: AbstractConnection, asked: set[str]) -> None:
        """Keep Redis told of what is wanted, and see to it that it still answers."""
        while True:
            more, less = self._wanted - asked, asked - self._wanted
            if more:
                await _send(connection, "SUBSCRIBE", map(self._channel, more))
            if less:
                await _send(connection, "UNSUBSCRIBE", map(self._channel, less))
            asked = (asked | more) - less
            if self._wanted != asked:
                continue
            self._wanted_changed.clear()
            try:
                async with asyncio.timeout(KEEPALIVE):
                    await self._wanted_changed.wait()
            except TimeoutError:
                if _now() - self._heard > 3 * KEEPALIVE:
                    raise TimeoutError("Redis has fallen silent") from None
                await _send(connection, "PING", [])

    def _channel(self, topic: str) -> bytes:
        return self._prefix + topic.encode(errors="replace")

    # Publishing

    async def _publish(self, connection: AbstractConnection) -> None:
        while True:
            self._more.clear()
            while batch := self._outgoing.take():
                await self._publish_batch(connection, batch)
            if dropped := self._outgoing.dropped():
                self._owner.missed(Gap(0.0, dropped))
            self._idle.set()
            await self._more.wait()

    async def _publish_batch(
        self, connection: AbstractConnection, batch: list[tuple[str, bytes]]
    ) -> None:
        commands = [("PUBLISH", self._channel(topic), body) for topic, body in batch]
        unanswered = len(batch)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await connection.send_packed_command(
                    connection.pack_commands(commands), check_health=False
                )
                while unanswered:
                    try:
                        await connection.read_response()
                    except ResponseError:  # not allowed, or no memory: it said so about this one
                        self._outgoing.lost(1)
                    unanswered -= 1
        finally:
            self._outgoing.lost(unanswered)


async def _send(connection: AbstractConnection, command: str, arguments: Any) -> None:
    async with asyncio.timeout(ANSWER_TIMEOUT):
        await connection.send_command(command, *arguments, check_health=False)


def _first(group: ExceptionGroup[Any]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _now() -> float:
    return asyncio.get_running_loop().time()

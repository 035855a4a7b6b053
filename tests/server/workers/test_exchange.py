"""The bus over all workers: to everybody else, once, and what comes back is not told twice."""

from __future__ import annotations

from typing import Any, cast

from tests.pubsub.test_bus import Elsewhere
from wraith.protocol.envelope import EventEnvelope, encode_body, with_origin
from wraith.pubsub import Bus
from wraith.pubsub.backend import Backend, BackendOwner, Gap, MemoryBackend
from wraith.server.workers.exchange import Exchange, ExchangeBackend
from wraith.server.workers.link import Link


class Wire:
    """A link that remembers."""

    def __init__(self) -> None:
        self.copies: list[tuple[str, bytes]] = []
        self.said: list[tuple[str, dict[str, Any]]] = []

    def copy(self, topic: str, body: bytes) -> None:
        self.copies.append((topic, body))

    def say(self, op: str, **fields: Any) -> None:
        self.said.append((op, fields))


def wires(count: int) -> list[Any]:
    return [cast("Link", Wire()) for _ in range(count)]


def test_a_copy_goes_to_all_who_listen_but_its_origin() -> None:
    exchange = Exchange(MemoryBackend)
    one, two, three = wires(3)
    exchange.start()
    for wire in (one, two):
        exchange.subscribe(wire, "a:")
    exchange.publish(one, "a:", b"1")
    exchange.publish(three, "a:", b"2")
    exchange.publish(two, "b:", b"3")
    assert one.copies == [("a:", b"2")]
    assert two.copies == [("a:", b"1"), ("a:", b"2")]
    assert three.copies == []


def test_a_worker_that_is_gone_wants_nothing() -> None:
    exchange = Exchange(MemoryBackend)
    one, two = wires(2)
    exchange.subscribe(one, "a:")
    exchange.subscribe(one, "b:")
    exchange.forget(one)
    exchange.unsubscribe(one, "a:")
    exchange.publish(two, "a:", b"1")
    assert one.copies == []
    assert repr(exchange) == "<Exchange topics=0>"


async def test_other_servers_are_asked_once_and_told_once() -> None:
    made: list[Elsewhere] = []

    def backend(owner: BackendOwner) -> Backend:
        made.append(Elsewhere(owner))
        return made[0]

    exchange = Exchange(backend)
    exchange.start()
    one, two = wires(2)
    for wire in (one, two):
        exchange.subscribe(wire, "a:")
    exchange.publish(one, "a:", b"1")
    exchange.unsubscribe(one, "a:")
    exchange.unsubscribe(two, "a:")
    assert made[0].asked == ["+a:", "-a:"]
    assert made[0].published == [("a:", b"1")]
    await exchange.close()
    assert made[0].closed
    await exchange.close()


def test_what_comes_back_is_not_told_again_and_what_is_new_is_told_to_all() -> None:
    exchange = Exchange(MemoryBackend)
    one, two = wires(2)
    for wire in (one, two):
        exchange.subscribe(wire, "a:")
    body = encode_body(EventEnvelope("a"))
    own = with_origin(body, exchange.new_mark())
    others = with_origin(body, "somebodyelse")
    exchange.arrived("a:", own)
    assert one.copies == two.copies == []
    exchange.arrived("a:", others)
    exchange.arrived("a:", b"no event")
    assert one.copies == two.copies == [("a:", others), ("a:", b"no event")]


def test_a_gap_is_told_to_each_worker_once() -> None:
    exchange = Exchange(MemoryBackend)
    (one,) = wires(1)
    exchange.subscribe(one, "a:")
    exchange.subscribe(one, "b:")
    exchange.missed(Gap(1.5, 3))
    assert one.said == [("missed", {"seconds": 1.5, "dropped": 3})]


def test_marks_differ() -> None:
    exchange = Exchange(MemoryBackend)
    marks = {exchange.new_mark() for _ in range(10)}
    assert len(marks) == 10
    assert all(mark.isalnum() for mark in marks)


async def test_a_workers_bus_says_what_it_wants_and_knows_its_own() -> None:
    (wire,) = wires(1)
    bus = Bus(backend=lambda owner: ExchangeBackend(wire, owner), mark="me1")
    bus.start()
    events: list[Any] = []
    bus.add_listener("a:", events.append)
    bus.dispatch("b", "", 1)
    ((topic, body),) = wire.copies
    assert topic == "b:"
    assert b'"origin":"me1"' in body
    bus.arrived("a:", with_origin(encode_body(EventEnvelope("a", "", 1)), "me1"))
    bus.arrived("a:", with_origin(encode_body(EventEnvelope("a", "", 2)), "me2"))
    assert [event.payload for event in events] == [2]
    bus.remove_listener("a:", events.append)
    assert [op for op, _ in wire.said] == ["subscribe", "unsubscribe"]
    await bus.close()

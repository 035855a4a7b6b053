"""Listeners and subscriptions of one program."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from wraith.errors import EventStreamError, SlowConsumer
from wraith.protocol.envelope import EventEnvelope
from wraith.pubsub.listeners import Listeners


class Owner:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.listeners = Listeners[EventEnvelope](
            lambda topic: self.asked.append(f"+{topic}"),
            lambda topic: self.asked.append(f"-{topic}"),
        )

    def tell(self, payload: object, size: int = 10) -> None:
        self.listeners.deliver(EventEnvelope("a", "", payload), size)


@pytest.fixture
def owner() -> Owner:
    return Owner()


def test_the_first_asks_and_the_last_gives_up(owner: Owner) -> None:
    heard: list[object] = []
    first, second = heard.append, lambda event: heard.append(event)
    owner.listeners.add("a:", first, once=False)
    owner.listeners.add("a:", second, once=False)
    assert owner.listeners.topics == ("a:",)
    owner.listeners.remove("a:", first)
    assert owner.asked == ["+a:"]
    owner.listeners.remove("a:", second)
    owner.listeners.remove("a:", second)
    owner.listeners.remove("b:", second)
    assert owner.asked == ["+a:", "-a:"]
    assert "a:" not in owner.listeners


def test_one_that_removes_another_keeps_it_from_hearing(owner: Owner) -> None:
    heard: list[object] = []
    victim = heard.append
    owner.listeners.add("a:", lambda _: owner.listeners.remove("a:", victim), once=False)
    owner.listeners.add("a:", victim, once=False)
    owner.tell(1)
    assert heard == []


def test_once_may_listen_again_from_within(owner: Owner) -> None:
    heard: list[object] = []

    def again(event: EventEnvelope) -> None:
        heard.append(event.payload)
        if len(heard) < 2:
            owner.listeners.add("a:", again, once=True)

    owner.listeners.add("a:", again, once=True)
    for payload in range(3):
        owner.tell(payload)
    assert heard == [0, 1]
    assert owner.asked == ["+a:", "-a:", "+a:", "-a:"]


def test_a_fault_is_reported_without_what_was_said(
    owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: EventEnvelope) -> None:
        raise ValueError(event.payload)

    owner.listeners.add("a:", broken, once=False)
    with caplog.at_level(logging.DEBUG):
        owner.tell("a secret")
    assert "a listener failed error=ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_who_cannot_be_asked_for_is_not_added() -> None:
    def refuse(topic: str) -> None:
        raise EventStreamError(topic)

    listeners = Listeners[EventEnvelope](refuse, refuse)
    with pytest.raises(EventStreamError):
        listeners.add("a:", print, once=False)
    with pytest.raises(EventStreamError):
        listeners.subscribe("a:")
    assert listeners.topics == ()


async def test_leaving_the_loop_gives_the_topic_up(owner: Owner) -> None:
    asyncio.get_running_loop().call_soon(owner.tell, "only")
    async for event in owner.listeners.subscribe("a:"):
        assert event.payload == "only"
        break
    assert owner.asked == ["+a:", "-a:"]


async def test_a_subscription_that_nobody_holds_is_given_up(owner: Owner) -> None:
    subscription = owner.listeners.subscribe("a:")
    owner.tell(1)
    del subscription
    gc.collect()
    assert owner.asked == ["+a:", "-a:"]
    owner.tell(2)


async def test_closed_it_ends_at_once_and_only_once(owner: Owner) -> None:
    async with owner.listeners.subscribe("a:") as subscription:
        owner.tell("waits")
    subscription.close()
    assert [event async for event in subscription] == []
    assert owner.asked == ["+a:", "-a:"]
    assert "ended" in repr(subscription)


async def test_it_waits_for_the_next_and_survives_a_cancelled_wait(owner: Owner) -> None:
    subscription = owner.listeners.subscribe("a:")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(subscription), 0.01)
    asyncio.get_running_loop().call_soon(owner.tell, "later")
    assert (await anext(subscription)).payload == "later"


async def test_what_waits_is_read_before_a_clean_end_or_an_error(owner: Owner) -> None:
    subscription = owner.listeners.subscribe("a:")
    owner.tell("last")
    owner.listeners.end(EventStreamError("over"))
    owner.listeners.end(None)
    assert (await anext(subscription)).payload == "last"
    for _ in range(2):
        with pytest.raises(EventStreamError, match="over"):
            await anext(subscription)


async def test_a_slow_reader_loses_its_subscription_and_no_other(owner: Owner) -> None:
    slow, quick = owner.listeners.subscribe("a:"), owner.listeners.subscribe("a:")
    size = 300_000
    for number in range(6):
        owner.tell(number, size)
        assert (await anext(quick)).payload == number
    assert [(await anext(slow)).payload for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(SlowConsumer):
        await anext(slow)
    assert owner.asked == ["+a:"]
    quick.close()
    assert owner.asked == ["+a:", "-a:"]

"""The manager's stories, with sessions and time that the test makes up."""

from __future__ import annotations

import asyncio

import pytest

from wraith.client.channel_manager import ChannelManager, Session, State, StateChange
from wraith.dialing.base import Spliceable, SpliceOwner
from wraith.errors import (
    AuthenticationError,
    ChannelRefused,
    HostKeyChanged,
    Refusal,
    SessionLost,
    TransportError,
    WraithError,
)
from wraith.policy.reconnect import Reconnect
from wraith.streams.memory import MemoryStream, memory_pair
from wraith.values.address import Destination, TcpDestination


class FakeSession:
    """A session that lives until the test kills it."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.closed = False
        self.probes = 0
        self.dialled: list[Destination] = []
        self.can: frozenset[str] | None = frozenset({"udp"})

    async def dial(self, destination: Destination, protocol: asyncio.Protocol) -> asyncio.Transport:
        self.dialled.append(destination)
        return memory_pair(protocol, asyncio.Protocol())[0]

    async def capabilities(self) -> frozenset[str]:
        if self.can is None:
            await asyncio.sleep(3600)
        return self.can or frozenset()

    async def wait_closed(self) -> SessionLost:
        await self.ended.wait()
        return SessionLost("it ended")

    async def close(self) -> None:
        self.closed = True

    def splice(self, destination: Destination, owner: SpliceOwner) -> Spliceable | None:
        return None

    def probe(self) -> None:
        self.probes += 1


class Story:
    """A manager, and a script of what each attempt at a session brings."""

    def __init__(self, *script: FakeSession | WraithError, wait: float = 0.2) -> None:
        self.script = list(script)
        self.changes: list[StateChange] = []
        self.restored: list[Session] = []
        self.manager = ChannelManager(
            self._open,
            wait=wait,
            reconnect=Reconnect(lambda: 0.5),
            on_session=self._on_session,
            on_change=self.changes.append,
        )

    async def _open(self) -> Session:
        if not self.script:
            await asyncio.sleep(3600)
        step = self.script.pop(0)
        if isinstance(step, WraithError):
            raise step
        return step

    async def _on_session(self, session: Session) -> None:
        self.restored.append(session)

    def run(self, *, retry_first: bool = True) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self.manager.run(retry_first=retry_first))

    async def until(self, state: State) -> None:
        async with asyncio.timeout(5):
            while self.manager.state is not state:
                await asyncio.sleep(0.001)

    @property
    def states(self) -> list[State]:
        return [change.state for change in self.changes]

    @property
    def pauses(self) -> list[float]:
        return [change.retry_in for change in self.changes if change.retry_in is not None]


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


DESTINATION = TcpDestination("db.internal", 5432)


async def test_a_dial_goes_through_the_live_session() -> None:
    session = FakeSession()
    story = Story(session)
    task = story.run()
    stream = await story.manager.dial(DESTINATION, asyncio.Protocol())
    assert isinstance(stream, MemoryStream)
    assert session.dialled == [DESTINATION]
    assert story.states == [State.CONNECTING, State.CONNECTED]
    assert story.restored == [session]
    await stop(task)
    assert session.closed


async def test_datagrams_go_through_the_live_session() -> None:
    session = FakeSession()
    task = (story := Story(session)).run()
    await story.manager.open_datagrams(asyncio.Protocol())
    assert session.dialled == [TcpDestination("wraith-udp", 0)]
    await stop(task)


@pytest.mark.parametrize("can", [frozenset(), frozenset({"another"}), None])
async def test_a_server_that_cannot_or_does_not_say_has_no_datagrams(
    can: frozenset[str] | None,
) -> None:
    session = FakeSession()
    session.can = can
    task = (story := Story(session)).run()
    with pytest.raises(ChannelRefused) as caught:
        await story.manager.open_datagrams(asyncio.Protocol())
    assert caught.value.reason is Refusal.UNSUPPORTED
    assert session.dialled == []
    await stop(task)


async def test_a_dial_waits_for_the_next_session() -> None:
    first, second = FakeSession(), FakeSession()
    story = Story(first, second, wait=5)
    task = story.run()
    await story.until(State.CONNECTED)
    first.ended.set()
    await story.until(State.WAITING)
    dialling = asyncio.create_task(story.manager.dial(DESTINATION, asyncio.Protocol()))
    await asyncio.sleep(0.01)
    assert not dialling.done()
    story.manager.hurry()
    await dialling
    assert second.dialled == [DESTINATION]
    await stop(task)


async def test_a_dial_waits_no_longer_than_it_should() -> None:
    story = Story(TransportError("no way"), wait=0.05)
    task = story.run()
    began = asyncio.get_running_loop().time()
    with pytest.raises(SessionLost, match=r"no session within 0\.05 s"):
        await story.manager.dial(DESTINATION, asyncio.Protocol())
    assert asyncio.get_running_loop().time() - began < 1
    await stop(task)


async def test_network_trouble_is_retried_with_growing_pauses() -> None:
    story = Story(*[TransportError("no way")] * 6)
    task = story.run()
    for _ in range(6):
        await story.until(State.WAITING)
        seen = len(story.pauses)
        story.manager.hurry()
        async with asyncio.timeout(5):
            while story.script and len(story.pauses) == seen:
                await asyncio.sleep(0.001)
    assert story.pauses == [1, 2, 4, 8, 16, 30]
    await stop(task)


async def test_a_refused_key_at_first_is_for_good() -> None:
    story = Story(AuthenticationError("not you"))
    with pytest.raises(AuthenticationError):
        await story.run()
    assert story.states == [State.CONNECTING, State.FAILED]
    with pytest.raises(SessionLost, match="there is no session: not you"):
        await story.manager.dial(DESTINATION, asyncio.Protocol())


async def test_a_refused_key_later_is_retried_at_the_longest_delay() -> None:
    session = FakeSession()
    story = Story(session, AuthenticationError("not you"), FakeSession())
    task = story.run()
    await story.until(State.CONNECTED)
    session.ended.set()
    await story.until(State.WAITING)
    story.manager.hurry()
    async with asyncio.timeout(5):
        while len(story.pauses) < 2:
            await asyncio.sleep(0.001)
    assert story.pauses == [1, 30]
    await stop(task)


async def test_a_changed_host_key_is_for_good_at_any_time() -> None:
    session = FakeSession()
    story = Story(session, HostKeyChanged("another machine"))
    task = story.run()
    await story.until(State.CONNECTED)
    session.ended.set()
    await story.until(State.WAITING)
    story.manager.hurry()
    with pytest.raises(HostKeyChanged):
        await task


async def test_without_retries_the_first_network_trouble_is_raised() -> None:
    story = Story(TransportError("no way"))
    with pytest.raises(TransportError):
        await story.run(retry_first=False)


async def test_whoever_waits_hears_at_once_that_the_client_was_closed() -> None:
    story = Story(wait=30)
    task = story.run()
    dialling = asyncio.create_task(story.manager.dial(DESTINATION, asyncio.Protocol()))
    await asyncio.sleep(0.01)
    await stop(task)
    story.manager.closed()
    with pytest.raises(SessionLost, match="the client was closed"):
        await dialling
    assert story.manager.state is State.CLOSED


async def test_a_session_that_fails_while_it_is_set_up_is_closed() -> None:
    session = FakeSession()
    story = Story(session)

    async def fails(_session: Session) -> None:
        raise SessionLost("gone again")

    story.manager._on_session = fails
    task = story.run()
    await story.until(State.WAITING)
    assert session.closed
    await stop(task)


async def test_a_hurry_asks_a_live_session_for_a_sign_of_life() -> None:
    session = FakeSession()
    story = Story(session)
    task = story.run()
    await story.until(State.CONNECTED)
    story.manager.hurry()
    assert session.probes == 1
    assert story.manager.current is session
    assert repr(story.manager) == "<ChannelManager connected>"
    await stop(task)


@pytest.mark.parametrize("after", range(4))
async def test_it_can_be_cancelled_at_any_moment(after: int) -> None:
    session = FakeSession()
    story = Story(session)
    task = story.run()
    for _ in range(after):
        await asyncio.sleep(0)
    await stop(task)
    assert story.manager.current is None

"""The core journeys on each path, over each link, under each event loop, with each cipher."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.support.journeys import JOURNEYS, LINKS, Journey, tunnel_over
from tests.support.loops import LOOPS, NewLoop, run_under
from tests.support.paths import PATHS, take
from tests.support.ssh_link import CIPHERS
from wraith.ssh import algorithms, client_session, internals, server_session

each_journey = pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.__name__)


@each_journey
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_every_journey_under_every_loop(journey: Journey, link: str, new_loop: NewLoop) -> None:
    async def work() -> None:
        async with tunnel_over(link) as tunnel:
            await journey(tunnel)

    assert run_under(new_loop, work()).contexts == []


@each_journey
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("path", PATHS)
async def test_every_journey_on_every_path(
    journey: Journey, link: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, path)
    async with tunnel_over(link) as tunnel:
        await journey(tunnel)


@each_journey
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("link", ["tcp", "tls"])
def test_every_journey_with_new_keys_every_other_moment(
    journey: Journey, link: str, cipher: bytes, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides count; with 100 kB between two key exchanges they often begin together."""
    take(monkeypatch, path)
    monkeypatch.setattr(algorithms, "ciphers", lambda: [cipher.decode()])

    async def work() -> None:
        rekey = {"rekey_bytes": 100_000}
        async with tunnel_over(link, serve=rekey, rekey_bytes=100_000) as tunnel:
            await journey(tunnel)

    assert run_under(LOOPS["inline"], work()).contexts == []


@pytest.fixture
def library_that_has_changed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The SSH library lacks a name that the hot path needs."""
    names = (*internals.CONNECTION_METHODS, "_no_such_method")
    monkeypatch.setattr(internals, "CONNECTION_METHODS", names)
    internals.hot_path_available.cache_clear()
    yield
    internals.hot_path_available.cache_clear()


@pytest.mark.usefixtures("library_that_has_changed")
@pytest.mark.parametrize("link", LINKS)
async def test_a_library_that_has_changed_costs_speed_and_one_warning_and_nothing_else(
    link: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            async with tunnel_over(link) as tunnel:
                for journey in JOURNEYS:
                    await journey(tunnel)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    (about_it,) = [record for record in warnings if record.name == "wraith.ssh"]
    assert "the hot path is off" in about_it.getMessage()
    assert "_no_such_method" in about_it.getMessage()


@pytest.mark.usefixtures("library_that_has_changed")
async def test_then_both_sides_are_the_librarys_own() -> None:
    async with tunnel_over("memory") as tunnel:
        session = tunnel.client._manager.current
        assert isinstance(session, client_session.ClientSession)
        assert type(session._connection) is client_session._Connection
        (peer,) = tunnel.server._peers
        assert peer.session is not None
        assert type(peer.session._connection) is server_session._Connection

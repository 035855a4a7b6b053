"""The books of the parent: what is believed of which worker, and what is given back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, cast

import pytest

from tests.server.workers.test_exchange import Wire
from wraith.protocol.worker_link import Copy, Said
from wraith.server.options import ServeOptions
from wraith.server.workers import desk as desk_module
from wraith.server.workers.desk import Desk
from wraith.server.workers.process import WorkerProcess
from wraith.streams.socket_stream import SocketStream


class Given:
    """A way to give sockets that remembers their notes."""

    def __init__(self) -> None:
        self.notes: list[Mapping[str, Any]] = []

    def give(self, sock: socket.socket, note: Mapping[str, Any]) -> None:
        sock.close()
        self.notes.append(note)


def a_worker(number: int) -> Any:
    worker = WorkerProcess(number)
    worker.link, worker.giving = cast("Any", Wire()), cast("Any", Given())
    return worker


def arrive(desk: Desk, *, hidden: bool = False) -> socket.socket:
    """A connection comes from loopback; the client's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    accepted.setblocking(False)
    SocketStream(accepted, desk.handing("tls" if hidden else "tcp", hidden=hidden)())
    return client


@pytest.fixture
async def desk() -> Desk:
    return Desk(ServeOptions(max_connections_per_ip=2))


async def test_connections_go_to_the_one_with_the_fewest(desk: Desk) -> None:
    one, two = a_worker(1), a_worker(2)
    desk.came(one)
    desk.came(two)
    clients = [arrive(desk) for _ in range(3)]
    assert [note["token"] for note in one.giving.notes] == [1]
    assert [note["token"] for note in two.giving.notes] == [2]
    assert one.giving.notes[0]["peer"] == clients[0].getsockname()
    assert clients[2].recv(1) == b"", "it was one too many, whichever worker has them"
    desk.hear(one, Said("end", {"token": 1, "offence": None}))
    clients.append(arrive(desk))
    assert [note["token"] for note in one.giving.notes] == [1, 3]
    for client in clients:
        client.close()
    await desk.close()


async def test_one_that_has_fallen_silent_gets_none_while_there_are_others(desk: Desk) -> None:
    one, two = a_worker(1), a_worker(2)
    one.heard -= 10
    desk.came(one)
    desk.came(two)
    clients = [arrive(desk) for _ in range(2)]
    assert [len(worker.giving.notes) for worker in (one, two)] == [0, 2]
    for client in clients:
        client.close()


async def test_what_a_worker_says_of_anothers_connection_counts_for_nothing(desk: Desk) -> None:
    one, two = a_worker(1), a_worker(2)
    desk.came(one)
    desk.came(two)
    clients = [arrive(desk) for _ in range(2)]
    desk.hear(two, Said("end", {"token": 1, "offence": "authfail"}))
    desk.hear(two, Said("authenticated", {"token": 1}))
    desk.hear(one, Said("authenticated", {"token": 1}))
    clients.append(arrive(desk))
    assert clients[-1].recv(1) == b""
    for client in clients:
        client.close()


async def test_what_a_dead_worker_held_is_given_back(desk: Desk) -> None:
    one = a_worker(1)
    desk.came(one)
    clients = [arrive(desk) for _ in range(2)]
    desk.went(one)
    desk.went(one)
    two = a_worker(2)
    desk.came(two)
    clients += [arrive(desk) for _ in range(2)]
    assert len(two.giving.notes) == 2
    for client in clients:
        client.close()


async def test_connections_wait_for_a_worker_and_no_more_than_may(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "MAX_PARKED", 1)
    clients = [arrive(desk) for _ in range(2)]
    assert clients[1].recv(1) == b""
    one = a_worker(1)
    desk.came(one)
    assert [note["token"] for note in one.giving.notes] == [1]
    desk.leaves(one)
    clients.append(arrive(desk))
    await desk.close()
    assert clients[-1].recv(1) == b""
    for client in clients:
        client.close()


async def test_a_socket_that_could_not_be_given_gives_its_place_back(desk: Desk) -> None:
    one = a_worker(1)
    desk.came(one)
    clients = [arrive(desk) for _ in range(2)]
    desk.not_given(one.giving.notes[0])
    desk.not_given({"token": None})
    clients.append(arrive(desk))
    assert len(one.giving.notes) == 3
    for client in clients:
        client.close()


async def test_who_was_hidden_asks_for_a_place(desk: Desk) -> None:
    one = a_worker(1)
    desk.came(one)
    client = arrive(desk, hidden=True)
    assert one.giving.notes[0]["token"] is None
    for number in range(3):
        desk.hear(
            one, Said("place", {"number": number, "transport": "tls", "address": "192.0.2.1"})
        )
    answers = [fields["token"] for _, fields in one.link.said]
    assert answers == [1, 2, None]
    client.close()


async def test_copies_reach_other_workers(desk: Desk) -> None:
    one, two = a_worker(1), a_worker(2)
    desk.hear(two, Said("subscribe", {"topic": "a:"}))
    desk.hear(one, Copy("a:", b"{}"))
    desk.hear(two, Said("unsubscribe", {"topic": "a:"}))
    desk.hear(one, Copy("a:", b"{}"))
    assert two.link.copies == [("a:", b"{}")]


async def test_an_address_is_vacated_if_one_of_the_others_could(desk: Desk) -> None:
    workers = [a_worker(number) for number in (1, 2, 3)]
    for worker in workers:
        desk.came(worker)
    one, two, three = workers
    question = {"number": 5, "fingerprint": "SHA256:x", "address": ["localhost", 22]}
    desk.hear(one, Said("vacate", question))
    ((op, asked),) = two.link.said
    assert (op, asked["address"]) == ("vacate", ["localhost", 22])
    desk.hear(two, Said("vacated", {"number": asked["number"], "done": False}))
    desk.hear(two, Said("vacated", {"number": asked["number"], "done": True}))  # said already
    assert one.link.said == []
    desk.hear(three, Said("vacated", {"number": asked["number"], "done": True}))
    assert one.link.said == [("answer", {"number": 5, "done": True})]


async def test_a_question_to_a_worker_that_dies_is_answered_all_the_same(desk: Desk) -> None:
    one, two = a_worker(1), a_worker(2)
    desk.came(one)
    desk.hear(one, Said("vacate", {"number": 1, "fingerprint": "", "address": ["/run/x"]}))
    assert one.link.said == [("answer", {"number": 1, "done": False})]
    desk.came(two)
    desk.hear(one, Said("vacate", {"number": 2, "fingerprint": "", "address": ["/run/x"]}))
    desk.went(two)
    assert one.link.said[-1] == ("answer", {"number": 2, "done": False})


@pytest.mark.parametrize(
    "said",
    [
        Said("nonsense", {}),
        Said("end", {}),
        Said("end", {"token": 1, "offence": "something-else"}),
        Said("report", {"lies": 1}),
        Said("subscribe", {}),
    ],
)
async def test_what_makes_no_sense_raises(desk: Desk, said: Said) -> None:
    one = a_worker(1)
    desk.came(one)
    client = arrive(desk)
    with pytest.raises((KeyError, ValueError, TypeError)):
        desk.hear(one, said)
    client.close()


async def test_a_report_is_counted(desk: Desk) -> None:
    one = a_worker(1)
    desk.hear(one, Said("report", {"sessions": 4}))
    assert desk.tally.session_count == 4
    assert one.heard <= asyncio.get_running_loop().time()

"""UDP ASSOCIATE of `wraith connect`, to a server with a network of its own.

A stock `sshd` has no datagrams; that it is told at once is in `test_replies.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import time

import pytest

from interop.peers.datagrams import Association, Forwarder
from interop.peers.far_side import FarSide
from interop.peers.process import wait_until
from interop.peers.roles import Address, ClientAsk, ServerAsk
from interop.peers.stage import Stage
from interop.peers.tools import require_tool

NAME, ADDRESS = "intranet.far.test", "10.20.30.40"


def _far_side(stage: Stage, *rules: str, options: str = "") -> tuple[FarSide, Address]:
    """A server there, and the SOCKS port of a client here."""
    key = stage.key()
    extra = [word for rule in rules for word in ("--rule", rule)]
    far = FarSide(stage, ServerAsk(authorized=[f"{options} {key.public}".strip()], extra=extra))
    return far, stage.client("wraith", far, key, ClientAsk()).socks


def _dig(server: Address, *words: str) -> str:
    where = [f"@{server.host}", "-p", str(server.port)]
    ended = subprocess.run(
        [str(require_tool("dig")), *where, "+tries=1", "+short", *words],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return ended.stdout


def test_dig_asks_a_server_that_only_the_far_side_reaches(stage: Stage) -> None:
    far, proxy = _far_side(stage)
    there = far.dns(f"{NAME},{ADDRESS}")
    with Forwarder(proxy, there) as here:
        assert _dig(here, NAME) == f"{ADDRESS}\n"
        answers = [_dig(here, NAME) for _ in range(20)]
        assert answers == [f"{ADDRESS}\n"] * 20
    assert "communications error" in _dig(there, "+time=1", NAME), "nobody reaches it from here"


def test_datagrams_of_nine_thousand_bytes_and_of_nearly_all_that_fits(stage: Stage) -> None:
    far, proxy = _far_side(stage)
    echo = far.echo(7007)
    with Association(proxy) as association:
        for size in (0, 1, 1472, 9000, 40_000, 65_000):
            payload = os.urandom(size)
            answer = association.ask(echo, payload)
            assert answer.partition(b" ")[2] == payload, size


def test_one_port_towards_all_partners_and_an_own_for_each_association(stage: Stage) -> None:
    far, proxy = _far_side(stage)
    one, other = far.echo(7007), far.echo(7008)
    with Association(proxy) as first, Association(proxy) as second:
        seen = [
            association.ask(partner, b"who am I?").partition(b" ")[0]
            for association in (first, second)
            for partner in (one, other)
        ]
    assert seen[0] == seen[1]
    assert seen[2] == seen[3]
    assert seen[0] != seen[2]


def test_rules_hold_for_each_datagram(stage: Stage) -> None:
    far, proxy = _far_side(stage, "deny 127.0.0.3", "deny *:7008")
    allowed, by_address, by_port = far.echo(7007), far.echo(7007, "127.0.0.3"), far.echo(7008)
    with Association(proxy) as association:
        for forbidden in (by_address, by_port, Address("::ffff:127.0.0.3", 7007)):
            association.send(forbidden, b"let me in")
        assert association.is_silent()
        assert association.ask(allowed, b"hello").endswith(b" hello")


def test_a_key_with_permitopen_reaches_what_is_named_to_it(stage: Stage) -> None:
    permits = 'permitopen="wraith-udp:*",permitopen="127.0.0.1:7007"'
    far, proxy = _far_side(stage, options=permits)
    named, other = far.echo(7007), far.echo(7008)
    with Association(proxy) as association:
        association.send(other, b"let me in")
        assert association.is_silent()
        assert association.ask(named, b"hello").endswith(b" hello")


def test_many_associations_come_and_go_and_leave_nothing(stage: Stage) -> None:
    far, proxy = _far_side(stage)
    echo = far.echo(7007)
    before = far.process.holdings().descriptors
    for _ in range(5):
        associations = [Association(proxy) for _ in range(40)]
        for number, association in enumerate(associations):
            association.send(echo, b"%d" % number)
        for number, association in enumerate(associations):
            assert association.receive().partition(b" ")[2] == b"%d" % number
        assert far.udp_sockets() == 40
        for association in associations:
            association.__exit__(None, None, None)
        wait_until(lambda: far.udp_sockets() == 0, 5, "the sockets are closed")
    assert far.process.holdings().descriptors <= before + 2


@pytest.mark.timeout(180)
def test_a_minute_without_traffic_closes_the_socket_and_not_the_association(stage: Stage) -> None:
    far, proxy = _far_side(stage)
    echo = far.echo(7007)
    with Association(proxy) as association:
        first = association.ask(echo, b"?").partition(b" ")[0]
        begun = time.monotonic()
        time.sleep(50)
        assert far.udp_sockets() == 1, "not before its time"
        wait_until(lambda: far.udp_sockets() == 0, 40, "the socket is closed")
        assert time.monotonic() - begun > 55
        again = association.ask(echo, b"?").partition(b" ")[0]
        assert re.fullmatch(rb"127\.0\.0\.1:[0-9]+", again)
        assert again != first


def test_an_association_does_not_outlive_its_session(stage: Stage) -> None:
    far, proxy = _far_side(stage)
    with Association(proxy) as association:
        far.process.kill()
        with pytest.raises(ConnectionResetError):
            association.control.recv(1)

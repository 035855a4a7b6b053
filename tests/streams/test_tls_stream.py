"""TLS as a stream: every promise of a stream, over a socket and over memory, under every loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.certificates import Made, make_certificate
from tests.support.loops import LOOPS, NewLoop, run_under
from tests.support.sockets import tcp_pair
from wraith.streams.memory import memory_pair
from wraith.streams.socket_stream import open_socket_stream
from wraith.streams.tls_stream import TlsStream
from wraith.testing import PROMISES, MakePair

Join = Callable[[asyncio.Protocol, asyncio.Protocol], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_certificate(tmp_path_factory.mktemp("certificates"), "localhost")


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def over_sockets(left: asyncio.Protocol, right: asyncio.Protocol) -> None:
    with tcp_pair() as (near, far):
        far.setblocking(False)
        for sock, protocol in ((near, left), (far, right)):
            await open_socket_stream(socket.socket(fileno=sock.detach()), protocol)


async def over_memory(left: asyncio.Protocol, right: asyncio.Protocol) -> None:
    memory_pair(left, right)


def pair_maker(join: Join, server: ssl.SSLContext, client: ssl.SSLContext) -> MakePair:
    async def make(
        left: asyncio.Protocol, right: asyncio.Protocol
    ) -> tuple[asyncio.Transport, asyncio.Transport]:
        secured = asyncio.Event()
        near = TlsStream(
            left, client, server_name="localhost", on_secured=lambda _stream: secured.set()
        )
        far = TlsStream(right, server)
        await join(near, far)
        await asyncio.wait_for(secured.wait(), 10)
        return near, far

    return make


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("join", [over_sockets, over_memory])
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_it_keeps_every_promise_of_a_stream(
    promise: Callable[[MakePair], Coroutine[Any, Any, None]],
    join: Join,
    version: ssl.TLSVersion,
    new_loop: NewLoop,
    certificate: Made,
) -> None:
    client = trusting()
    client.minimum_version = client.maximum_version = version
    make = pair_maker(join, certificate.server_context(), client)
    assert run_under(new_loop, promise(make)).contexts == []

"""What is particular to a pair in memory; what it has in common is in the conformance suite."""

from __future__ import annotations

import asyncio

import pytest

from wraith.streams.memory import memory_pair
from wraith.testing import Recorder


async def test_a_reset_loses_what_was_not_read() -> None:
    left, right = Recorder(), Recorder()
    memory_pair(left, right)
    right.stream.pause_reading()
    left.stream.write(b"never read")
    left.stream.abort()
    assert isinstance(await right.until_lost(), ConnectionResetError)
    assert not right.received
    assert await left.until_lost() is None


async def test_a_protocol_that_keeps_nothing_open_ends_with_its_peer() -> None:
    left = Recorder()
    memory_pair(left, asyncio.Protocol())
    left.stream.write_eof()
    assert await left.until_eof() == b""
    left.stream.close()
    assert await left.until_lost() is None


async def test_writing_after_the_end_is_a_mistake() -> None:
    left, right = Recorder(), Recorder()
    memory_pair(left, right)
    left.stream.write_eof()
    left.stream.write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        left.stream.write(b"more")
    left.stream.abort()
    await asyncio.gather(left.until_lost(), right.until_lost())


async def test_the_marks_can_be_moved() -> None:
    left, right = Recorder(), Recorder()
    memory_pair(left, right)
    assert left.stream.get_write_buffer_limits() == (16384, 65536)
    left.stream.set_write_buffer_limits(high=10, low=5)
    assert left.stream.get_write_buffer_limits() == (5, 10)
    right.stream.pause_reading()
    left.stream.write(b"eleven bytes")
    assert left.stream.get_write_buffer_size() == 12
    assert not left.writable.is_set()
    right.stream.resume_reading()
    await asyncio.wait_for(left.writable.wait(), 1)
    left.stream.abort()
    await asyncio.gather(left.until_lost(), right.until_lost())
    assert left.stream.get_write_buffer_size() == 0
    assert "lost" in repr(left.stream)


async def test_it_knows_nothing_of_a_network() -> None:
    left, right = Recorder(), Recorder()
    memory_pair(left, right)
    assert left.stream.get_extra_info("socket") is None
    assert left.stream.get_extra_info("peername", "nobody") is None
    left.stream.close()
    right.stream.close()
    await asyncio.gather(left.until_lost(), right.until_lost())

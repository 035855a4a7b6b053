from __future__ import annotations

from wraith.protocol.decoy.buffers import LARGE, LARGE_COUNT, SMALL, HeadBuffers


def filled(buffers: HeadBuffers) -> HeadBuffers:
    """Filled to the brim, and read."""
    buffers.put(b"x" * buffers.room)
    buffers.position += buffers.unread
    assert buffers.full
    return buffers


def test_one_small_buffer_and_four_large_ones() -> None:
    buffers = HeadBuffers()
    assert buffers.room == SMALL
    for _ in range(LARGE_COUNT):
        filled(buffers)
        assert buffers.grow(in_line=False)
        assert buffers.room == LARGE
    filled(buffers)
    assert not buffers.grow(in_line=False)


def test_a_line_moves_along_until_it_is_longer_than_a_buffer() -> None:
    buffers = filled(HeadBuffers())
    buffers.line = 1000
    assert buffers.grow(in_line=True)
    assert (buffers.position, buffers.line, buffers.room) == (24, 0, LARGE - 24)
    filled(buffers)
    assert not buffers.grow(in_line=True)


def test_what_was_read_too_far_takes_a_buffer_that_is_free() -> None:
    buffers = HeadBuffers()
    for _ in range(LARGE_COUNT):
        assert filled(buffers).grow(in_line=False)
    buffers.put(b"GET")
    assert buffers.next_request(), "in the last of four; three are free"
    assert buffers.skip(3) == b"GET"
    buffers.put_back(b"y" * (LARGE - 1))
    assert (buffers.unread, buffers.room) == (LARGE - 1, 1)
    for _ in range(2):
        assert filled(buffers).grow(in_line=False)
    assert not filled(buffers).grow(in_line=False)
    assert not buffers.next_request()
    assert buffers.room == SMALL


def test_blank_lines_are_passed_over() -> None:
    buffers = HeadBuffers()
    buffers.put(b"\r\n\nGET")
    buffers.skip_blank()
    assert (buffers.line, buffers.unread) == (3, 3)

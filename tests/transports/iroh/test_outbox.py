"""What waits to be sent: every byte once, in order, in pieces of a bounded size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wraith.transports.iroh.outbox import HIGH_WATER, WRITE_SIZE, Outbox

SIZES = st.one_of(st.integers(1, 2000), st.integers(WRITE_SIZE - 2, 2 * WRITE_SIZE + 2))


@given(st.lists(st.one_of(SIZES, st.none()), max_size=30))
def test_what_goes_in_comes_out_once_and_in_order(steps: list[int | None]) -> None:
    """A number is so many bytes to add, None is a turn of writing."""
    outbox, put, got = Outbox(), bytearray(), bytearray()
    for number, size in enumerate([*steps, *[None] * 200]):
        if size is not None:
            data = bytes([number % 251]) * size
            put += data
            outbox.add(data)
        elif outbox.waits:
            pieces = outbox.take()
            assert 0 < sum(map(len, pieces)) <= WRITE_SIZE
            got += b"".join(pieces)
            outbox.written()
        assert len(outbox) == len(put) - len(got)
    assert got == put
    assert not outbox.waits


def test_what_is_under_way_counts_until_it_is_written() -> None:
    outbox = Outbox()
    outbox.add(b"x" * 10)
    assert outbox.take() == [b"x" * 10]
    assert (len(outbox), outbox.waits) == (10, False)
    outbox.add(memoryview(b"y" * 5))
    assert len(outbox) == 15
    outbox.written()
    assert (len(outbox), outbox.waits) == (5, True)
    outbox.clear()
    assert (len(outbox), outbox.waits) == (0, False)


def test_the_marks_are_asyncios() -> None:
    outbox = Outbox()
    assert (outbox.low, outbox.high) == (HIGH_WATER // 4, HIGH_WATER)
    for high, low, marks in ((8, None, (2, 8)), (None, 8, (8, 32)), (9, 3, (3, 9))):
        outbox.set_limits(high, low)
        assert (outbox.low, outbox.high) == marks

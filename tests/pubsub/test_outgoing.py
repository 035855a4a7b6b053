"""What waits to be published elsewhere."""

from __future__ import annotations

from wraith.pubsub.outgoing import BATCH_EVENTS, MAX_BYTES, MAX_EVENTS, Outgoing


def test_batches_come_out_in_order_and_are_bounded() -> None:
    outgoing = Outgoing()
    for number in range(250):
        outgoing.put(f"a:{number}", b"x")
    sizes, topics = list[int](), list[str]()
    while batch := outgoing.take():
        sizes.append(len(batch))
        topics += [topic for topic, _ in batch]
    assert sizes == [BATCH_EVENTS, BATCH_EVENTS, 50]
    assert topics == [f"a:{number}" for number in range(250)]


def test_a_batch_ends_when_it_is_large() -> None:
    outgoing = Outgoing()
    for _ in range(4):
        outgoing.put("a:", b"x" * 200_000)
    assert [len(outgoing.take()) for _ in range(3)] == [2, 2, 0]


def test_the_newest_is_dropped_and_counted() -> None:
    outgoing = Outgoing()
    for number in range(MAX_EVENTS + 3):
        outgoing.put(f"a:{number}", b"x")
    assert (len(outgoing), outgoing.dropped(), outgoing.dropped()) == (MAX_EVENTS, 3, 0)
    assert outgoing.take()[0] == ("a:0", b"x")
    outgoing.lost(2)
    assert "dropped=2" in repr(outgoing)


def test_bytes_are_bounded_too_and_one_of_any_size_may_wait_alone() -> None:
    outgoing = Outgoing()
    outgoing.put("a:", b"x" * (MAX_BYTES + 1))
    outgoing.put("a:", b"x")
    assert (len(outgoing), outgoing.dropped()) == (1, 1)
    outgoing.take()
    outgoing.put("a:", b"x" * (MAX_BYTES - 1))
    outgoing.put("a:", b"x")
    outgoing.put("a:", b"x")
    assert (len(outgoing), outgoing.dropped()) == (2, 1)

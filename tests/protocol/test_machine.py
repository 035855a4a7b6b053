import pytest

from wraith.protocol.machine import Cursor, Incomplete, Machine


def test_a_cursor_reads_on() -> None:
    cursor = Cursor(b"\x01\x02\x03\x02ab\x00\x50rest")
    assert cursor.byte() == 1
    assert cursor.take(2) == b"\x02\x03"
    assert cursor.counted() == b"ab"
    assert cursor.port() == 80
    assert cursor.position == 8


def test_bytes_that_lack_are_waited_for() -> None:
    for read in (Cursor.byte, Cursor.port, Cursor.counted):
        with pytest.raises(Incomplete):
            read(Cursor(b""))
    with pytest.raises(Incomplete):
        Cursor(b"\x03ab").counted()


def test_a_text_ends_with_nul() -> None:
    cursor = Cursor(bytearray(b"abc\0\0x"))
    assert [cursor.until_nul(3), cursor.until_nul(3)] == [b"abc", b""]
    with pytest.raises(Incomplete):
        cursor.until_nul(1)


@pytest.mark.parametrize("data", [b"abcd", b"abcd\0", b"abcdefgh\0"])
def test_a_text_has_a_limit(data: bytes) -> None:
    with pytest.raises(ValueError, match="longer than 3 bytes"):
        Cursor(data).until_nul(3)


def test_what_could_not_be_read_stays() -> None:
    machine = Machine()
    machine.receive_data(b"\x03ab")
    with pytest.raises(Incomplete):
        machine._decode(Cursor.counted)
    machine.receive_data(b"cd")
    assert machine._decode(Cursor.counted) == b"abc"
    assert [machine._rest(), machine._rest()] == [b"d", b""]


def test_bytes_to_send_are_told_once() -> None:
    machine = Machine()
    machine._send(b"a")
    machine._send(b"b")
    assert [machine.data_to_send(), machine.data_to_send()] == [b"ab", b""]

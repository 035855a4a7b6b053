"""The shim's loop: works that wait for sockets, limits, and faults that stay where they are."""

import socket
from collections.abc import Callable, Iterator

import pytest

from wraith_tun.loop import FOREVER, OUT, Loop, Work
from wraith_tun.socks5 import NotTaken, Refused, Socks5, read, send


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        b.setblocking(False)
        yield a, b


def until(loop: Loop, done: Callable[[], object], turns: int = 50) -> None:
    for _ in range(turns):
        if done():
            return
        loop.turn()
    raise AssertionError(f"it did not come in {turns} turns")


Pair = tuple[socket.socket, socket.socket]


class TestAWork:
    def test_is_resumed_for_the_socket_that_is_ready(self, pair: Pair) -> None:
        loop, got = Loop(), list[object]()

        def work() -> Work[None]:
            loop.wait(pair[0])
            got.append((yield))

        loop.start(work())
        pair[1].send(b"x")
        until(loop, lambda: got)
        assert got == [pair[0]]

    def test_reads_what_comes_in_single_bytes(self, pair: Pair) -> None:
        loop, got = Loop(), list[bytes]()

        def work() -> Work[None]:
            got.append((yield from read(loop, pair[0], 3)))

        loop.start(work())
        for byte in (b"a", b"b", b"c"):
            loop.turn()
            pair[1].send(byte)
        until(loop, lambda: got)
        assert got == [b"abc"]

    def test_sends_all_even_if_the_other_side_is_slow(self, pair: Pair) -> None:
        loop, data, sent = Loop(), bytes(3_000_000), list[bool]()

        def work() -> Work[None]:
            yield from send(loop, pair[0], data)
            sent.append(True)

        loop.start(work())
        loop.turn()
        assert not sent
        got = 0
        while got < len(data):
            got += len(pair[1].recv(1 << 20))
            if not sent:
                loop.turn()
        assert sent

    def test_is_told_that_its_time_is_over_once(self, pair: Pair) -> None:
        loop, late = Loop(), list[float]()

        def work() -> Work[None]:
            loop.allow(0.1)
            for _ in range(2):
                try:
                    yield
                except TimeoutError:
                    late.append(loop.now)
            loop.allow(FOREVER)
            yield

        begun = loop.now
        loop.start(work())
        until(loop, lambda: late)
        assert 0.1 <= late[0] - begun < 5
        loop.turn()
        assert len(late) == 1

    def test_never_begins_within_another(self) -> None:
        """A thousand that fail at once, each of which starts the next, need no deeper stack."""
        loop, ended = Loop(), list[int]()

        def work(number: int) -> Work[None]:
            if number < 3000:
                loop.start(work(number + 1))
            ended.append(number)
            yield from ()

        loop.start(work(0))
        until(loop, lambda: len(ended) == 3001, turns=3100)

    def test_that_is_faulty_ends_alone_and_says_no_secret(
        self, pair: Pair, capsys: pytest.CaptureFixture[str]
    ) -> None:
        loop, got = Loop(), list[bytes]()

        def faulty() -> Work[None]:
            yield from ()
            raise RuntimeError("secret.example")

        def good() -> Work[None]:
            got.append((yield from read(loop, pair[0], 1)))

        loop.watch(pair[1].fileno(), OUT, lambda: [][0])
        loop.start(faulty())
        loop.start(good())
        pair[1].send(b"x")
        until(loop, lambda: got)
        said = capsys.readouterr().err
        assert "internal error (RuntimeError)" in said
        assert "internal error (IndexError)" in said
        assert "secret" not in said


def test_a_socket_that_was_closed_is_waited_for_no_more(pair: Pair) -> None:
    loop, number = Loop(), pair[0].fileno()
    loop.watch(number, OUT, lambda: pytest.fail("it has been closed"))
    loop.close(pair[0], None)
    again, other = socket.socketpair()
    with again, other:
        assert again.fileno() == number, "else this story shows nothing"
        loop.watch(again.fileno(), OUT, lambda: called.append(True))
        called = list[bool]()
        until(loop, lambda: called)


class TestASocks5Server:
    """What it may answer, whole and in single bytes."""

    def ask(self, *answers: bytes, credentials: str | None = None) -> object:
        """What becomes of a request, as the server sends one answer after each message."""
        loop, outcome = Loop(), list[object]()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = Socks5("127.0.0.1", listener.getsockname()[1], credentials)

            def work() -> Work[None]:
                try:
                    sock = yield from server.connect(loop, "far.example", 443)
                    outcome.append("connected")
                    loop.close(sock)
                except (OSError, EOFError, ValueError, NotTaken, Refused) as error:
                    outcome.append(error)

            loop.start(work())
            loop.turn()
            with listener.accept()[0] as stream:
                for answer in answers:
                    stream.recv(512)
                    for byte in answer:
                        if not outcome:
                            stream.send(bytes([byte]))
                            loop.turn()
                if not outcome:
                    stream.shutdown(socket.SHUT_WR)
                until(loop, lambda: outcome)
        return outcome[0]

    @pytest.mark.parametrize("bound", [b"\1" + bytes(6), b"\3\1a\0\0", b"\4" + bytes(18)])
    def test_that_succeeds(self, bound: bytes) -> None:
        assert self.ask(b"\5\0", b"\5\0\0" + bound) == "connected"

    def test_that_wants_credentials(self) -> None:
        good = b"\5\0\0\1" + bytes(6)
        assert self.ask(b"\5\2", b"\1\0", good, credentials="user:word") == "connected"
        for answers, credentials in (((b"\5\2", b"\1\1"), "user:word"), ((b"\5\2",), None)):
            assert isinstance(self.ask(*answers, credentials=credentials), NotTaken)

    def test_that_refuses(self) -> None:
        error = self.ask(b"\5\0", b"\5\5\0\1" + bytes(6))
        assert isinstance(error, Refused)
        assert error.reply == 5

    def test_that_is_none(self) -> None:
        assert isinstance(self.ask(b"HTTP/1.1 400"), NotTaken)

    def test_that_ends_in_the_middle(self) -> None:
        for answers in ((), (b"\5",), (b"\5\0",), (b"\5\0", b"\5\0\0\1")):
            assert isinstance(self.ask(*answers), EOFError | OSError)

    def test_with_an_address_that_nobody_knows(self) -> None:
        assert isinstance(self.ask(b"\5\0", b"\5\0\0\7" + bytes(9)), ValueError)

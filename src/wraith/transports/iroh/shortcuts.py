"""Reading and writing without the binding's detours, for an answer that is there already.

The binding is generated. Its own methods look at each byte that is written, in Python, and end each
call with a turn of the event loop, also where the answer was there at once. Here a buffer crosses
in one piece, and the Rust future is asked once before anybody waits for it (decision 019 has the
figures). Every private name of the binding that this takes stands in `NAMES`; where one is missing,
`fastest` says so in the log, and the plain calls do the work.

A Rust future is used in this order: made, polled until it says that it is ready, completed, freed.
A poll answers through a callback: at once, in this very thread, or later from a thread of Rust's.
Freeing a future that was not ready drops it, and its callback may come once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import itertools
import logging
import struct
import threading
from collections.abc import Sequence
from typing import Any

from wraith.streams.log_line import log_event
from wraith.transports.iroh.binding import load
from wraith.transports.iroh.calls import Answered, Pending, Read, Write
from wraith.transports.iroh.calls import read as plain_read
from wraith.transports.iroh.calls import write as plain_write

_log = logging.getLogger("wraith.transport")

MODULE = "iroh.iroh_ffi"

NAMES = (
    "_UNIFFI_RUST_FUTURE_CONTINUATION_CALLBACK",
    "_UNIFFI_RUST_FUTURE_POLL_READY",
    "_UniffiFfiConverterTypeIrohError__as_error.lift",
    "_UniffiLib.ffi_iroh_ffi_rust_future_complete_rust_buffer",
    "_UniffiLib.ffi_iroh_ffi_rust_future_complete_void",
    "_UniffiLib.ffi_iroh_ffi_rust_future_free_rust_buffer",
    "_UniffiLib.ffi_iroh_ffi_rust_future_free_void",
    "_UniffiLib.ffi_iroh_ffi_rust_future_poll_rust_buffer",
    "_UniffiLib.ffi_iroh_ffi_rust_future_poll_void",
    "_UniffiLib.ffi_iroh_ffi_rustbuffer_alloc",
    "_UniffiLib.ffi_iroh_ffi_rustbuffer_free",
    "_UniffiLib.uniffi_iroh_ffi_fn_method_recvstream_read",
    "_UniffiLib.uniffi_iroh_ffi_fn_method_sendstream_write_all",
    "_UniffiRustBuffer.data.offset",
    "_UniffiRustCallStatus",
    "_uniffi_check_call_status",
    "RecvStream._uniffi_clone_handle",
    "SendStream._uniffi_clone_handle",
)
"""What is taken from the generated module beyond its public names."""

_LENGTH = struct.Struct(">i")  # how the binding passes bytes: a length, then they
"""Also the room that it takes."""


def missing(module: Any) -> str | None:
    """The first of `NAMES` that the generated module lacks, if any."""
    for name in NAMES:
        place = module
        for part in name.split("."):
            place = getattr(place, part, None)
            if place is None:
                return name
    return None


@functools.cache
def fastest() -> tuple[Read, Write]:
    """How to read and write: by the short cuts where the binding is as they know it."""
    load()
    import iroh.iroh_ffi as generated

    name = missing(generated)
    if name is not None:
        log_event(_log, logging.WARNING, "the iroh short cuts are off", missing=name)
        return plain_read, plain_write
    shortcuts = Shortcuts(generated)
    return shortcuts.read, shortcuts.write


class Shortcuts:
    """The short cuts, for one loaded binding."""

    def __init__(self, generated: Any) -> None:
        library = generated._UniffiLib
        self._status = generated._UniffiRustCallStatus
        self._check = generated._uniffi_check_call_status
        self._error = generated._UniffiFfiConverterTypeIrohError__as_error
        self._data_at = generated._UniffiRustBuffer.data.offset
        self._alloc = library.ffi_iroh_ffi_rustbuffer_alloc
        self._free = library.ffi_iroh_ffi_rustbuffer_free
        self._new_read = library.uniffi_iroh_ffi_fn_method_recvstream_read
        self._new_write = library.uniffi_iroh_ffi_fn_method_sendstream_write_all
        self._read_calls = tuple(
            getattr(library, f"ffi_iroh_ffi_rust_future_{step}_rust_buffer")
            for step in ("poll", "complete", "free")
        )
        self._write_calls = tuple(
            getattr(library, f"ffi_iroh_ffi_rust_future_{step}_void")
            for step in ("poll", "complete", "free")
        )
        self._ready = generated._UNIFFI_RUST_FUTURE_POLL_READY
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Call] = {}
        """By the number that Rust was given: a late callback then finds nobody."""
        # Rust keeps the address of this; it must live as long as the library, as we do.
        self._callback = generated._UNIFFI_RUST_FUTURE_CONTINUATION_CALLBACK(self._polled)

    def read(self, half: Any, limit: int, done: Answered) -> bytes | Pending:
        """As `calls.Read`."""
        future = self._new_read(half._uniffi_clone_handle(), limit)
        return _Call(self, future, self._read_calls, self._bytes_in, done).begin()

    def write(self, half: Any, pieces: Sequence[bytes], done: Answered) -> bytes | Pending:
        """As `calls.Write`."""
        future = self._new_write(half._uniffi_clone_handle(), self._buffer_of(pieces))
        return _Call(self, future, self._write_calls, _nothing, done).begin()

    def _buffer_of(self, pieces: Sequence[bytes]) -> Any:
        """A buffer of Rust's with the pieces in it; the call that gets it frees it."""
        size = sum(map(len, pieces))
        status = self._status()
        buffer = self._alloc(size + _LENGTH.size, ctypes.byref(status))
        self._check(None, status)
        at = self._address(buffer)
        ctypes.memmove(at, _LENGTH.pack(size), _LENGTH.size)
        at += _LENGTH.size
        for piece in pieces:
            ctypes.memmove(at, piece, len(piece))
            at += len(piece)
        buffer.len = size + _LENGTH.size
        return buffer

    def _bytes_in(self, buffer: Any) -> bytes:
        data = ctypes.string_at(self._address(buffer) + _LENGTH.size, buffer.len - _LENGTH.size)
        self._free(buffer, ctypes.byref(self._status()))
        return data

    def _address(self, buffer: Any) -> int:
        address = ctypes.c_void_p.from_buffer(buffer, self._data_at).value
        assert address is not None
        return address

    def poll(self, call: _Call, poll: Any, future: Any) -> None:
        """Ask whether a future is ready; `call` is told, by whichever thread."""
        call.number = number = next(self._numbers)
        self._waiting[number] = call
        poll(future, self._callback, number)

    def forget(self, call: _Call) -> None:
        """Whatever still comes for this call comes for nobody."""
        self._waiting.pop(call.number, None)

    def _polled(self, number: int, code: int) -> None:
        call = self._waiting.pop(number, None)
        if call is not None:
            call.polled(code == self._ready)

    def complete(self, complete: Any, future: Any) -> Any:
        """The answer of a future that is ready. Raises the binding's errors."""
        status = self._status()
        answer = complete(future, ctypes.byref(status))
        self._check(self._error, status)
        return answer


def _nothing(_answer: object) -> bytes:
    return b""


class _Call:
    """One Rust future, from its making to its end."""

    __slots__ = (
        "_calls",
        "_done",
        "_ended",
        "_future",
        "_lift",
        "_loop",
        "_polling_thread",
        "_ready",
        "_shortcuts",
        "number",
    )

    def __init__(
        self, shortcuts: Shortcuts, future: Any, calls: Any, lift: Any, done: Answered
    ) -> None:
        self._shortcuts = shortcuts
        self._future = future
        self._calls = calls
        self._lift = lift
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._polling_thread = 0
        self._ready: bool | None = None
        self._ended = False
        self.number = 0

    def begin(self) -> bytes | Pending:
        """Ask once: the answer, or this call, to be answered later. Raises the binding's errors."""
        return self._answer() if self._is_ready() else self

    def _is_ready(self) -> bool:
        """Poll until the future is ready, or has taken our callback to call it later."""
        while True:
            self._ready = None
            self._polling_thread = threading.get_ident()
            self._shortcuts.poll(self, self._calls[0], self._future)
            self._polling_thread = 0
            if self._ready is not False:
                return bool(self._ready)

    def polled(self, ready: bool) -> None:
        """Rust's answer to a poll: in the middle of it, or later from another thread."""
        if self._polling_thread == threading.get_ident():
            self._ready = ready
            return
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._woken, ready)

    def _woken(self, ready: bool) -> None:
        if self._ended or not (ready or self._is_ready()):
            return
        try:
            answer = self._answer()
        except Exception as error:
            self._done(b"", error)
        else:
            self._done(answer, None)

    def _answer(self) -> bytes:
        self._ended = True
        try:
            answer: bytes = self._lift(self._shortcuts.complete(self._calls[1], self._future))
            return answer
        finally:
            self._calls[2](self._future)

    def cancel(self) -> None:
        """As `Pending.cancel`."""
        if not self._ended:
            self._ended = True
            self._shortcuts.forget(self)
            self._calls[2](self._future)

"""The request line and the header lines as tables: in each state, where each byte leads.

A server that waits for whole lines answers later than one that reads byte by byte, and that can be
seen from outside. These tables know at each byte whether the line may go on. Runs of bytes that
change nothing are skipped at the speed of a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum, auto

LETTERS = rb"A-Za-z"
CONTROL = rb"\x00-\x1f\x7f"


class State(IntEnum):
    """Where in a line the reader is; the first four end it."""

    DONE = 0
    HEAD_DONE = auto()
    INVALID = auto()
    UNKNOWN_VERSION = auto()

    # The request line
    START = auto()
    METHOD = auto()
    BEFORE_TARGET = auto()
    SCHEME = auto()
    SCHEME_SLASH = auto()
    SCHEME_SLASH_SLASH = auto()
    HOST_START = auto()
    HOST = auto()
    HOST_LITERAL = auto()
    HOST_END = auto()
    PORT = auto()
    PATH = auto()
    AFTER_TARGET = auto()
    H = auto()
    HT = auto()
    HTT = auto()
    HTTP = auto()
    MAJOR = auto()
    AFTER_MAJOR = auto()
    MINOR = auto()
    MINOR_ZERO = auto()
    MINOR_ONE_DIGIT = auto()
    MINOR_TWO_DIGITS = auto()
    MINOR_THREE_DIGITS = auto()
    AFTER_VERSION = auto()
    LINE_CR = auto()

    # A header line
    NAME_START = auto()
    NAME = auto()
    BEFORE_VALUE = auto()
    VALUE = auto()
    VALUE_CR = auto()
    HEAD_CR = auto()


LAST_END = State.UNKNOWN_VERSION
"""States up to this one are the end of a line."""


class Row:
    """One state: the bytes that stay in it, and the moves out of it; all others are invalid."""

    __slots__ = ("moves", "run")

    def __init__(self, stay: bytes, moves: Mapping[bytes, State]) -> None:
        self.run = re.compile(b"[%b]*" % stay) if stay else None
        self.moves = [State.INVALID] * 256
        for kind, state in moves.items():
            for byte in re.findall(b"[%b]" % kind, bytes(range(256)), re.DOTALL):
                self.moves[byte[0]] = state


_LINE_ENDS = {rb"\r": State.LINE_CR, rb"\n": State.DONE}
_AFTER_HOST = {
    rb":": State.PORT,
    rb"/?": State.PATH,
    rb" ": State.AFTER_TARGET,
}
_VALUE_ENDS = {rb"\r": State.VALUE_CR, rb"\n": State.DONE}

ROWS: Mapping[State, Row] = {
    State.START: Row(rb"\r\n", {rb"A-Z_-": State.METHOD}),
    State.METHOD: Row(rb"A-Z_-", {rb" ": State.BEFORE_TARGET}),
    State.BEFORE_TARGET: Row(rb" ", {rb"/": State.PATH, LETTERS: State.SCHEME}),
    State.SCHEME: Row(rb"A-Za-z0-9+.-", {rb":": State.SCHEME_SLASH}),
    State.SCHEME_SLASH: Row(b"", {rb"/": State.SCHEME_SLASH_SLASH}),
    State.SCHEME_SLASH_SLASH: Row(b"", {rb"/": State.HOST_START}),
    State.HOST_START: Row(
        b"", {rb"A-Za-z0-9.-": State.HOST, rb"\[": State.HOST_LITERAL, **_AFTER_HOST}
    ),
    State.HOST: Row(rb"A-Za-z0-9.-", _AFTER_HOST),
    State.HOST_LITERAL: Row(rb"A-Za-z0-9:._~!$&'()*+,;=-", {rb"\]": State.HOST_END}),
    State.HOST_END: Row(b"", _AFTER_HOST),
    State.PORT: Row(rb"0-9", {rb"/?": State.PATH, rb" ": State.AFTER_TARGET}),
    State.PATH: Row(rb"^\x00-\x20\x7f", {rb" ": State.AFTER_TARGET, **_LINE_ENDS}),
    State.AFTER_TARGET: Row(rb" ", {rb"H": State.H, **_LINE_ENDS}),
    State.H: Row(b"", {rb"T": State.HT}),
    State.HT: Row(b"", {rb"T": State.HTT}),
    State.HTT: Row(b"", {rb"P": State.HTTP}),
    State.HTTP: Row(b"", {rb"/": State.MAJOR}),
    State.MAJOR: Row(b"", {rb"1": State.AFTER_MAJOR, rb"2-9": State.UNKNOWN_VERSION}),
    State.AFTER_MAJOR: Row(b"", {rb".": State.MINOR, rb"0-9": State.UNKNOWN_VERSION}),
    State.MINOR: Row(b"", {rb"0": State.MINOR_ZERO, rb"1-9": State.MINOR_ONE_DIGIT}),
    State.MINOR_ZERO: Row(
        rb"0", {rb"1-9": State.MINOR_ONE_DIGIT, rb" ": State.AFTER_VERSION, **_LINE_ENDS}
    ),
    State.MINOR_ONE_DIGIT: Row(
        b"", {rb"0-9": State.MINOR_TWO_DIGITS, rb" ": State.AFTER_VERSION, **_LINE_ENDS}
    ),
    State.MINOR_TWO_DIGITS: Row(
        b"", {rb"0-9": State.MINOR_THREE_DIGITS, rb" ": State.AFTER_VERSION, **_LINE_ENDS}
    ),
    State.MINOR_THREE_DIGITS: Row(b"", {rb" ": State.AFTER_VERSION, **_LINE_ENDS}),
    State.AFTER_VERSION: Row(rb" ", _LINE_ENDS),
    State.LINE_CR: Row(b"", {rb"\n": State.DONE}),
    State.NAME_START: Row(
        b"",
        {
            rb"^\x00-\x20\x7f:": State.NAME,
            rb"\r": State.HEAD_CR,
            rb"\n": State.HEAD_DONE,
        },
    ),
    State.NAME: Row(rb"^\x00-\x20\x7f:", {rb":": State.BEFORE_VALUE, **_VALUE_ENDS}),
    State.BEFORE_VALUE: Row(rb" ", {rb"^\x00\r\n": State.VALUE, **_VALUE_ENDS}),
    State.VALUE: Row(rb"^\x00\r\n", _VALUE_ENDS),
    State.VALUE_CR: Row(rb"\r", {rb"\n": State.DONE}),
    State.HEAD_CR: Row(b"", {rb"\n": State.HEAD_DONE}),
}


def walk(state: State, data: bytes | bytearray, position: int) -> tuple[State, int]:
    """Read on from `position`; return the state and the place after the last byte that was read.

    It stops behind the byte that ends the line, or with all the bytes read.
    """
    while position < len(data):
        row = ROWS[state]
        if row.run is not None:
            match = row.run.match(data, position)
            assert match is not None  # an empty run matches everywhere
            position = match.end()
            if position == len(data):
                break
        state = row.moves[data[position]]
        position += 1
        if state <= LAST_END:
            break
    return state, position

from __future__ import annotations

import errno
import socket

import pytest

from wraith.errors import Refusal
from wraith.protocol.far_errno import refusal_of


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ECONNREFUSED, Refusal.REFUSED),
        (errno.EHOSTUNREACH, Refusal.HOST_UNREACHABLE),
        (errno.ENETUNREACH, Refusal.NETWORK_UNREACHABLE),
        (errno.ETIMEDOUT, Refusal.TIMED_OUT),
        (errno.EACCES, Refusal.PROHIBITED),
        (errno.EMFILE, Refusal.RESOURCE_SHORTAGE),
        (socket.EAI_NONAME, Refusal.NAME_UNKNOWN),
        (61, Refusal.REFUSED),
        (0, None),
        (99999, None),
    ],
)
def test_numbers_of_this_system_and_of_others(number: int, expected: Refusal | None) -> None:
    assert refusal_of(number) is expected

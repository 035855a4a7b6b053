"""Reading ahead, where that can be said."""

from __future__ import annotations

import ctypes
import ssl

import pytest

from wraith.transports import tls_read_ahead
from wraith.transports.below_ssl import openssl, pointer_of
from wraith.transports.certificates import server_context
from wraith.transports.tls_read_ahead import read_ahead
from wraith.transports.tls_trust import Trust

GET_READ_AHEAD = 40  # SSL_CTRL_GET_READ_AHEAD


def reads_ahead(context: ssl.SSLContext) -> bool:
    library = openssl()
    void = ctypes.c_void_p
    library.SSL_CTX_ctrl.argtypes = [void, ctypes.c_int, ctypes.c_long, void]
    return bool(library.SSL_CTX_ctrl(pointer_of(context, library), GET_READ_AHEAD, 0, None))


def test_both_sides_do_it() -> None:
    assert not reads_ahead(ssl.create_default_context())
    assert reads_ahead(server_context())
    assert reads_ahead(Trust("localhost", None, "", insecure=True).context())


def test_without_a_way_to_say_so_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> ctypes.CDLL:
        raise OSError("statically linked")

    monkeypatch.setattr(tls_read_ahead, "openssl", unreachable)
    context = ssl.create_default_context()
    assert not read_ahead(context)
    monkeypatch.undo()
    assert not reads_ahead(context)

"""OpenSSL reads several records at a time from a socket, instead of each in two pieces.

For settings that Python has no word for (SSL_CTX_set_read_ahead(3)). Where they cannot be made,
everything works as well, and a little slower.
"""

from __future__ import annotations

import contextlib
import ctypes
import ssl

from wraith.transports.below_ssl import UNREACHABLE, openssl, pointer_of

AT_ONCE = 64 * 1024
"""Bytes of OpenSSL's buffer; it is there only while something is in it."""

_SET_READ_AHEAD = 41  # SSL_CTRL_SET_READ_AHEAD


def read_ahead(context: ssl.SSLContext) -> bool:
    """Let the connections of a context read ahead; whether it could be done."""
    with contextlib.suppress(*UNREACHABLE):
        library = openssl()
        void, number = ctypes.c_void_p, ctypes.c_long
        library.SSL_CTX_ctrl.argtypes = [void, ctypes.c_int, number, void]
        library.SSL_CTX_set_default_read_buffer_len.argtypes = [void, ctypes.c_size_t]
        pointer = pointer_of(context, library)
        library.SSL_CTX_ctrl(pointer, _SET_READ_AHEAD, 1, None)
        library.SSL_CTX_set_default_read_buffer_len(pointer, AT_ONCE)
        return True
    return False

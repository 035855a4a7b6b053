"""Below Python's `ssl`: the OpenSSL that it is linked with, and the `SSL_CTX` of a context.

For settings that Python has no word for. CPython's contexts hold their `SSL_CTX` right behind the
object header; that place is checked before it is used, and what cannot be used raises one of
`UNREACHABLE`. Whoever calls must be able to do without.
"""

from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys

UNREACHABLE = (AttributeError, OSError, ValueError)


def openssl() -> ctypes.CDLL:
    """The very library that Python's `ssl` uses. Raises `OSError` where it cannot be known."""
    if sys.implementation.name != "cpython":
        raise OSError("only CPython's contexts are known")
    # Looked up through the module, so that it is never another copy of the library.
    library = ctypes.CDLL(getattr(_ssl, "__file__", None))
    library.SSL_CTX_get_options.argtypes = [ctypes.c_void_p]
    library.SSL_CTX_get_options.restype = ctypes.c_uint64
    return library


def pointer_of(context: ssl.SSLContext, library: ctypes.CDLL) -> int:
    """The `SSL_CTX *` of a context. Raises `ValueError` if it is not where it should be."""
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
    if not pointer or pointer % ctypes.alignment(ctypes.c_void_p):
        raise ValueError("no pointer behind the object header")
    options = library.SSL_CTX_get_options(pointer)
    context.options ^= ssl.OP_NO_TICKET
    changed = library.SSL_CTX_get_options(pointer)
    context.options ^= ssl.OP_NO_TICKET
    if changed != options ^ ssl.OP_NO_TICKET:
        raise ValueError("what stands behind the object header is no SSL_CTX")
    return pointer

"""Which cipher TLS 1.3 prefers: AES-128, as the SSH inside does.

OpenSSL prefers AES-256, which costs a third more for each byte and protects a tunnel no better than
what it carries is protected anyway. Where Python has a word for it (`set_ciphersuites`), that is
used, else OpenSSL's own function. Where neither can be, the order stays OpenSSL's. The ciphers on
offer are the same either way.
"""

from __future__ import annotations

import contextlib
import ctypes
import ssl
from collections.abc import Callable

from wraith.transports.below_ssl import UNREACHABLE, openssl, pointer_of

SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


def prefer_aes_128(context: ssl.SSLContext) -> bool:
    """Offer AES-128 first; whether it could be done."""
    if not _is_offered(context):
        return False
    set_suites: Callable[[str], None] | None = getattr(context, "set_ciphersuites", None)
    if set_suites is not None:
        set_suites(SUITES)
        return True
    with contextlib.suppress(*UNREACHABLE):
        library = openssl()
        library.SSL_CTX_set_ciphersuites.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        pointer = pointer_of(context, library)
        return bool(library.SSL_CTX_set_ciphersuites(pointer, SUITES.encode()) == 1)
    return False


def _is_offered(context: ssl.SSLContext) -> bool:
    """Whether the system's own settings leave all of them in; what they took out stays out."""
    offered = {cipher["name"] for cipher in context.get_ciphers()}
    return offered.issuperset(SUITES.split(":"))

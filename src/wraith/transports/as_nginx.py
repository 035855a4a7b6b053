"""A TLS context that shakes hands as nginx does.

Whoever scans servers compares handshakes: which versions and ciphers, in whose order, what is said
to an unknown name or protocol, how long a ticket lives. nginx hands its settings to OpenSSL; so do
we, to the same library, but for some of them Python has no word. Those are set below Python
(`below_ssl`). Where that cannot be reached, what Python itself can do must be enough, and `shape`
says so.

The numbers are OpenSSL's (`ssl.h`, `tls1.h`), stable since 1.1.1; the settings are those of nginx
1.22 with Debian's nginx.conf (ngx_http_ssl_module).
"""

from __future__ import annotations

import contextlib
import ctypes
import ssl
from typing import Any

from wraith.transports import below_ssl

PROTOCOLS = (b"http/1.1", b"http/1.0", b"http/0.9")
CIPHERS = "HIGH:!aNULL:!MD5"
TICKET_LIFETIME = 300  # ssl_session_timeout 5m

_CTRL_MODE = 33
_CTRL_SET_SESS_CACHE_SIZE = 42
_CTRL_SET_SESS_CACHE_MODE = 44
_CTRL_SET_TLSEXT_SERVERNAME_CB = 53
_CTRL_SET_MIN_PROTO_VERSION = 123

_MODE_NO_AUTO_CHAIN = 0x008
_MODE_RELEASE_BUFFERS = 0x010
_SESS_CACHE_SERVER = 0x002
_SESS_CACHE_NO_AUTO_CLEAR = 0x080
_SESS_CACHE_NO_INTERNAL_STORE = 0x200
_OP_IGNORE_UNEXPECTED_EOF = 0x80

_TLSEXT_ERR_OK = 0
_TLSEXT_ERR_ALERT_FATAL = 2
_NPN_NEGOTIATED = 1

_NameCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_ProtocolCallback = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_ubyte),
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_void_p,
)

_WIRE = b"".join(bytes([len(name)]) + name for name in PROTOCOLS)


def shape(context: ssl.SSLContext) -> bool:
    """Give a server's context nginx's manners; the certificate is the caller's.

    Returns False where only Python's own settings could be made: then a scanner that compares
    tickets, alerts for unknown protocols or very old versions can tell.
    """
    context.set_ciphers(CIPHERS)
    context.options |= (
        ssl.OP_CIPHER_SERVER_PREFERENCE
        | ssl.OP_NO_COMPRESSION
        | ssl.OP_NO_RENEGOTIATION
        | ssl.OP_SINGLE_DH_USE
        | _OP_IGNORE_UNEXPECTED_EOF
    )
    with contextlib.suppress(*below_ssl.UNREACHABLE):
        _shape_below_python(_OpenSsl(), context)
        return True
    context.set_alpn_protocols([name.decode() for name in PROTOCOLS])
    context.sni_callback = lambda *_: None
    return False


def _shape_below_python(openssl: _OpenSsl, context: ssl.SSLContext) -> None:
    pointer = openssl.pointer_of(context)
    openssl.control(pointer, _CTRL_SET_MIN_PROTO_VERSION, 0)  # and the security level refuses them
    openssl.control(pointer, _CTRL_MODE, _MODE_NO_AUTO_CHAIN | _MODE_RELEASE_BUFFERS)
    cache = _SESS_CACHE_SERVER | _SESS_CACHE_NO_AUTO_CLEAR | _SESS_CACHE_NO_INTERNAL_STORE
    openssl.control(pointer, _CTRL_SET_SESS_CACHE_MODE, cache)  # ssl_session_cache none
    openssl.control(pointer, _CTRL_SET_SESS_CACHE_SIZE, 1)
    openssl.set_timeout(pointer, TICKET_LIFETIME)
    # As long as nginx's, which is a SHA-1: its length shows in the length of a ticket.
    openssl.set_session_id_context(pointer, bytes(20), 20)
    openssl.set_name_callback(pointer, _CTRL_SET_TLSEXT_SERVERNAME_CB, _on_name)
    openssl.set_protocol_callback(pointer, _on_protocols, None)


class _OpenSsl:
    """The functions of the OpenSSL that Python's `ssl` itself is linked with.

    Raises `AttributeError` or `OSError` where they cannot be found.
    """

    def __init__(self) -> None:
        library = self._library = below_ssl.openssl()
        void, number = ctypes.c_void_p, ctypes.c_long
        self._control = library.SSL_CTX_ctrl
        self._control.argtypes = [void, ctypes.c_int, number, void]
        self._control.restype = number
        self.set_timeout = library.SSL_CTX_set_timeout
        self.set_timeout.argtypes = [void, number]
        self.set_session_id_context = library.SSL_CTX_set_session_id_context
        self.set_session_id_context.argtypes = [void, ctypes.c_char_p, ctypes.c_uint]
        self.set_name_callback = library.SSL_CTX_callback_ctrl
        self.set_name_callback.argtypes = [void, ctypes.c_int, _NameCallback]
        self.set_protocol_callback = library.SSL_CTX_set_alpn_select_cb
        self.set_protocol_callback.argtypes = [void, _ProtocolCallback, void]
        self.select_protocol = library.SSL_select_next_proto
        self.select_protocol.argtypes = [
            *(ctypes.POINTER(void), ctypes.POINTER(ctypes.c_ubyte)),
            *(void, ctypes.c_uint, void, ctypes.c_uint),
        ]
        global _openssl
        _openssl = self

    def control(self, pointer: int, command: int, value: int) -> None:
        self._control(pointer, command, value, None)

    def pointer_of(self, context: ssl.SSLContext) -> int:
        """The `SSL_CTX *` of a context. Raises `ValueError` if it is not where it should be."""
        return below_ssl.pointer_of(context, self._library)


_openssl: Any = None


def _name_asked(_connection: int, _alert: int, _argument: int) -> int:
    """Whatever name is asked for is acknowledged; Python's own callback fails on some."""
    return _TLSEXT_ERR_OK


def _protocols_offered(
    _connection: int, chosen: Any, chosen_length: Any, offered: int, length: int, _argument: int
) -> int:
    """The first of ours that the client offers; with none in common, a fatal alert."""
    selected = _openssl.select_protocol(chosen, chosen_length, _wire, len(_WIRE), offered, length)
    return _TLSEXT_ERR_OK if selected == _NPN_NEGOTIATED else _TLSEXT_ERR_ALERT_FATAL


_on_name = _NameCallback(_name_asked)
_on_protocols = _ProtocolCallback(_protocols_offered)
_wire = ctypes.create_string_buffer(_WIRE, len(_WIRE))

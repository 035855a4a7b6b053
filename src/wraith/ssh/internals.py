"""What of the SSH library's inside the hot path touches, and whether it is as we know it.

None of these names is promised by the library. They are checked once, against the version that we
pin; should one be missing, everything goes the library's ordinary way, with one warning.
"""

from __future__ import annotations

import functools
import logging

from asyncssh.connection import SSHClientConnection, SSHConnection, SSHServerConnection
from asyncssh.encryption import ChachaEncryption, GCMEncryption
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wraith.streams.log_line import log_event

_log = logging.getLogger("wraith.ssh")

CONNECTION_METHODS = (
    "_cleanup",
    "_finish_recv_packet",
    "_force_close",
    "_process_channel_open",
    "_process_channel_open_confirmation",
    "_process_channel_open_failure",
    "_recv_data",
    "_recv_pkthdr",
    "_send",
    "_send_deferred_packets",
    "_send_disconnect",
    "_send_kexinit",
    "connection_lost",
    "connection_made",
    "data_received",
    "internal_error",
    "send_newkeys",
    "send_packet",
)
"""Methods of every connection that the hot path overrides or calls."""

SERVER_METHODS = (
    "_process_direct_tcpip_open",
    "_process_direct_streamlocal_at_openssh_dot_com_open",
)

CONNECTION_STATE = (
    "_auth_complete",
    "_auth_final",
    "_deferred_packets",
    "_global_request_queue",
    "_inpbuf",
    "_kex_complete",
    "_kexinit_sent",
    "_max_recv_pktlen",
    "_packet",
    "_pktlen",
    "_recv_blocksize",
    "_recv_encryption",
    "_recv_handler",
    "_recv_macsize",
    "_recv_seq",
    "_rekey_bytes",
    "_rekey_bytes_sent",
    "_rekey_seconds",
    "_rekey_time",
    "_send_encryption",
    "_send_seq",
)
"""What the initialiser of every connection sets, and the hot path reads or writes."""


@functools.cache
def hot_path_available() -> bool:
    """Whether the library, and the ciphers, are as the hot path needs them; warns once if not."""
    missing = missing_names()
    if missing:
        log_event(
            _log,
            logging.WARNING,
            "the hot path is off: the SSH library is not as expected",
            missing=",".join(missing),
        )
    return not missing


def missing_names() -> list[str]:
    """The names that are not there."""
    wanted: list[tuple[object, str]] = [(SSHConnection, name) for name in CONNECTION_METHODS]
    wanted += [(SSHServerConnection, name) for name in SERVER_METHODS]
    wanted += [(AESGCM, "encrypt_into"), (AESGCM, "decrypt_into")]
    missing = [name for owner, name in wanted if not hasattr(owner, name)]
    set_by_initialiser = SSHConnection.__init__.__code__.co_names
    missing += [name for name in CONNECTION_STATE if name not in set_by_initialiser]
    missing += [
        cipher.__name__
        for cipher in (GCMEncryption, ChachaEncryption)
        if "_cipher" not in cipher.__init__.__code__.co_names
    ]
    if not issubclass(SSHClientConnection, SSHConnection):
        missing.append("SSHClientConnection")
    return missing

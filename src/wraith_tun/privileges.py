"""Two processes: giving up what is not needed any more, and not outliving the other half."""

import ctypes
import os
import signal
import struct

NOBODY = 65534
STOP = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_PDEATHSIG, _CAPBSET_DROP, _NO_NEW_PRIVS = 1, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    """Raise `OSError` for a failed call of the C library."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def die_with(parent: int) -> None:
    """Be killed when the parent ends; to be called after any change of credentials undid that."""
    check(libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def give_up(user: int | None = None) -> None:
    """No capability now, and none by `exec`, not even for root and set-uid programs.

    If we are root and a user is named, also become that user and group.
    """
    capability = 0
    while libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    if user is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    check(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    check(libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)))

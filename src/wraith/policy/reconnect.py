"""Try again, or give up? And after how long; chance is passed in.

The first attempt shows the user's mistakes: a wrong key, a refused login or a port in use ends it,
and only what the network may mend is tried again. Once there has been a session, the options were
right, so nearly everything is worth another try. A server whose key has changed never is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wraith.errors import (
    AuthenticationError,
    CertificateError,
    HostKeyError,
    IdentityError,
    ProxyAuthenticationError,
    SessionLost,
    TlsError,
    TransportError,
    UsageError,
    WraithError,
)

FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0

#: By how much of itself a delay may be shorter or longer, so that clients do not come in step.
JITTER = 0.2

#: A session that lived so long was a good one, and the delays begin again.
GOOD_SESSION = 60.0

_ALWAYS_FATAL = (HostKeyError, UsageError)
_WORTH_A_FIRST_RETRY = (TransportError, SessionLost)
# Transport errors, but no trouble of the network's: the options are wrong, or the server is.
_NOT_THE_NETWORK = (TlsError,)
# The server or the proxy may take us again, or get its certificate back, and the user get an agent;
# none of that is soon. At the first attempt they are the user's mistakes.
_SLOW_TO_MEND = (AuthenticationError, CertificateError, IdentityError, ProxyAuthenticationError)


def delays(
    roll: Callable[[], float], first: float = FIRST_DELAY, longest: float = LONGEST_DELAY
) -> Iterator[float]:
    """Yield seconds to wait, for ever: 1, 2, 4 … 30, each ± 20 % but never above 30.

    `roll` returns a new random number in [0, 1) each time, one for every delay; `first` and
    `longest` are in seconds.
    """
    delay = first
    while True:
        yield min(longest, delay * (1 + JITTER * (2 * roll() - 1)))
        delay = min(longest, delay * 2)


class Reconnect:
    """The memory of one client's attempts.

    `roll` returns a random number in [0, 1), as for `delays`.
    """

    def __init__(self, roll: Callable[[], float]) -> None:
        self._roll = roll
        self._delays = delays(roll)

    def next_delay(self, error: WraithError, *, first: bool) -> float | None:
        """Return how many seconds to wait after `error`, or None to give up.

        `first` says that there has never been a session. To be called once for each failed
        attempt and each session that ended, after `session_ended`.
        """
        if isinstance(error, _ALWAYS_FATAL):
            return None
        if isinstance(error, _SLOW_TO_MEND):
            return None if first else LONGEST_DELAY
        if first and isinstance(error, _NOT_THE_NETWORK):
            return None
        if first and not isinstance(error, _WORTH_A_FIRST_RETRY):
            return None
        return next(self._delays)

    def session_ended(self, lived: float) -> None:
        """Note that a session ended that had lived for `lived` seconds."""
        if lived >= GOOD_SESSION:
            self._delays = delays(self._roll)

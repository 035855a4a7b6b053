"""When a certificate is renewed, and when a refused order is tried again; time is passed in.

The authority may suggest a time (ACME Renewal Information, RFC 9773). Where it does not, two thirds
of the certificate's life is the time, which leaves a third of it for an authority that is down. All
times are seconds since the epoch, all delays are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: What may change meanwhile is looked at this often: the authority's suggestion, and the clock.
LOOK_EVERY: Final = 6 * 3600.0

#: A clock that was set, or a certificate that is due already, must not make us spin.
SHORTEST_WAIT: Final = 60.0

#: After one refusal, after two, and so on; the last for ever. Let's Encrypt allows five failed
#: validations of a name in an hour, and forgets them after one.
_DELAYS: Final = (60.0, 300.0, 900.0, 3600.0, LOOK_EVERY)

#: After it was told to slow down (RFC 8555, section 6.6).
_RATE_LIMITED: Final = 3600.0

#: How often a request is repeated with the new nonce that came with the refusal (RFC 8555, section
#: 6.5). It says nothing about us; a busy authority with many machines refuses several in a row.
NONCE_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From when to when a certificate is valid."""

    begins: float
    ends: float

    def due(self, suggested: float | None = None) -> float:
        """Return when it is to be renewed; `suggested` is what its authority asks for, if it does.

        A suggestion beyond its end would leave a server without a certificate, and is not followed.
        """
        fallback = self.begins + (self.ends - self.begins) * 2 / 3
        return fallback if suggested is None or suggested >= self.ends else suggested


def next_look(now: float, due: float) -> float:
    """Return how long to wait before the next look at a certificate that is `due` then."""
    return min(max(due - now, SHORTEST_WAIT), LOOK_EVERY)


def retry_delay(failures: int, problem: str = "") -> float:
    """Return how long to wait after so many refusals in a row, one at least.

    `problem` is the type of the last one, without its prefix, as RFC 8555 has it in section 6.7.
    """
    delay = _DELAYS[min(failures, len(_DELAYS)) - 1]
    return max(delay, _RATE_LIMITED) if problem == "rateLimited" else delay


def with_another_nonce(problem: str, attempts: int) -> bool:
    """Return whether a request is worth repeating at once, after so many attempts."""
    return problem == "badNonce" and attempts < NONCE_ATTEMPTS

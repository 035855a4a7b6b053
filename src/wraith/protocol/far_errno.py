"""Error numbers of another machine, as some peers send them, and what they mean to us.

The machine runs Linux or a BSD; what one of the numbers means elsewhere is nothing that connecting
can run into.
"""

from __future__ import annotations

from wraith.errors import Refusal

_REFUSALS = {
    1: Refusal.PROHIBITED,  # EPERM, from a local firewall
    13: Refusal.PROHIBITED,  # EACCES
    23: Refusal.RESOURCE_SHORTAGE,  # ENFILE
    24: Refusal.RESOURCE_SHORTAGE,  # EMFILE
    51: Refusal.NETWORK_UNREACHABLE,  # BSD
    60: Refusal.TIMED_OUT,  # BSD
    61: Refusal.REFUSED,  # BSD
    65: Refusal.HOST_UNREACHABLE,  # BSD
    101: Refusal.NETWORK_UNREACHABLE,
    110: Refusal.TIMED_OUT,
    111: Refusal.REFUSED,
    113: Refusal.HOST_UNREACHABLE,
    -2: Refusal.NAME_UNKNOWN,  # EAI_NONAME
    -3: Refusal.NAME_UNKNOWN,  # EAI_AGAIN
    -5: Refusal.NAME_UNKNOWN,  # EAI_NODATA
    8: Refusal.NAME_UNKNOWN,  # EAI_NONAME, BSD
}


def refusal_of(number: int) -> Refusal | None:
    """Return what the error `number` of a far machine means; None when nobody knows."""
    return _REFUSALS.get(number)

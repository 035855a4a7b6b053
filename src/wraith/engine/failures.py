"""Errors, as the host is told of them: the code of the tree, a sentence, the next step, a reason.

The reason is the system's own name for what happened, such as `ECONNREFUSED`, where there is one.
"""

from __future__ import annotations

import asyncio
import errno

from wraith.errors import ChannelRefused, WraithError

Failure = dict[str, str]


def failure(error: BaseException) -> Failure:
    """Describe an error to the host; of a defect of ours only the kind, as its text may hold more.

    Being cancelled is `ABORT_ERR`, which is what Node itself calls it.
    """
    if isinstance(error, asyncio.CancelledError):
        return {"code": "ABORT_ERR", "message": "the operation was aborted"}
    if not isinstance(error, WraithError):
        return {
            "code": WraithError.code,
            "message": f"internal error of the engine ({type(error).__name__}); please report it",
        }
    told = {"code": error.code, "message": error.message}
    if error.hint:
        told["hint"] = error.hint
    reason = _reason(error)
    if reason:
        told["reason"] = reason
    return told


def _reason(error: WraithError) -> str | None:
    if isinstance(error, ChannelRefused):
        return error.reason.value
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno is not None:
        return errno.errorcode.get(cause.errno)
    return None

"""The binding: loaded when it is needed, and its errors put into words.

What it raises has an empty text; its message names the variants of Rust's errors, line by line from
the outside in, each with the place in somebody's build. Only the innermost says what happened.
"""

from __future__ import annotations

import importlib
import re
from types import ModuleType

from wraith.errors import UsageError

_PLACE = re.compile(r" \(/[^()]*\)$")

_SENTENCES = (
    ("No addressing information", "it is not known where it is"),
    ("Failed to resolve", "it is not known where it is"),
    ("invalid peer certificate", "another endpoint answers there"),
    ("timed out", "no answer"),
    ("TimedOut", "it has fallen silent"),
    ("LocallyClosed", "the connection was closed here"),
    ("ApplicationClosed", "it has closed the connection"),
    ("closed by peer", "it has closed the connection"),
    ("refused", "it refuses the connection"),
    ("any known protocol", "it is no Wraith server"),
    ("NoRouteToHost", "the network is unreachable"),
)


def load() -> ModuleType:
    """The binding. Raises `UsageError` where it is not installed, or is for another machine."""
    try:
        return importlib.import_module("iroh")
    except ImportError:
        reason = "the iroh transport is not installed"
    except Exception as error:  # the binding's own check of its library fails in its own ways
        reason = f"the iroh transport cannot be loaded ({type(error).__name__})"
    raise UsageError(reason, hint="pip install 'wraith-tunnel[iroh]'")


def is_its_error(error: BaseException) -> bool:
    """Whether the binding has raised this, and not Python."""
    return isinstance(error, load().IrohError | load().InternalError)


def text_of(error: BaseException) -> str:
    """What the binding says of an error of its own, without the places in its build."""
    message = getattr(error, "message", None)
    text = str(message()) if callable(message) else str(error)
    return "\n".join(_PLACE.sub("", line).strip() for line in text.splitlines())


def reason_of(text: str) -> str:
    """The part of a sentence that says what went wrong, for what the binding says."""
    for words, sentence in _SENTENCES:
        if words.lower() in text.lower():
            return sentence
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if line and line != "Caused by:"), "unknown")


def as_os_error(error: BaseException) -> OSError:
    """An error of a stream as asyncio's protocols expect it."""
    return os_error(text_of(error))


def os_error(text: str) -> OSError:
    """The same, for what the binding says of a connection that has ended."""
    if "TimedOut" in text or "timed out" in text:
        return TimeoutError("the peer has fallen silent")
    if "Stopped(" in text:
        return BrokenPipeError("the peer reads no more")
    return ConnectionResetError(f"the connection is gone: {reason_of(text)}")

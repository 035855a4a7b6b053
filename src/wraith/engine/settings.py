"""The host's options, turned into ours.

The host names them in camelCase and gives JSON values, and bytes for what is secret. What a program
may set from there follows from the fields of our options objects and their types, so a new option
needs no word here.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from wraith.client.options import ConnectOptions
from wraith.errors import UsageError
from wraith.server.options import ServeOptions
from wraith.server.services import Service

Options = TypeVar("Options", ConnectOptions, ServeOptions)

NOT_FOR_A_STREAM = frozenset(
    {
        *("socks5", "socks5_auth", "socks5_open", "local_forwards", "remote_forwards"),
        *("exit_on_forward_failure", "retry_first_attempt"),
    }
)
"""What a client offers on this machine: a single stream offers nothing."""

BUS = "wraith-control"

_NAMES: dict[type, str] = {
    str: "text",
    Path: "text",
    bytes: "bytes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def connect_options(values: Mapping[str, Any]) -> ConnectOptions:
    """`ConnectOptions` for one stream. Raises `UsageError`."""
    return ConnectOptions(**_checked(ConnectOptions, values))


def serve_options(values: Mapping[str, Any], services: Mapping[str, Service]) -> ServeOptions:
    """`ServeOptions` for a server with these services. Raises `UsageError`.

    Unless the host gives rules, the services are all that a client may reach, with the event bus if
    the host asked for it: a program that wants streams has not asked for a way into its network.
    """
    checked = _checked(ServeOptions, values)
    reachable = [*services]
    if "bus" in checked:
        if BUS in services:
            raise UsageError(f"{BUS} can be the event bus or a service of the program, not both")
        reachable.append(BUS)
    if "rules" not in checked:
        checked["rules"] = [*(f"allow {name}" for name in reachable), "deny *"]
        checked.setdefault("remote_forwards", "off")
    return ServeOptions(**checked, services=services)


def offered(kind: type[Options]) -> dict[str, str]:
    """The options that a host may set: the name that it uses, and ours.

    What can only be an object of Python's, such as a function, is not among them.
    """
    left_out = NOT_FOR_A_STREAM if kind is ConnectOptions else ()
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.name not in left_out]
    return {_camel(name): name for name in names if _describe(hints[name])}


def _checked(kind: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    hints, names = typing.get_type_hints(kind), offered(kind)
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in names:
            raise UsageError(f"there is no option {name}")
        hint = hints[names[name]]
        fits, ours = _fit(value, hint)
        if not fits:
            raise UsageError(f"the option {name} must be {_describe(hint)}")
        checked[names[name]] = ours
    return checked


def _fit(value: Any, hint: Any) -> tuple[bool, Any]:
    """Whether a value is of a type, and how it is given to our options."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        tries = (_fit(value, choice) for choice in typing.get_args(hint))
        return next((found for found in tries if found[0]), (False, None))
    if origin is not None and issubclass(origin, Sequence):
        (of,) = typing.get_args(hint)
        items = value if isinstance(value, list) else [value]
        found = [_fit(item, of) for item in items]
        return all(fits for fits, _ in found), [ours for _, ours in found]
    if hint is type(None):
        return value is None, None
    if hint is float:
        return type(value) in (int, float), value
    return type(value) is hint, value


def _describe(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        parts = [_describe(choice) for choice in typing.get_args(hint)]
        return " or ".join(dict.fromkeys(part for part in parts if part))
    if origin is not None and issubclass(origin, Sequence):
        of = _describe(typing.get_args(hint)[0])
        return f"{of}, or a list of such" if of else ""
    return _NAMES.get(hint, "")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)

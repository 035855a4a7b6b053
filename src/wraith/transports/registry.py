"""Transports by their names: our own, and those that installed distributions bring.

A distribution offers one by an entry point of the group `wraith.transports` that leads to a `Kind`:

    [project.entry-points."wraith.transports"]
    pigeon = "pigeon_post.transport:PIGEON"

Then `--transport pigeon` and `--listen pigeon://…` work like the built-in ones. What is built in
cannot be replaced that way, and nothing is looked up or loaded before somebody names it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from wraith.errors import UsageError
from wraith.transports.base import Acceptor, Kind, ServeSettings
from wraith.values.address import ListenAddress

GROUP = "wraith.transports"

BUILT_IN = {
    "tcp": "wraith.transports.tcp:TCP",
    "tls": "wraith.transports.tls:TLS",
    "iroh": "wraith.transports.iroh.kind:IROH",
}
"""Where the `Kind` of each is; imported when it is asked for."""


def kind_of(name: str) -> Kind:
    """The transport of this name.

    Raises `UsageError` for one that is not there, is there twice, or cannot be loaded.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        kind = getattr(importlib.import_module(module), attribute)
        assert isinstance(kind, Kind)
        return kind
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise UsageError(
            f"unknown transport {name!r}", hint=f"there is: {', '.join(sorted(names()))}"
        )
    if len(found) > 1:
        owners = " and ".join(sorted(map(_owner, found)))
        raise UsageError(f"the transport {name!r} is offered twice, by {owners}")
    return _load(found[0])


def names() -> set[str]:
    """All that `kind_of` would find."""
    return {*BUILT_IN, *(point.name for point in entry_points(group=GROUP))}


def acceptors(addresses: Iterable[ListenAddress], settings: ServeSettings) -> list[Acceptor]:
    """One acceptor for each address, those of one transport made together. Raises `UsageError`."""
    by_scheme: dict[str, list[ListenAddress]] = {}
    for address in addresses:
        by_scheme.setdefault(address.scheme, []).append(address)
    return [
        acceptor
        for scheme, group in by_scheme.items()
        for acceptor in kind_of(scheme).accepting(group, settings)
    ]


def _load(point: EntryPoint) -> Kind:
    try:
        kind = point.load()
    except Exception as error:  # whatever a stranger's module raises
        raise UsageError(
            f"the transport {point.name!r} of {_owner(point)} cannot be loaded: "
            f"{type(error).__name__}: {error}",
            hint=f"reinstall or remove {_owner(point)}",
        ) from error
    if not isinstance(kind, Kind):
        raise UsageError(
            f"the transport {point.name!r} of {_owner(point)} is no wraith.transports.base.Kind"
        )
    return kind


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value

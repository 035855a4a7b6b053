"""The options before a key in authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

    restrict,port-forwarding,permitopen="db:5432",from="192.0.2.0/24,!192.0.2.7"

Names match in either case. A value stands in double quotes, in which `\\"` is a quote and any other
backslash is itself. What only matters to shells, terminals and agents is read and kept, and
changes nothing here: Wraith has none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Final

from wraith.policy.forwarding import Forwarding, PermitListen, PermitOpen
from wraith.policy.openssh_patterns import match_address_list

# A name, and perhaps a value in quotes.
_OPTION = re.compile(r'(?P<name>[A-Za-z0-9-]+)(?:="(?P<value>(?:\\"|[^"])*+)")?')

_FLAGS: Final = frozenset(
    {
        "cert-authority",
        "restrict",
        "verify-required",
        *("agent-forwarding", "no-agent-forwarding"),
        *("port-forwarding", "no-port-forwarding"),
        *("pty", "no-pty"),
        *("touch-required", "no-touch-required"),
        *("user-rc", "no-user-rc"),
        *("x11-forwarding", "no-x11-forwarding"),
    }
)
_ONCE: Final = frozenset({"command", "from", "principals"})
_REPEATABLE: Final = frozenset(
    {"environment", "expiry-time", "permitlisten", "permitopen", "tunnel"}
)

_FORWARDING: Final = frozenset(
    {"restrict", "port-forwarding", "no-port-forwarding", "permitlisten", "permitopen"}
)

# parse_absolute_time() of OpenSSH has the same three forms, with Z or UTC behind them.
_TIME = re.compile(r"(\d{8}|\d{12}|\d{14})(Z|UTC)?", re.ASCII | re.IGNORECASE)
_TIME_FORMATS: Final = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """What the options of one key say; the defaults are those of a key without any.

    `from_addresses` is the list of `from=`, and `principals` those of a CA, None where the option
    is absent. `expires` is in unix seconds: the last at which the key is good. `others` holds the
    options without effect here, in the order given, each with its value or None.
    """

    cert_authority: bool = False
    principals: tuple[str, ...] | None = None
    from_addresses: str | None = None
    expires: int | None = None
    touch_required: bool = True
    verify_required: bool = False
    forwarding: Forwarding = Forwarding()
    others: tuple[tuple[str, str | None], ...] = ()


def parse_key_options(text: str, timezone: tzinfo) -> KeyOptions:
    """Return what the option list `text` says, perhaps nothing at all.

    `timezone` is that of an `expiry-time` which does not say UTC. Raises `ValueError` for an
    option that OpenSSH does not know, one too many, or one with a value it cannot have.
    """
    options = KeyOptions()
    seen: set[str] = set()
    for name, value in _split_options(text) if text else ():
        if name in seen & _ONCE:
            raise ValueError(f"the option {name} is there twice")
        seen.add(name)
        try:
            options = _with_option(options, name, value, timezone)
        except ValueError as error:
            raise ValueError(f"the option {name} cannot be used: {error}") from None
    return options


def _split_options(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield the names, in lower case, and the values; a name without `=` has None."""
    position = 0
    while True:
        match = _OPTION.match(text, position)
        name = match["name"].lower() if match else ""
        if match is None or text[match.end() : match.end() + 1] not in {"", ","}:
            raise ValueError("the options cannot be understood")
        if name not in (_FLAGS if match["value"] is None else _ONCE | _REPEATABLE):
            raise ValueError("one of the options is unknown, or its value is missing or not quoted")
        yield name, None if match["value"] is None else match["value"].replace('\\"', '"')
        position = match.end() + 1
        if match.end() == len(text):
            return


def _with_option(options: KeyOptions, name: str, value: str | None, timezone: tzinfo) -> KeyOptions:
    match name, value:
        case "cert-authority", _:
            return replace(options, cert_authority=True)
        case "touch-required" | "no-touch-required", _:
            return replace(options, touch_required=name == "touch-required")
        case "verify-required", _:
            return replace(options, verify_required=True)
        case "principals", str():
            return replace(options, principals=tuple(filter(None, value.split(","))))
        case "from", str():
            match_address_list("0.0.0.0", value)  # noqa: S104 - only to see that it can be read
            return replace(options, from_addresses=value)
        case "expiry-time", str():
            # Of several the earliest counts.
            expires = parse_expiry_time(value, timezone)
            return replace(options, expires=min(expires, options.expires or expires))
        case _ if name in _FORWARDING:
            return replace(options, forwarding=_with_limit(options.forwarding, name, value or ""))
    return replace(options, others=(*options.others, (name, value)))


def _with_limit(forwarding: Forwarding, name: str, value: str) -> Forwarding:
    """Apply an option to what a key may have forwarded; later flags override earlier ones."""
    match name:
        case "permitopen":
            permits = (*forwarding.permit_open, PermitOpen.parse(value))
            return replace(forwarding, restricted=True, permit_open=permits)
        case "permitlisten":
            listens = (*forwarding.permit_listen, PermitListen.parse(value))
            return replace(forwarding, permit_listen=listens)
        case "port-forwarding":
            return replace(forwarding, allowed=True)
    return replace(forwarding, allowed=False, restricted=True)


def parse_expiry_time(text: str, timezone: tzinfo) -> int:
    """Return the unix seconds of `YYYYMMDD[HHMM[SS]][Z]`, without Z in `timezone`; `ValueError`."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("the time is not YYYYMMDD[HHMM[SS]][Z]")
    digits, utc = match.groups()
    try:
        moment = datetime.strptime(digits, _TIME_FORMATS[len(digits)])
    except ValueError:
        raise ValueError("there is no such time") from None
    seconds = int(moment.replace(tzinfo=UTC if utc else timezone).timestamp())
    if seconds <= 0:
        raise ValueError("the time is before 1970")
    return seconds

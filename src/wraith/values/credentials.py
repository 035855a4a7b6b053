"""A user name and a password for a proxy, which never show themselves."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from wraith.errors import UsageError

#: RFC 1929, section 2: each has one byte for its length, and neither may be empty.
MAX_CREDENTIAL_BYTES = 255


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a SOCKS5 (RFC 1929) or HTTP (RFC 7617) proxy asks for.

    Each is 1 to 255 bytes long in UTF-8, and a user name holds no colon, which HTTP could not
    tell from the one before the password. Anything else raises `UsageError`.
    """

    username: str
    password: str

    def __post_init__(self) -> None:
        _check("user name", self.username)
        _check("password", self.password)
        if ":" in self.username:
            raise UsageError("the user name for the proxy must not contain a colon")

    def matches(self, username: bytes, password: bytes) -> bool:
        """Whether these are the ones, in a time that tells nothing about how nearly they are."""
        same_username = hmac.compare_digest(self.username.encode(), username)
        same_password = hmac.compare_digest(self.password.encode(), password)
        return same_username & same_password

    def __repr__(self) -> str:
        return "<Credentials ***>"


def parse_credentials(text: str) -> Credentials:
    """Return the credentials in `USER:PASS`, where the password may hold colons.

    Raises `UsageError`, whose text holds neither.
    """
    username, colon, password = text.partition(":")
    if not colon:
        raise UsageError("cannot use these credentials: there is no colon (expected USER:PASS)")
    return Credentials(username, password)


def _check(what: str, text: str) -> None:
    try:
        length = len(text.encode())
    except UnicodeEncodeError:  # undecodable bytes of argv have no UTF-8
        length = 0
    if not 1 <= length <= MAX_CREDENTIAL_BYTES:
        limit = MAX_CREDENTIAL_BYTES
        raise UsageError(f"the {what} for the proxy must be 1 to {limit} bytes long in UTF-8")

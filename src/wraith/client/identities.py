"""Who we are: the keys that a client offers."""

from __future__ import annotations

import os
from pathlib import Path

from wraith.client.options import ConnectOptions
from wraith.errors import IdentityError
from wraith.ssh.keys import (
    Agent,
    AskPassphrase,
    Identity,
    identity_from_key,
    load_private_key,
    read_private_key,
)

DEFAULT_IDENTITY = Path("~/.ssh/id_ed25519")


class Identities:
    """The keys of one client, read once; the agent's stay with the agent until `close`."""

    def __init__(self, options: ConnectOptions) -> None:
        self._options = options
        self._agent = Agent()

    def __repr__(self) -> str:
        return f"<Identities named={len(self._options.identity)}>"

    async def load(self) -> list[Identity]:
        """The keys to offer, in order. Raises `IdentityError`, also when there is none at all."""
        ask = self._options.ask_passphrase
        if self._options.identity:
            return [_load(item, ask) for item in self._options.identity]
        found = []
        default = DEFAULT_IDENTITY.expanduser()
        if _is_there(default):
            found.append(_load(default, ask))
        found += await self._agent.identities()
        if not found:
            raise IdentityError(
                f"there is no key to offer: neither {DEFAULT_IDENTITY} nor a key in ssh-agent",
                hint="make one with: wraith keygen",
            )
        return found

    async def close(self) -> None:
        """Let go of the agent."""
        await self._agent.close()


def _load(item: str | Path | bytes, ask: AskPassphrase) -> Identity:
    if isinstance(item, bytes):
        return identity_from_key(
            load_private_key(item, name="the key in memory", ask_passphrase=ask),
            name="a key in memory",
        )
    path = Path(item).expanduser()
    return identity_from_key(
        read_private_key(path, ask),
        name=os.fspath(path),
        certificate=_read_certificate(path.with_name(path.name + "-cert.pub")),
    )


def _read_certificate(path: Path) -> bytes | None:
    if not _is_there(path):
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise IdentityError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}"
        ) from error


def _is_there(path: Path) -> bool:
    """Whether something is there; what we may not even look for is there, and will be reported."""
    try:
        return path.exists()
    except OSError:
        return True

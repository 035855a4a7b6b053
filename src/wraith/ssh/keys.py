"""OpenSSH key material, from a path or from memory, behind plain facts.

Above this room a key is a `PrivateKey` that can be named but not looked into, and a public key is
`wraith.policy.keys.PublicKey`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import asyncssh

from wraith.errors import IdentityError
from wraith.policy.keys import PublicKey
from wraith.state.files import write_private

AskPassphrase = Callable[[str], str | None]
"""Asked with the name of a locked key; None when there is nobody to ask."""


def no_passphrase(_name: str) -> str | None:
    """Nobody to ask."""
    return None


class PrivateKey:
    """A private key; its `repr` shows the public side only."""

    def __init__(self, key: asyncssh.SSHKey) -> None:
        self.library_key = key
        self.public = PublicKey(key.get_algorithm(), key.public_data)

    def __repr__(self) -> str:
        return f"<PrivateKey {self.public.algorithm} {self.public.fingerprint}>"

    @property
    def comment(self) -> str:
        """The comment stored with the key."""
        return str(self.library_key.get_comment() or "")

    def export(self, passphrase: str | None = None) -> bytes:
        """The key in OpenSSH's format, locked if a passphrase is given."""
        return self.library_key.export_private_key("openssh", passphrase or None)


def generate(comment: str = "") -> PrivateKey:
    """A new Ed25519 key."""
    return PrivateKey(asyncssh.generate_private_key("ssh-ed25519", comment))


_LOCKED = "Passphrase must be specified"
"""How the library says that a key is locked: by its text alone."""


def load_private_key(
    data: bytes, *, name: str, ask_passphrase: AskPassphrase = no_passphrase
) -> PrivateKey:
    """Read a key in any format that OpenSSH writes. Raises `IdentityError`."""
    try:
        return PrivateKey(asyncssh.import_private_key(data))
    except (asyncssh.KeyImportError, ValueError) as error:
        if str(error).startswith(_LOCKED):
            return _unlock(data, name, ask_passphrase)
        raise IdentityError(
            f"{name} is not a private key that can be read: {str(error).lower()}",
            hint="name the private key, not the .pub file; `wraith keygen` makes a new one",
        ) from None


def _unlock(data: bytes, name: str, ask_passphrase: AskPassphrase) -> PrivateKey:
    passphrase = ask_passphrase(name)
    if passphrase is None:
        raise IdentityError(
            f"{name} is locked with a passphrase",
            hint="set WRAITH_PASSPHRASE, run from a terminal, or add the key to ssh-agent",
        )
    try:
        return PrivateKey(asyncssh.import_private_key(data, passphrase))
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError):
        raise IdentityError(f"the passphrase does not open {name}") from None


def read_private_key(path: Path, ask_passphrase: AskPassphrase = no_passphrase) -> PrivateKey:
    """Read a key file. Raises `IdentityError`, also for a file that others may read."""
    try:
        data = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise IdentityError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}",
            hint=f"make a key with: wraith keygen --output {path}",
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise IdentityError(
            f"{path} may be read by others (mode {mode & 0o777:04o})",
            hint=f"close it with: chmod 600 {path}",
        )
    return load_private_key(data, name=str(path), ask_passphrase=ask_passphrase)


def read_or_create_host_key(path: Path) -> tuple[PrivateKey, bool]:
    """The server's host key, made on first use; and whether it was made just now."""
    if path.exists():
        return read_private_key(path), False
    key = generate("wraith host key")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, key.export())
    except OSError as error:
        if path.exists():  # somebody else was quicker
            return read_private_key(path), False
        raise IdentityError(
            f"cannot write the host key to {path}: {(error.strerror or str(error)).lower()}",
            hint="name a path that can be written with --key",
        ) from error
    return key, True


class Identity:
    """What a client can prove: one key, with its certificate if it has one."""

    def __init__(self, pairs: Sequence[asyncssh.SSHKeyPair], public: PublicKey, name: str) -> None:
        self.pairs = tuple(pairs)
        self.public = public
        self.name = name

    def __repr__(self) -> str:
        return f"<Identity {self.name} {self.public.fingerprint}>"


def identity_from_key(key: PrivateKey, *, name: str, certificate: bytes | None = None) -> Identity:
    """An identity from a private key and, if given, the text of its certificate (`-cert.pub`).

    Raises `IdentityError` for a certificate that cannot be read or belongs to another key.
    """
    certificates = []
    if certificate is not None:
        try:
            certificates.append(asyncssh.import_certificate(certificate))
        except (asyncssh.KeyImportError, ValueError) as error:
            raise IdentityError(f"the certificate of {name} cannot be read: {error}") from None
        if certificates[0].key.public_data != key.public.blob:
            raise IdentityError(f"the certificate of {name} belongs to another key")
    pairs = asyncssh.load_keypairs([key.library_key], certlist=certificates)
    return Identity(pairs, key.public, name)


class Agent:
    """Identities that an ssh-agent holds; open while a client may use them."""

    def __init__(self) -> None:
        self._client: asyncssh.SSHAgentClient | None = None

    def __repr__(self) -> str:
        return f"<Agent connected={self._client is not None}>"

    async def identities(self) -> list[Identity]:
        """What the agent offers; nothing when there is none, or it does not answer."""
        path = os.environ.get("SSH_AUTH_SOCK")
        if not path:
            return []
        try:
            if self._client is None:
                self._client = await asyncssh.connect_agent(path)
            pairs = await self._client.get_keys()
        except (OSError, ValueError):
            await self.close()
            return []
        return [
            Identity([pair], PublicKey(pair.get_algorithm(), pair.public_data), "ssh-agent")
            for pair in pairs
        ]

    async def close(self) -> None:
        """Let go of the agent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
            await client.wait_closed()

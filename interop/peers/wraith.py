"""`wraith serve`, `wraith connect` and `wraith stream` as a user would start them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interop.peers.keys import Key
from interop.peers.namespaces import with_private_hosts
from interop.peers.process import DidNotStart, Process, ReadyPipe
from interop.peers.roles import Address, ClientAsk, Place, Server, ServerAsk, login_name
from interop.peers.tools import clean_environment, require_tool


class WraithServer:
    """`wraith serve` on a loopback port that it picked itself."""

    def __init__(self, home: Path, host_key: Key, ask: ServerAsk) -> None:
        self._home, self._ask = home, ask
        self.host_key = host_key
        self.address = Address("127.0.0.1", 0)
        self.news: dict[str, Any] = {}
        """What it said when it was ready."""
        self.start()

    def start(self) -> None:
        """Start, or start again at the same address with the same key."""
        ready = ReadyPipe()
        command: list[str | Path] = [
            require_tool("wraith"),
            "serve",
            "--ready-fd",
            str(ready.writer),
        ]
        self.process = Process(
            with_private_hosts([*command, *self._options()], self._ask.hosts, self._home),
            self._home / "serve.log",
            clean_environment(self._home),
            pass_fds=[ready.writer],
        )
        news = _read(ready, self.process)
        assert news["host_key"] == self.host_key.fingerprint
        self.address = Address.parse(self._reached(news["listen"][0]))
        self.news = news

    def stop(self) -> None:
        end_well(self.process, self._home)

    def _reached(self, url: str) -> str:
        return url.partition("://")[2]

    def _listen(self) -> list[str | Path]:
        return ["--listen", f"{self._ask.transport}://{self.address}"]

    def _options(self) -> list[str | Path]:
        ask = self._ask
        authorized = self._home / "authorized_keys"
        authorized.write_text("\n".join([*ask.authorized, ""]))
        authorized.chmod(0o600)
        options = self._listen()
        options += ["--key", self.host_key.path, "--authorized-keys", authorized]
        options += ["--keepalive", str(ask.keepalive)] if ask.keepalive else []
        options += ["--rule", f"allow {ask.unix_folder}/*"] if ask.unix_folder else []
        options += ["--rule", "deny *"] if not ask.forwarding else []
        options += ["--revoked-keys", ask.revoked] if ask.revoked else []
        for authority in ask.authorities:
            options += ["--cert-authority", authority.public_path]
        return [*options, *ask.extra]


class WraithClient:
    """`wraith connect` with the forwards that the story asked for; it pins the host key."""

    def __init__(self, home: Path, server: Server, key: Key, ask: ClientAsk) -> None:
        self._home = home
        ready = ReadyPipe()
        options = [*self._reach(server, key), "--host-key", server.host_key.fingerprint]
        options += ["--socks5", "127.0.0.1:0", "--ready-fd", str(ready.writer)]
        for listen, target in ask.local:
            options += ["-L", f"{listen}:{target}"]
        for listen, target in ask.remote:
            options += ["-R", f"{listen}:{target}"]
        options += ["--keepalive", str(ask.keepalive)] if ask.keepalive else []
        self.process = Process(
            [require_tool("wraith"), "connect", *options, *ask.extra],
            home / "connect.log",
            clean_environment(home, **ask.env),
            pass_fds=[ready.writer],
        )
        news = _read(ready, self.process)
        self.socks = Address.parse(news["socks5"])
        self.local: Sequence[Place] = [_place(text) for text in news["local_forwards"]]
        self.remote: Sequence[Place] = [_place(text) for text in news["remote_forwards"]]

    def _reach(self, server: Server, key: Key) -> list[str | Path]:
        return connect_options(server, key)

    def stop(self) -> None:
        end_well(self.process, self._home)


def connect_options(server: Server, key: Key) -> list[str | Path]:
    """The options that name a server and a key, for `wraith connect` and `wraith stream`."""
    return ["--server", str(server.address), *who(key)]


def who(key: Key) -> list[str | Path]:
    """The options that say who logs in."""
    return ["--identity", key.path, "--user", login_name()]


def end_well(process: Process, home: Path) -> None:
    """Stop Wraith and see that it left well: exit 0, no traceback, no child, no temporary file."""
    if not process.killed:
        assert process.running, f"it ended by itself with {process.exit_code}:\n{process.log}"
        children = process.family()[1:]
        assert process.stop() == 0, process.log
        assert not children or "--workers" in process.command, f"{process!r} had children"
    assert "Traceback" not in process.log, process.log
    left = {path for folder in ("tmp", "run") for path in (home / folder).rglob("*")}
    if (
        process.killed
    ):  # nobody could remove the socket that `wraith status` asks; the next one does
        left -= {home / "run/wraith", home / f"run/wraith/connect-{process.pid}.sock"}
    assert not left, f"{process!r} left {left} behind"


def _read(ready: ReadyPipe, process: Process) -> dict[str, Any]:
    try:
        return ready.read(process)
    except DidNotStart:
        if process.running:
            process.kill()
        raise


def _place(text: str) -> Place:
    return Path(text) if text.startswith("/") else Address.parse(text)

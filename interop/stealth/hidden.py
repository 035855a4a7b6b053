"""`wraith serve` behind nginx's face, as a user would start it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interop.peers.keys import Key
from interop.peers.process import Process, ReadyPipe
from interop.peers.roles import Address
from interop.peers.tools import clean_environment, require_tool
from interop.peers.wraith import end_well


@dataclass(frozen=True)
class Face:
    """What a hidden server shows, and how it knows its own."""

    certificate: Path
    key: Path
    options: tuple[str, ...]
    """The stealth options of `wraith serve`."""


class HiddenServer:
    """`wraith serve --transport tls` with stealth; it can be handed to the stories' stock `ssh`."""

    def __init__(self, home: Path, host_key: Key, client_key: Key, face: Face) -> None:
        self._home = home
        self.host_key = host_key
        authorized = home / "authorized_keys"
        authorized.write_text(client_key.public + "\n")
        authorized.chmod(0o600)
        ready = ReadyPipe()
        command: list[str | Path] = [
            *(require_tool("wraith"), "serve", "--ready-fd", str(ready.writer)),
            *("--listen", "tls://127.0.0.1:0", "--key", host_key.path),
            *("--authorized-keys", authorized),
            *("--tls-cert", face.certificate, "--tls-key", face.key),
            *face.options,
        ]
        self.process = Process(
            command, home / "serve.log", clean_environment(home), pass_fds=[ready.writer]
        )
        news = ready.read(self.process)
        self.pin: str = news["tls_pin"]
        self.address = Address.parse(news["listen"][0].removeprefix("tls://"))

    def start(self) -> None:
        raise NotImplementedError("one that is hidden is started once")

    def stop(self) -> None:
        end_well(self.process, self._home)

    def reach(self, secret: Path | None = None) -> list[str]:
        """The options with which a client of Wraith reaches it."""
        proof = ["--stealth-secret", str(secret)] if secret is not None else []
        where = ["--transport", "tls", "--server", str(self.address)]
        return [*where, "--tls-pin", self.pin, *proof]

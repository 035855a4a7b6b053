"""What `wraith demo` does: two real processes, one real download."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rich_click as click

from wraith.cli import report
from wraith.errors import TransportError, WraithError
from wraith.protocol.events import NEED_DATA, Connected
from wraith.protocol.socks5.client import Socks5Client
from wraith.ssh.keys import generate
from wraith.state.files import write_private
from wraith.values.address import TcpDestination

START_TIMEOUT = 20.0
CHUNK = 256 * 1024


def run_demo(*, keep: bool, megabytes: int) -> None:
    """Run the demonstration; exits with 1 where anything of it fails."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it started must end too
    try:
        with tempfile.TemporaryDirectory(prefix="wraith-demo-") as name:
            _demonstrate(Path(name), keep=keep, size=megabytes * 1024 * 1024)
    except KeyboardInterrupt:
        say("stopped", "")
    except WraithError as error:
        report.fail(error)
    except BrokenPipeError:
        report.nobody_reads()
    except OSError as error:
        report.fail(TransportError(f"the demonstration broke off: {error.strerror or error}"))


def say(what: str, text: str) -> None:
    """One readable line."""
    click.echo(f"{what:<12} {text}".rstrip())


def _demonstrate(folder: Path, *, keep: bool, size: int) -> None:
    identity, authorized = _throw_away_keys(folder)
    say("keys", "a throw-away key pair for the client, one for the server")
    with (
        _web_server(size) as (port, digest),
        _process("serve", folder, *_serve_arguments(folder, authorized)) as (_, served),
    ):
        address = served["listen"][0].removeprefix("tcp://")
        say("server", f"wraith serve listens on {address}, host key {served['host_key']}")
        arguments = _connect_arguments(address, served["host_key"], identity)
        with _process("connect", folder, *arguments) as (client, ready):
            proxy = ready["socks5"]
            say("client", f"wraith connect is up, with a SOCKS5 proxy on {proxy}")
            say("web server", f"one file of {size // 1048576} MiB, on this machine")
            _download(proxy, port, size, digest)
            if keep:
                _keep(client, proxy, port)


def _throw_away_keys(folder: Path) -> tuple[Path, Path]:
    key = generate("wraith demo")
    identity, authorized = folder / "id_ed25519", folder / "authorized_keys"
    write_private(identity, key.export())
    authorized.write_text(key.public.line() + "\n", encoding="utf-8")
    return identity, authorized


def _serve_arguments(folder: Path, authorized: Path) -> list[str]:
    where = ["--listen", "127.0.0.1:0", "--key", str(folder / "host_key")]
    return [*where, "--authorized-keys", str(authorized)]


def _connect_arguments(address: str, host_key: str, identity: Path) -> list[str]:
    whom = ["--server", address, "--host-key", host_key, "--identity", str(identity)]
    return [*whom, "--socks5", "127.0.0.1:0"]


def _download(proxy: str, port: int, size: int, digest: str) -> None:
    say("fetch", f"http://localhost:{port}/ through the proxy; the name is resolved by the server")
    began = time.monotonic()
    received, body = _fetch(proxy, "localhost", port)
    took = time.monotonic() - began
    if received != size or body != digest:
        raise TransportError("the file that arrived is not the file that was sent")
    say("received", f"{size / 1e6:.1f} MB in {took:.2f} s, {size / 1e6 / took:.0f} MB/s")
    say("sha256", f"{digest[:32]}…  as sent")


def _keep(client: subprocess.Popen[bytes], proxy: str, port: int) -> None:
    say("", "")
    say("try it", f"curl --socks5-hostname {proxy} http://localhost:{port}/ | sha256sum")
    say("", "Ctrl-C ends the demo")
    client.wait()


@contextlib.contextmanager
def _process(
    command: str, folder: Path, *arguments: str
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """A `wraith` process, once it has said that it is ready."""
    read_end, write_end = os.pipe()
    log = folder / f"{command}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "wraith", command, *arguments, "--ready-fd", str(write_end)],
            pass_fds=[write_end],
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, "WRAITH_STATE_DIR": str(folder)},
        )
    os.close(write_end)
    try:
        yield process, _wait_ready(read_end, command, log)
    finally:
        os.close(read_end)
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_ready(descriptor: int, command: str, log: Path) -> dict[str, Any]:
    line = b""
    deadline = time.monotonic() + START_TIMEOUT
    while not line.endswith(b"\n"):
        left = max(0.0, deadline - time.monotonic())
        data = b""
        if select.select([descriptor], [], [], left)[0]:
            data = os.read(descriptor, 4096)
        if not data:
            reason = log.read_text("utf-8", "replace").strip().splitlines()
            raise TransportError(f"wraith {command} did not start", hint="\n  ".join(reason))
        line += data
    facts: dict[str, Any] = json.loads(line)
    return facts


@contextlib.contextmanager
def _web_server(size: int) -> Iterator[tuple[int, str]]:
    """A web server with one file of random bytes; its port, and the file's SHA-256."""
    block = os.urandom(CHUNK)
    blocks = size // CHUNK
    digest = hashlib.sha256()
    for _ in range(blocks):
        digest.update(block)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(blocks * CHUNK))
            self.end_headers()
            for _ in range(blocks):
                self.wfile.write(block)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="demo web server", daemon=True)
    thread.start()
    try:
        yield server.server_port, digest.hexdigest()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _fetch(proxy: str, host: str, port: int) -> tuple[int, str]:
    """Fetch `/` through a SOCKS5 proxy, by name; how many bytes, and their SHA-256."""
    proxy_host, _, proxy_port = proxy.rpartition(":")
    with socket.create_connection((proxy_host, int(proxy_port)), timeout=30) as sock:
        _ask_proxy(sock, TcpDestination(host, port))
        sock.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        with sock.makefile("rb") as reply:
            while reply.readline().strip():
                pass  # the status and the headers
            digest, received = hashlib.sha256(), 0
            while data := reply.read(CHUNK):
                digest.update(data)
                received += len(data)
    return received, digest.hexdigest()


def _ask_proxy(sock: socket.socket, destination: TcpDestination) -> None:
    machine = Socks5Client(destination)
    while True:
        event = machine.next_event()
        sock.sendall(machine.data_to_send())
        if isinstance(event, Connected):
            return
        if event is not NEED_DATA:
            raise TransportError("the proxy did not reach the web server")
        data = sock.recv(4096)
        if not data:
            raise TransportError("the proxy closed the connection")
        machine.receive_data(data)

"""A hidden server is nginx to everybody but its own."""

from __future__ import annotations

import os
import shlex
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from interop.peers import socks
from interop.peers.openssh import ssh_command
from interop.peers.origins import Echo
from interop.peers.process import Process, ReadyPipe
from interop.peers.roles import Address, free_port, login_name
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool
from interop.peers.transfer import echo
from interop.peers.wraith import end_well
from interop.stealth.compare import Battery, report
from interop.stealth.first_bytes import first_bytes, ssh_openings
from interop.stealth.hidden import Face, HiddenServer
from interop.stealth.http_probes import http_probes
from interop.stealth.nginx import Nginx, make_certificate
from interop.stealth.probe import Probe
from interop.stealth.tls_probes import tls_probes

pytestmark = pytest.mark.timeout(300)

ALONE, UPSTREAM, SECRET = "--stealth", "--stealth-upstream", "--stealth-secret"
NEEDED = {ALONE: 0.95, UPSTREAM: 0.99, SECRET: 0.95}
"""The share of the probes that has to agree with nginx."""


class Street:
    """A real nginx, and hidden servers of each kind beside it, all with one certificate."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.certificate = make_certificate(stage.home("tls"))
        self.nginx = self._nginx("oracle")
        self.behind = self._nginx("behind")
        self.key = stage.key()
        self.secret = stage.home("secret") / "secret"
        self.secret.write_bytes(os.urandom(24).hex().encode() + b"\n")
        self.secret.chmod(0o600)
        self.hidden = {
            ALONE: self._hidden(ALONE),
            UPSTREAM: self._hidden(UPSTREAM, f"https://127.0.0.1:{self.behind.port}"),
            SECRET: self._hidden(SECRET, str(self.secret)),
        }

    def _nginx(self, name: str) -> Nginx:
        nginx = Nginx(self.stage.folder / name, free_port(), self.certificate)
        self.stage.callback(nginx.stop)
        return nginx

    def _hidden(self, *options: str) -> HiddenServer:
        face = Face(*self.certificate, options)
        home, key = self.stage.home("hidden"), self.stage.key("host")
        server = HiddenServer(home, key, self.key, face)
        self.stage.callback(server.stop)
        return server

    def secret_for(self, kind: str) -> Path | None:
        return self.secret if kind == SECRET else None


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    for tool in ("nginx", "openssl", "wraith"):
        require_tool(tool)
    with Stage() as stage:
        yield Street(stage)


def probes_for(kind: str) -> list[Probe]:
    probes = [*http_probes(), *tls_probes(), *first_bytes()]
    return [*probes, *ssh_openings()] if kind == SECRET else probes


@pytest.fixture(scope="module")
def batteries(street: Street) -> Iterator[dict[str, Battery]]:
    """All of them begin at once, so that their time-outs are waited for together."""
    made = {
        kind: Battery(probes_for(kind), street.nginx.port, server.address.port)
        for kind, server in street.hidden.items()
    }
    yield made
    for battery in made.values():
        battery.close()


@pytest.mark.parametrize("kind", [ALONE, UPSTREAM, SECRET])
def test_it_agrees_with_nginx(street: Street, batteries: dict[str, Battery], kind: str) -> None:
    verdicts = batteries[kind].verdicts()
    assert len(verdicts) >= 300
    assert report(f"wraith serve {kind}", verdicts) >= NEEDED[kind]
    assert "Traceback" not in street.hidden[kind].process.log


class Plain404:
    """What one writes in an afternoon: Python's TLS, and the right page."""

    PAGE = (
        b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"Content-Type: text/html\r\nContent-Length: 146\r\nConnection: keep-alive\r\n\r\n"
        b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
        b"<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n"
        b"</body>\r\n</html>\r\n"
    )

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[sock]).start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(3)
        with suppress(OSError), self._context.wrap_socket(sock, server_side=True) as tls:
            while tls.recv(65536):
                tls.sendall(self.PAGE)
        sock.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def test_the_battery_knows_a_fake(street: Street) -> None:
    """Without this, its agreement would mean nothing."""
    fake = Plain404(street.certificate)
    try:
        quick = [probe for probe in probes_for(SECRET) if not probe.slow]
        with Battery(quick[::4], street.nginx.port, fake.port) as battery:
            verdicts = battery.verdicts(again=False)
    finally:
        fake.close()
    agreeing = [verdict for verdict in verdicts if not verdict.difference]
    print(f"\na fixed 404 behind Python's TLS: {len(agreeing)} of {len(verdicts)} agree")
    assert len(agreeing) < 0.5 * len(verdicts)


def raw_ssh(street: Street, kind: str, home: Path, secret: Path | None) -> list[str | Path]:
    """A stock `ssh` whose way to the server is the bare transport."""
    server = street.hidden[kind]
    words = [require_tool("wraith"), "stream", "--raw", *server.reach(secret)]
    proxy = " ".join(shlex.quote(str(word)) for word in words)
    host, port = server.address
    alias = f"HostKeyAlias=[{host}]:{port}"
    return [*ssh_command(server, street.key, home), "-o", f"ProxyCommand={proxy}", "-o", alias]


@pytest.mark.parametrize("kind", [ALONE, UPSTREAM, SECRET])
def test_a_stock_ssh_gets_in(street: Street, stage: Stage, far_echo: Echo, kind: str) -> None:
    home = stage.home("ssh")
    ssh = raw_ssh(street, kind, home, street.secret_for(kind))
    command = [*ssh, "-W", str(far_echo.address), "hidden"]
    with subprocess.Popen(
        command,
        env=clean_environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        output, errors = running.communicate(b"through the wall" * 9999, timeout=30)
    assert output == b"through the wall" * 9999, errors.decode()


def test_a_stock_ssh_without_the_secret_meets_nginx(street: Street, stage: Stage) -> None:
    home = stage.home("ssh")
    ended = subprocess.run(
        [*raw_ssh(street, SECRET, home, None), "-v", "-N", "hidden"],
        env=clean_environment(home),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 255
    assert b"HTTP/1.1 400 Bad Request" in ended.stderr


@pytest.mark.parametrize("kind", [ALONE, UPSTREAM, SECRET])
def test_our_client_gets_in(street: Street, stage: Stage, far_echo: Echo, kind: str) -> None:
    server, home, ready = street.hidden[kind], stage.home("client"), ReadyPipe()
    command: list[str | Path] = [
        *(require_tool("wraith"), "connect", "--ready-fd", str(ready.writer)),
        *server.reach(street.secret_for(kind)),
        *("--identity", street.key.path, "--user", login_name()),
        *("--host-key", server.host_key.fingerprint, "--socks5", "127.0.0.1:0"),
    ]
    client = Process(command, home / "log", clean_environment(home), pass_fds=[ready.writer])
    stage.callback(lambda: end_well(client, home))
    proxy = Address.parse(ready.read(client)["socks5"])
    with socks.connect(proxy, far_echo.address) as stream:
        echo(stream)


def test_our_client_without_the_secret_is_told_what_may_be_missing(
    street: Street, stage: Stage
) -> None:
    server, home = street.hidden[SECRET], stage.home("client")
    command: list[str | Path] = [
        *(require_tool("wraith"), "stream", "wraith-echo:0"),
        *server.reach(),
        *("--identity", street.key.path, "--user", login_name()),
    ]
    ended = subprocess.run(
        command,
        env=clean_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert b"--stealth-secret" in ended.stderr


def test_who_a_stranger_is_can_be_told_to_the_real_web_server(stage: Stage) -> None:
    require_tool("nginx")
    certificate = make_certificate(stage.home("tls"))
    nginx = Nginx(stage.folder / "nginx", free_port(), certificate, options=" proxy_protocol")
    stage.callback(nginx.stop)
    url = f"https://127.0.0.1:{nginx.port}?proxy_protocol=1"
    face = Face(*certificate, (UPSTREAM, url))
    server = HiddenServer(stage.home("hidden"), stage.key("host"), stage.key(), face)
    stage.callback(server.stop)
    for tls in (True, False):
        scheme = "https" if tls else "http"
        answer = subprocess.run(
            [require_tool("curl"), "-ski", f"{scheme}://{server.address}/"],
            capture_output=True,
            timeout=10,
            check=True,
        ).stdout
        assert answer.startswith(b"HTTP/1.1 404" if tls else b"HTTP/1.1 400"), answer

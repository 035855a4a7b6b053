"""Certificates by ACME, from a real authority: obtained, refused, kept, renewed under load."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509

import wraith
from interop.peers import socks
from interop.peers.keys import Key
from interop.peers.origins import Echo
from interop.peers.pebble import REFUSED, Pebble
from interop.peers.process import Process, ReadyPipe, wait_until
from interop.peers.roles import Address, free_port
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool
from interop.peers.transfer import echo
from interop.peers.wraith import end_well
from wraith.transports.acme import AcmeCertificate, names_of
from wraith.transports.acme_options import AcmeOptions
from wraith.transports.tls_acceptor import TlsAcceptor
from wraith.values.address import ListenAddress

NAMES = ("gw.test", "127.0.0.1")

OBTAINED = "certificate obtained"


class AcmeServer:
    """`wraith serve` with a certificate from pebble, and plain TCP beside it."""

    def __init__(
        self,
        stage: Stage,
        pebble: Pebble,
        names: Sequence[str],
        *more: str,
        where: Address | None = None,
    ) -> None:
        self._home, self._pebble = stage.home("wraith"), pebble
        self.key = stage.key()
        self._command = [
            *(
                "serve",
                "--listen",
                f"tls://{where or pebble.where}",
                "--listen",
                "tcp://127.0.0.1:0",
            ),
            *("--authorize", self.key.public),
            *("--acme-directory", pebble.directory, "--acme-ca", str(pebble.ca)),
            *(word for name in names for word in ("--acme-domain", name)),
            *more,
        ]
        self.start()
        stage.callback(self.stop)

    def start(self) -> None:
        ready = ReadyPipe()
        self.process = Process(
            [require_tool("wraith"), *self._command, "--ready-fd", str(ready.writer)],
            self._home / "serve.log",
            clean_environment(self._home),
            pass_fds=[ready.writer],
        )
        facts = ready.read(self.process)
        self.host_key = facts["host_key"]
        self.tcp = Address.parse(facts["listen"][1].removeprefix("tcp://"))

    def stop(self) -> None:
        end_well(self.process, self._home)

    def wait_for(self, text: str) -> str:
        return self.process.wait_for_log(lambda log: text in log, within=30)

    def kept(self) -> dict[str, Path]:
        return {
            path.name: path
            for path in (self._home / "state" / "acme").rglob("*.*")
            if path.is_file()
        }


def connected(stage: Stage, server: AcmeServer, *where: str) -> Address:
    """The SOCKS5 port of a `wraith connect` that trusts nothing but what it is told to."""
    ready, home = ReadyPipe(), stage.home("wraith")
    process = Process(
        [
            *(require_tool("wraith"), "connect", "--host-key", server.host_key, *where),
            *("--identity", server.key.path, "--socks5", "127.0.0.1:0"),
            *("--ready-fd", str(ready.writer)),
        ],
        home / "connect.log",
        clean_environment(home),
        pass_fds=[ready.writer],
    )
    stage.callback(lambda: end_well(process, home))
    return Address.parse(ready.read(process)["socks5"])


@pytest.fixture
def pebble(stage: Stage) -> Pebble:
    return Pebble(stage)


@pytest.mark.parametrize("challenge", ["tls-alpn-01", "http-01"])
@pytest.mark.parametrize("names", [NAMES, NAMES[:1], NAMES[1:]], ids="+".join)
def test_a_certificate_for_names_and_addresses(
    stage: Stage, pebble: Pebble, names: Sequence[str], challenge: str, far_echo: Echo
) -> None:
    http: list[str] = []
    where = pebble.where
    if challenge == "http-01":  # and nothing where it would look for the other one
        http, where = ["--acme-http", f"127.0.0.1:{pebble.http_port}"], free_address()
    server = AcmeServer(stage, pebble, names, *http, where=where)
    server.wait_for(OBTAINED)
    for name in names:
        trust = ["--tls-ca", str(pebble.root()), "--tls-server-name", name]
        proxy = connected(stage, server, "--transport", "tls", "--server", str(where), *trust)
        with socks.connect(proxy, far_echo.address) as stream:
            echo(stream)


@pytest.mark.parametrize("challenge", ["tls-alpn-01", "http-01"])
def test_by_several_workers(stage: Stage, pebble: Pebble, challenge: str) -> None:
    http: list[str] = []
    if challenge == "http-01":
        http = ["--acme-http", f"127.0.0.1:{pebble.http_port}"]
    server = AcmeServer(stage, pebble, NAMES, "--workers", "3", *http)
    assert "not obtained" not in server.wait_for(OBTAINED)
    shown = {served(pebble.where) for _ in range(6)}
    assert len(shown) == 1, "each of them shows it"
    assert names_of(x509.load_der_x509_certificate(shown.pop())) == set(NAMES)

    ready = server.process.log.count("worker ready")
    os.kill(server.process.family()[1], signal.SIGKILL)
    server.wait_for("worker ended")
    wait_until(lambda: server.process.log.count("worker ready") > ready, 15, "it came back")
    assert len({served(pebble.where) for _ in range(6)}) == 1
    assert server.process.log.count(OBTAINED) == 1


def free_address() -> Address:
    return Address("127.0.0.1", free_port())


def test_behind_stealth(stage: Stage, pebble: Pebble, far_echo: Echo) -> None:
    server = AcmeServer(stage, pebble, NAMES, "--stealth")
    server.wait_for(OBTAINED)
    trust = ["--tls-ca", str(pebble.root()), "--tls-server-name", "gw.test"]
    proxy = connected(stage, server, "--transport", "tls", "--server", str(pebble.where), *trust)
    with socks.connect(proxy, far_echo.address) as stream:
        echo(stream)


def test_half_of_all_nonces_refused(stage: Stage) -> None:
    pebble = Pebble(stage, nonces_refused=50)
    server = AcmeServer(stage, pebble, NAMES)
    assert "not obtained" not in server.wait_for(OBTAINED)


def test_what_is_kept_is_for_nobody_else_and_used_again(stage: Stage, pebble: Pebble) -> None:
    server = AcmeServer(stage, pebble, NAMES)
    server.wait_for(OBTAINED)
    kept = server.kept()
    assert set(kept) == {"account.json", "account_key.pem", "certificate.pem"}
    for path in kept.values():
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    before = served(pebble.where)
    account = kept["account.json"].read_bytes()
    server.stop()
    server.start()
    assert served(pebble.where) == before
    time.sleep(1)
    assert OBTAINED not in server.process.log
    assert kept["account.json"].read_bytes() == account


def served(where: Address) -> bytes:
    """The certificate that a new connection is shown, in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(where, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="gw.test") as stream,
    ):
        return stream.getpeercert(binary_form=True) or b""


class TestARefusal:
    def test_of_the_authority_is_told_in_its_own_words_and_the_server_runs_on(
        self, stage: Stage, pebble: Pebble, far_echo: Echo
    ) -> None:
        server = AcmeServer(stage, pebble, [REFUSED])
        log = server.wait_for("certificate not obtained")
        line = next(line for line in log.splitlines() if "not obtained" in line)
        assert REFUSED in line
        assert "policy" in line.lower()
        assert "problem=rejectedIdentifier" in line
        assert "retry_in=60" in line
        with pytest.raises(ssl.SSLError):
            served(pebble.where)
        proxy = connected(stage, server, "--server", str(server.tcp))
        with socks.connect(proxy, far_echo.address) as stream:
            echo(stream)

    def test_because_nothing_answers_the_challenge(self, stage: Stage, pebble: Pebble) -> None:
        pebble.http_port, asked = 1, pebble.http_port
        server = AcmeServer(stage, pebble, ["gw.test"], "--acme-http", "127.0.0.1:0")
        log = server.wait_for("certificate not obtained")
        assert f"127.0.0.1:{asked}" in log, "the authority says where it looked"
        assert "connection refused" in log

    def test_to_trust_the_authority_itself(self, stage: Stage, pebble: Pebble) -> None:
        other = Pebble(stage)
        server = AcmeServer(stage, pebble, ["gw.test"], "--acme-ca", str(other.ca))
        assert "--acme-ca names who vouches for it" in server.wait_for("not obtained")

    def test_to_answer_at_all(self, stage: Stage, pebble: Pebble) -> None:
        pebble.process.kill()
        server = AcmeServer(stage, pebble, ["gw.test"])
        assert "cannot reach the authority" in server.wait_for("not obtained")


# Renewal, with a clock of the story's own


class Clock:
    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@asynccontextmanager
async def serving(
    stage: Stage, pebble: Pebble, clock: Clock, key: Key
) -> AsyncIterator[tuple[wraith.Server, AcmeCertificate]]:
    options = AcmeOptions(NAMES, None, pebble.directory, pebble.ca, None)
    certificate = AcmeCertificate(options, clock)
    address = ListenAddress("tls", "127.0.0.1", pebble.tls_port)
    serve = wraith.ServeOptions(listen=[TlsAcceptor(address, certificate)], authorize=[key.public])
    async with wraith.serve(serve) as server:
        await until(lambda: certificate.source.leaf is not None)
        yield server, certificate


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.02)


def serial(certificate: AcmeCertificate) -> int:
    leaf = certificate.source.leaf
    assert leaf is not None
    return leaf.serial_number


def look_at_once(certificate: AcmeCertificate) -> None:
    certificate._hurry.set()


@pytest.fixture
def state(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = stage.home("state")
    monkeypatch.setenv("WRAITH_STATE_DIR", str(folder))
    return folder


async def test_a_renewal_is_not_noticed_by_a_session_that_transfers(
    stage: Stage, pebble: Pebble, state: Path
) -> None:
    clock, key = Clock(), stage.key()
    async with serving(stage, pebble, clock, key) as (server, certificate):
        options = wraith.ConnectOptions(
            server=str(pebble.where),
            transport="tls",
            tls_ca=pebble.root(),
            identity=[key.path],
            host_key=server.host_key_fingerprint,
        )
        async with wraith.connect(options) as client:
            reader, writer = await client.open_connection("wraith-echo", 0)
            sent, got, stop = hashlib.sha256(), hashlib.sha256(), asyncio.Event()

            async def send() -> None:
                while not stop.is_set():
                    data = os.urandom(100_000)
                    sent.update(data)
                    writer.write(data)
                    await writer.drain()
                writer.write_eof()

            async def receive() -> int:
                count = 0
                while data := await reader.read(1 << 16):
                    got.update(data)
                    count += len(data)
                return count

            sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
            old, shown = serial(certificate), await asyncio.to_thread(served, pebble.where)
            leaf = certificate.source.leaf
            assert leaf is not None
            whole = leaf.not_valid_after_utc - leaf.not_valid_before_utc
            clock.ahead = whole.total_seconds() * 0.6
            look_at_once(certificate)
            await asyncio.sleep(1)
            assert serial(certificate) == old, "not before two thirds of its life"
            clock.ahead = whole.total_seconds() * 0.7
            look_at_once(certificate)
            await until(lambda: serial(certificate) != old)
            assert await asyncio.to_thread(served, pebble.where) != shown
            await asyncio.sleep(0.5)
            stop.set()
            await sending
            assert await receiving > 1_000_000
            assert got.digest() == sent.digest()
            writer.close()
        async with wraith.connect(dataclasses.replace(options, tls_ca=pebble.root())) as client:
            reader, writer = await client.open_connection("wraith-echo", 0)
            writer.write(b"still there")
            assert await reader.readexactly(11) == b"still there"
            writer.close()


async def test_a_renewal_that_fails_keeps_the_old_certificate(
    stage: Stage, pebble: Pebble, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, key = Clock(), stage.key()
    async with serving(stage, pebble, clock, key) as (_server, certificate):
        old, shown = serial(certificate), await asyncio.to_thread(served, pebble.where)
        pebble.process.kill()
        clock.ahead = 4 * 365 * 86400.0
        look_at_once(certificate)
        await until(lambda: "certificate not obtained" in caplog.text)
        assert "cannot reach the authority" in caplog.text
        assert serial(certificate) == old
        assert await asyncio.to_thread(served, pebble.where) == shown
        pebble.start()  # and has forgotten our account
        look_at_once(certificate)
        await until(lambda: serial(certificate) != old)


async def test_other_names_are_asked_for_at_once(stage: Stage, pebble: Pebble, state: Path) -> None:
    async with serving(stage, pebble, Clock(), stage.key()) as (_server, certificate):
        old = serial(certificate)
        certificate.reload(
            wraith.ServeOptions(
                listen=["tls://127.0.0.1:0"],
                acme_domain=["other.test"],
                acme_directory=pebble.directory,
                acme_ca=pebble.ca,
            )
        )
        await until(lambda: serial(certificate) != old)
        assert certificate.source.name == "other.test"
        shown = x509.load_der_x509_certificate(await asyncio.to_thread(served, pebble.where))
        assert shown.serial_number == serial(certificate)

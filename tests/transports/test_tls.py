"""TLS between a client and a server: what is trusted, what is refused, and what is said of it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

import wraith
from tests.support.certificates import DAY, Made, make_certificate
from wraith.errors import CertificateError, ListenError, TlsError, TransportError, UsageError
from wraith.ssh.keys import generate
from wraith.testing import Recorder
from wraith.transports.certificates import pin_of
from wraith.transports.tls import TlsTransport
from wraith.transports.tls_trust import Trust
from wraith.values.address import HostPort


@asynccontextmanager
async def server(context: ssl.SSLContext) -> AsyncIterator[HostPort]:
    """Somebody else's TLS server, asyncio's own."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(hold, "127.0.0.1", 0, ssl=context)
    try:
        yield HostPort("127.0.0.1", listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def peer(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> Any:
    """A peer on a plain socket."""
    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield HostPort("127.0.0.1", listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await asyncio.sleep(0.01)


async def connects(address: HostPort, trust: Trust, timeout: float = 5) -> None:
    recorder = Recorder()
    stream = await TlsTransport(address, trust).connect(lambda: recorder, timeout)
    assert recorder.stream is stream
    assert stream.get_extra_info("cipher") is not None
    stream.close()
    await recorder.until_lost()


async def refusal(address: HostPort, trust: Trust, timeout: float = 5) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await TlsTransport(address, trust).connect(Recorder, timeout)
    assert str(address) in caught.value.message
    return caught.value


# What is trusted


async def test_an_authority_vouches_for_a_name(tmp_path: Path) -> None:
    root = make_certificate(tmp_path, "root.example", authority=True)
    made = make_certificate(tmp_path, "gw.example.com", "127.0.0.1", issuer=root)
    async with server(made.server_context()) as address:
        for name in ("gw.example.com", "127.0.0.1"):
            await connects(address, Trust(name, ca=root.cert_path))


async def test_a_pin_is_enough_for_any_certificate_with_that_key(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "whatever", begins=-2 * DAY, ends=-DAY)
    async with server(made.server_context()) as address:
        await connects(address, Trust("gw.example.com", pin=pin_of(made.certificate)))
        await connects(address, Trust("gw.example.com", insecure=True))


async def test_with_an_authority_the_pin_is_one_more_condition(tmp_path: Path) -> None:
    root = make_certificate(tmp_path, "root.example", authority=True)
    made = make_certificate(tmp_path, "gw.example.com", issuer=root)
    pin = pin_of(made.certificate)
    async with server(made.server_context()) as address:
        await connects(address, Trust("gw.example.com", ca=root.cert_path, pin=pin))
        error = await refusal(address, Trust("other.example.com", ca=root.cert_path, pin=pin))
        assert isinstance(error, CertificateError)


# What is refused


def expired(folder: Path, root: Made) -> Made:
    return make_certificate(
        folder, "gw.example.com", issuer=root, begins=-2 * DAY, ends=datetime.timedelta(hours=-1)
    )


def of_tomorrow(folder: Path, root: Made) -> Made:
    return make_certificate(folder, "gw.example.com", issuer=root, begins=DAY, ends=2 * DAY)


def of_another_name(folder: Path, root: Made) -> Made:
    return make_certificate(folder, "other.example.com", issuer=root)


def of_an_unknown_issuer(folder: Path, _root: Made) -> Made:
    return make_certificate(
        folder, "gw.example.com", issuer=make_certificate(folder, "nobody", authority=True)
    )


def self_signed(folder: Path, _root: Made) -> Made:
    return make_certificate(folder, "gw.example.com")


def not_meant_for_servers(folder: Path, root: Made) -> Made:
    return make_certificate(folder, "gw.example.com", issuer=root, for_clients_only=True)


@pytest.mark.parametrize(
    ("make", "sentence", "option"),
    [
        (expired, "has expired", "--tls-pin"),
        (of_tomorrow, "is not valid yet", "--tls-pin"),
        (of_another_name, "is not for the name gw.example.com", "--tls-server-name"),
        (of_an_unknown_issuer, "comes from an unknown issuer", "--tls-ca"),
        (self_signed, "is self-signed, or", "--tls-pin"),
        (not_meant_for_servers, "is not trusted: unsuitable certificate purpose", "--tls-pin"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_certificate_that_is_not_trusted_is_told_with_the_option_that_answers(
    tmp_path: Path, make: Callable[[Path, Made], Made], sentence: str, option: str
) -> None:
    root = make_certificate(tmp_path, "root.example", authority=True)
    async with server(make(tmp_path, root).server_context()) as address:
        error = await refusal(address, Trust("gw.example.com", ca=root.cert_path))
    assert isinstance(error, CertificateError)
    assert error.message.startswith(f"the certificate of {address} {sentence}")
    assert option in (error.hint or "")


async def test_the_systems_roots_do_not_know_us(tmp_path: Path) -> None:
    async with server(make_certificate(tmp_path, "gw.example.com").server_context()) as address:
        error = await refusal(address, Trust("gw.example.com"))
    assert "is self-signed" in error.message


async def test_another_key_than_the_pin_names_is_shown(tmp_path: Path) -> None:
    made, other = (make_certificate(tmp_path, "gw.example.com") for _ in range(2))
    async with server(made.server_context()) as address:
        error = await refusal(address, Trust("gw.example.com", pin=pin_of(other.certificate)))
    assert isinstance(error, CertificateError)
    assert "another key than --tls-pin names" in error.message
    assert error.message.endswith(pin_of(made.certificate))


def test_a_certificate_that_cannot_be_read_does_not_match() -> None:
    with pytest.raises(CertificateError, match="cannot be read"):
        Trust("gw.example.com", pin="SHA256:" + "A" * 43).check("gw.example.com:443", b"nonsense")


async def test_a_peer_that_speaks_plain_text(tmp_path: Path) -> None:
    async def ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        await reader.read()
        writer.close()

    async with peer(ssh) as address:
        error = await refusal(address, Trust("gw.example.com"))
    assert isinstance(error, TlsError)
    assert error.message == f"{address} does not speak TLS"
    assert "--transport tcp" in (error.hint or "")


@pytest.mark.parametrize(
    ("alert", "sentence", "kind"),
    [
        (70, "speaks only versions of TLS that are too old", TlsError),
        (112, "does not know the name gw.example.com", TlsError),
        (40, "the TLS handshake with", TlsError),
    ],
)
async def test_a_peer_that_refuses_by_an_alert(
    alert: int, sentence: str, kind: type[TransportError]
) -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(bytes((21, 3, 3, 0, 2, 2, alert)))
        writer.close()

    async with peer(refuses) as address:
        error = await refusal(address, Trust("gw.example.com"))
    assert sentence in error.message
    assert isinstance(error, kind)


@pytest.mark.parametrize("rudely", [False, True])
async def test_a_peer_that_cuts_the_handshake_is_trouble_of_the_network(rudely: bool) -> None:
    async def cuts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        if rudely:
            writer.transport.abort()
        writer.close()

    async with peer(cuts) as address:
        error = await refusal(address, Trust("gw.example.com"))
    assert type(error) is TransportError
    assert error.message == f"{address} cut the TLS handshake short"
    assert "--tls-server-name" in (error.hint or "")


async def test_a_silent_peer_is_given_up_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with peer(silent) as address:
        error = await refusal(address, Trust("gw.example.com"), timeout=0.1)
    assert error.message == f"{address} did not finish the TLS handshake within 0.1 s"


async def test_a_handshake_given_up_leaves_nothing() -> None:
    came = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        assert await reader.read() is not None
        writer.close()

    async with peer(silent) as address:
        connecting = asyncio.create_task(
            TlsTransport(address, Trust("gw.example.com")).connect(Recorder, 5)
        )
        await came.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting


async def test_a_protocol_that_cannot_be_made_ends_the_stream(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "gw.example.com")

    def broken() -> asyncio.Protocol:
        raise RuntimeError("no protocol")

    async with server(made.server_context()) as address:
        with pytest.raises(RuntimeError, match="no protocol"):
            await TlsTransport(address, Trust("gw", insecure=True)).connect(broken, 5)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"pin": "SHA256:short"}, "must be given as SHA256"),
        ({"insecure": True, "pin": "SHA256:" + "A" * 43}, "would mean nothing"),
        ({"insecure": True, "ca": Path("root.pem")}, "would mean nothing"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Trust("gw.example.com", **options)


def test_an_authoritys_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        TlsTransport(HostPort("gw", 443), Trust("gw", ca=tmp_path / "missing"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="holds no certificate of an authority"):
        TlsTransport(HostPort("gw", 443), Trust("gw", ca=tmp_path / "text"))


# The server's side


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[wraith.Server, int]]:
    """A whole server on a TLS port, and the port."""
    key = generate()
    settings = wraith.ServeOptions(
        **{"listen": ["tls://127.0.0.1:0"], "key": key.export(), "authorize": [key.public.line()]}
        | options
    )
    async with wraith.serve(settings) as server:
        yield server, int(server.listen_addresses[0].rpartition(":")[2])


async def certificate_shown(port: int) -> str:
    """The pin of what a client is shown now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return pin_of(x509.load_der_x509_certificate(shown))


async def test_between_two_of_ours_it_is_aes_128_and_another_client_has_its_own_way() -> None:
    async with serving(tls_self_signed=True) as (_, port):
        address, recorder = HostPort("127.0.0.1", port), Recorder()
        transport = TlsTransport(address, Trust("gw.example.com", insecure=True))
        stream = await transport.connect(lambda: recorder, 5)
        assert stream.get_extra_info("cipher")[0] == "TLS_AES_128_GCM_SHA256"
        stream.abort()
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+CHACHA20:ECDHE+AESGCM")
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        assert "CHACHA20" in writer.get_extra_info("cipher")[0]
        writer.transport.abort()


async def test_start_up_tells_the_pin_and_the_line_to_paste(tmp_path: Path) -> None:
    async with serving(tls_self_signed=True) as (server, port):
        pin = server.notes["tls pin"]
        assert await certificate_shown(port) == pin
        where = ("--transport", "tls", "--server", f"127.0.0.1:{port}")
        assert server.invitations == ((*where, "--tls-pin", pin),)
        assert server.listen_addresses == (f"tls://127.0.0.1:{port}",)
    async with serving(tls_self_signed=True) as (server, _):
        assert server.notes["tls pin"] == pin, "it is kept"


async def test_a_certificate_from_an_authority_is_reached_by_its_name(tmp_path: Path) -> None:
    root = make_certificate(tmp_path, "root.example", authority=True)
    made = make_certificate(tmp_path, "gw.example.com", issuer=root)
    files = {"tls_cert": made.cert_path, "tls_key": made.key_path}
    async with serving(**files) as (server, port):
        where = ("--transport", "tls", "--server", f"gw.example.com:{port}")
        assert server.invitations == (where,)


async def test_one_server_listens_by_tcp_and_by_tls(tmp_path: Path) -> None:
    listen = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0"]
    async with serving(listen=listen, tls_self_signed=True) as (server, _):
        assert [url[:6] for url in server.listen_addresses] == ["tcp://", "tls://"]
        assert len(server.invitations) == 2


async def test_a_renewed_certificate_is_shown_to_newcomers_and_open_sessions_live_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (make_certificate(tmp_path, "gw.example.com") for _ in range(2))
    cert, key = tmp_path / "live.pem", tmp_path / "live.key"

    def install(made: Made) -> None:
        cert.write_bytes(made.cert_path.read_bytes())
        key.write_bytes(made.key_path.read_bytes())

    install(first)
    user = generate()
    files = {"tls_cert": cert, "tls_key": key, "authorize": [user.public.line()]}
    async with serving(**files) as (server, port):
        options = wraith.ConnectOptions(
            server=f"127.0.0.1:{port}",
            transport="tls",
            tls_pin=pin_of(first.certificate),
            identity=[user.export()],
            host_key=server.host_key_fingerprint,
        )
        async with wraith.connect(options) as client:
            reader, writer = await client.open_connection("wraith-echo", 0)
            install(second)
            server.reload()
            assert await certificate_shown(port) == pin_of(second.certificate)
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
            writer.close()
            await writer.wait_closed()
        cert.write_text("nonsense")
        with caplog.at_level(logging.ERROR):
            server.reload()
        assert "certificate not reloaded" in caplog.text
        assert await certificate_shown(port) == pin_of(second.certificate)


@pytest.mark.parametrize(
    ("options", "problem", "hint"),
    [
        ({}, "a TLS server needs a certificate", "--tls-self-signed"),
        ({"tls_key": "k"}, "--tls-key needs the certificate", "--tls-cert"),
        ({"tls_self_signed": True, "tls_cert": "c"}, "exclude each other", "leave one"),
        ({"tls_cert": "c", "listen": ["127.0.0.1:0"]}, "nothing listens with it", "tls://"),
    ],
)
def test_options_of_a_server_that_cannot_be_meant(
    options: dict[str, Any], problem: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        wraith.ServeOptions(**{"listen": ["tls://127.0.0.1:0"]} | options)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["tls_server_name", "tls_ca", "tls_pin", "insecure"])
def test_options_about_tls_are_no_use_without_it(name: str) -> None:
    with pytest.raises(UsageError, match="is about TLS, and the transport is tcp"):
        wraith.ConnectOptions(server="gw", **{name: "x"})  # type: ignore[arg-type]


async def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = [f"tls://127.0.0.1:{taken.getsockname()[1]}"]
        with pytest.raises(ListenError, match="already in use") as caught:
            async with serving(listen=listen, tls_self_signed=True):
                pass
    assert "--listen tls://" in (caught.value.hint or "")


async def test_strangers_who_shake_no_hands_are_counted_and_cut_off() -> None:
    async with serving(tls_self_signed=True, login_grace=0.2, max_startups=2) as (server, port):
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        ended = await asyncio.gather(*(reader.read() for reader, _ in streams))
        assert ended == [b""] * 4
        assert server.session_count == 0
        for _, writer in streams:
            writer.close()


async def test_a_server_that_stops_cuts_off_whoever_is_shaking_hands() -> None:
    async with serving(tls_self_signed=True) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bytes((22, 3, 1)))
        while not server.session_count:
            await asyncio.sleep(0.01)
        await server.close(drain=0)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_a_plain_text_client_gets_an_alert_and_an_end() -> None:
    async with serving(tls_self_signed=True) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        assert (await reader.read())[:1] in (b"\x15", b""), "an alert, if anything"
        writer.close()

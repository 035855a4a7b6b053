"""A hidden server and its own: who gets in, and what is said where it goes wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wraith
from tests.support.certificates import Made, make_certificate
from wraith.errors import SessionLost, TransportError, UsageError
from wraith.ssh.keys import generate
from wraith.transports import as_nginx
from wraith.transports.stealth import read_secret

SECRET = b"a secret of more than sixteen bytes"
KEY = generate("me")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


def options(certificate: Made, **stealth: Any) -> wraith.ServeOptions:
    return wraith.ServeOptions(
        listen=["tls://127.0.0.1:0"],
        key=generate("host").export(),
        authorize=[KEY.public.line()],
        tls_cert=certificate.cert_path,
        tls_key=certificate.key_path,
        **stealth,
    )


@asynccontextmanager
async def hidden(certificate: Made, **stealth: Any) -> AsyncIterator[wraith.Server]:
    async with wraith.serve(options(certificate, **stealth)) as server:
        yield server


async def visits(server: wraith.Server, certificate: Made, **more: Any) -> None:
    """One of ours gets in, and is answered."""
    ours = wraith.ConnectOptions(
        server=server.listen_addresses[0].removeprefix("tls://"),
        transport="tls",
        tls_ca=certificate.cert_path,
        identity=[KEY.export()],
        host_key=server.host_key_fingerprint,
        **more,
    )
    async with wraith.connect(ours) as client:
        reader, writer = await client.open_connection("wraith-echo", 0)
        writer.write(b"x" * 100_000)
        assert await reader.readexactly(100_000) == b"x" * 100_000
        writer.close()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"stealth": True}, {}),
        ({"stealth_upstream": "http://127.0.0.1:1"}, {}),
        ({"stealth_secret": SECRET}, {"stealth_secret": SECRET + b"\n"}),
    ],
    ids=["alone", "upstream", "secret"],
)
async def test_ours_get_in(certificate: Made, theirs: Any, ours: Any) -> None:
    async with hidden(certificate, **theirs) as server:
        await visits(server, certificate, **ours)


async def test_clients_are_told_that_there_is_a_secret_and_not_which(
    certificate: Made, tmp_path: Path
) -> None:
    path = tmp_path / "our.secret"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    async with hidden(certificate, stealth_secret=path) as server:
        (invitation,) = server.invitations
        assert invitation[-2:] == ("--stealth-secret", "our.secret")
    async with hidden(certificate, stealth=True) as server:
        (invitation,) = server.invitations
        assert "--stealth-secret" not in invitation


@pytest.mark.parametrize("ours", [{}, {"stealth_secret": b"another secret, long enough"}])
async def test_without_the_secret_nobody_does(certificate: Made, ours: Any) -> None:
    async with hidden(certificate, stealth_secret=SECRET) as server:
        with pytest.raises(SessionLost) as caught:
            await visits(server, certificate, **ours)
        assert "--stealth-secret" in (caught.value.hint or "")


async def test_a_proof_to_a_server_that_wants_none_is_a_stranger_s(certificate: Made) -> None:
    async with hidden(certificate, stealth=True) as server:
        with pytest.raises(SessionLost):
            await visits(server, certificate, stealth_secret=SECRET)


async def test_a_proof_needs_tls_1_3(certificate: Made) -> None:
    context = certificate.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    ended = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        ended.set()

    old = await asyncio.start_server(hold, "127.0.0.1", 0, ssl=context)
    ours = wraith.ConnectOptions(
        server=f"127.0.0.1:{old.sockets[0].getsockname()[1]}",
        transport="tls",
        tls_ca=certificate.cert_path,
        identity=[KEY.export()],
        stealth_secret=SECRET,
    )
    with pytest.raises(TransportError, match=r"speaks no TLS 1\.3"):
        async with wraith.connect(ours):
            pass
    await asyncio.wait_for(ended.wait(), 5)
    old.close()
    await asyncio.sleep(0.01)


async def test_a_new_certificate_is_shown_after_a_reload(
    certificate: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer = make_certificate(tmp_path, "127.0.0.1")
    async with hidden(certificate, stealth=True) as server:
        server.reload(
            dataclasses.replace(server.options, tls_cert=newer.cert_path, tls_key=newer.key_path)
        )
        await visits(server, newer)


@pytest.mark.parametrize(
    "stealth",
    [{"stealth": True}, {"stealth_upstream": "https://a"}, {"stealth_secret": SECRET}],
    ids=str,
)
def test_stealth_needs_tls(stealth: Any) -> None:
    with pytest.raises(UsageError, match="stealth needs TLS") as caught:
        wraith.ServeOptions(listen=["127.0.0.1:0"], **stealth)
    assert "--transport tls" in (caught.value.hint or "")
    assert "secret of more" not in repr(caught.value)


def test_options_that_cannot_be_used(certificate: Made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="upstream"):
        options(certificate, stealth_upstream="nonsense")
    with pytest.raises(UsageError, match=r"cannot read the stealth secret in .*: no such file"):
        options(certificate, stealth_secret=tmp_path / "none")
    with pytest.raises(UsageError, match="shorter than 16 bytes"):
        options(certificate, stealth_secret=b"short")
    with pytest.raises(UsageError, match="--stealth-secret is about TLS"):
        wraith.ConnectOptions(server="a", stealth_secret=SECRET)


def test_neither_side_shows_the_secret(certificate: Made) -> None:
    theirs = options(certificate, stealth_secret=SECRET)
    ours = wraith.ConnectOptions(server="a", transport="tls", stealth_secret=SECRET)
    for item in (
        theirs,
        theirs.stealth_settings(),
        *theirs.acceptors(),
        ours,
        ours.make_transport(),
    ):
        assert "secret of more" not in repr(item)


def test_a_secret_that_others_may_read_is_complained_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o644)
    assert read_secret(path) == SECRET
    assert "others may read the stealth secret" in caplog.text
    caplog.clear()
    path.chmod(0o600)
    assert read_secret(str(path)) == SECRET
    assert not caplog.text


def test_where_openssl_cannot_be_reached_python_s_own_settings_do(
    certificate: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(*_: object) -> int:
        raise ValueError("not there")

    assert as_nginx.shape(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    monkeypatch.setattr(as_nginx._OpenSsl, "pointer_of", lost)
    assert not as_nginx.shape(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    async def story() -> None:
        async with hidden(certificate, stealth=True) as server:
            await visits(server, certificate)

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert "stealth is weaker here" in caplog.text


def test_a_context_is_recognised_and_anything_else_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    openssl = as_nginx._OpenSsl()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    before = context.options
    assert openssl.pointer_of(context)
    assert context.options == before
    deaf = SimpleNamespace(SSL_CTX_get_options=lambda _pointer: 7)
    monkeypatch.setattr(openssl, "_library", deaf)
    with pytest.raises(ValueError, match="no SSL_CTX"):
        openssl.pointer_of(context)
    monkeypatch.setattr(sys.implementation, "name", "another")
    with pytest.raises(OSError, match="only CPython"):
        as_nginx._OpenSsl()

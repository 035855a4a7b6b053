"""The certificate that looks after itself, with an authority that does what the story says.

A real one answers in `interop/test_acme.py`.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wraith.errors import IdentityError
from wraith.server.options import ServeOptions
from wraith.transports import acme
from wraith.transports.acme import AcmeCertificate, names_of
from wraith.transports.acme_authority import Challenge, OrderFailed
from wraith.transports.acme_options import AcmeOptions
from wraith.values.address import HostPort

DAY = 86400.0
OPTIONS = AcmeOptions(("gw.test",), None, "https://ca.test/dir")


class Script:
    """The authority of a story."""

    def __init__(self) -> None:
        self.orders: list[list[str]] = []
        self.log_ins = 0
        self.refusal: OrderFailed | None = None
        self.suggestion: float | None = None
        self.now = time.time()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, _directory: str, _folder: Path, _ca: Path | None) -> Script:
        self._refuse()
        return self

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def log_in(self, _email: str | None) -> None:
        self.log_ins += 1

    def order(self, names: Sequence[str]) -> Script:
        self._refuse()
        self.orders.append(list(names))
        return self

    def challenges(self, _kind: str) -> list[Challenge]:
        return [Challenge("gw.test", "token", "token.print", None)]  # type: ignore[arg-type]

    def answer(self, _challenge: Challenge) -> None:
        self.gate.wait(5)

    def finish(self) -> bytes:
        return issue(self.orders[-1], self.now)

    def suggested_renewal(self, _chain: bytes) -> float | None:
        self._refuse()
        return self.suggestion


def issue(names: Sequence[str], begins: float) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "leaf")])
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    start = datetime.datetime.fromtimestamp(begins, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    authority = Script()
    monkeypatch.setattr(acme, "Authority", authority)
    return authority


@asynccontextmanager
async def looked_after(
    script: Script, options: AcmeOptions = OPTIONS
) -> AsyncIterator[AcmeCertificate]:
    certificate = AcmeCertificate(options, lambda: script.now)
    await certificate.start()
    try:
        yield certificate
    finally:
        await certificate.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


def serial(certificate: AcmeCertificate) -> int | None:
    leaf = certificate.source.leaf
    return leaf.serial_number if leaf is not None else None


async def test_one_is_obtained_and_kept_for_the_next_start(script: Script) -> None:
    async with looked_after(script) as certificate:
        assert certificate.name == "gw.test"
        assert serial(certificate) is None
        await until(lambda: serial(certificate) is not None)
        first = serial(certificate)
        assert certificate.name == "gw.test"
        assert certificate.choose(b"") is certificate.source.context
    async with looked_after(script) as certificate:
        assert serial(certificate) == first, "shown before anybody is asked"
        await asyncio.sleep(0.05)
    assert script.orders == [["gw.test"]]


async def test_several_addresses_share_it(script: Script) -> None:
    async with looked_after(script) as certificate:
        await certificate.start()
        await until(lambda: serial(certificate) is not None)
        await certificate.close()
    assert len(script.orders) == 1
    assert repr(certificate) == "<AcmeCertificate gw.test failures=0>"


async def test_it_is_renewed_when_its_time_has_come(script: Script) -> None:
    async with looked_after(script) as certificate:
        await until(lambda: serial(certificate) is not None)
        first, context = serial(certificate), certificate.source.context
        script.now += 59 * DAY
        certificate._hurry.set()
        await asyncio.sleep(0.05)
        assert serial(certificate) == first
        script.now += 2 * DAY
        certificate._hurry.set()
        await until(lambda: serial(certificate) != first)
        assert certificate.source.context is not context, "for new connections only"


async def test_its_authority_may_ask_for_a_renewal_earlier(script: Script) -> None:
    async with looked_after(script) as certificate:
        await until(lambda: serial(certificate) is not None)
        first = serial(certificate)
        script.suggestion = script.now + DAY
        script.now += 2 * DAY
        certificate._hurry.set()
        await until(lambda: serial(certificate) != first)


async def test_an_authority_that_is_never_content_is_not_asked_all_the_time(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def noted(work: Coroutine[None, None, object], wait: float) -> None:
        waits.append(wait)
        work.close()
        await asyncio.sleep(60)

    monkeypatch.setattr("wraith.transports.acme.asyncio.wait_for", noted)
    script.suggestion = script.now - DAY
    async with looked_after(script):
        await until(lambda: bool(waits))
    assert waits == [6 * 3600.0]
    assert len(script.orders) == 1


async def test_a_refusal_is_logged_in_the_authoritys_words_and_tried_again(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.refusal = OrderFailed('no "certificates"\nfor you', "rejectedIdentifier")
    async with looked_after(script) as certificate:
        await until(lambda: "not obtained" in caplog.text)
        line = caplog.records[-1].getMessage()
        assert line == (
            'certificate not obtained reason="no \\"certificates\\"\\nfor you" '
            "problem=rejectedIdentifier retry_in=60"
        )
        script.refusal = None
        certificate._hurry.set()
        await until(lambda: serial(certificate) is not None)
    assert script.log_ins == 1


async def test_a_renewal_that_fails_keeps_the_old_one(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    async with looked_after(script) as certificate:
        await until(lambda: serial(certificate) is not None)
        first = serial(certificate)
        script.now += 80 * DAY
        script.refusal = OrderFailed("cannot reach the authority")
        for failures in (1, 2):
            certificate._hurry.set()
            await until(lambda: certificate._failures == failures)  # noqa: B023
        assert serial(certificate) == first
        assert "retry_in=300" in caplog.text


async def test_an_authority_without_renewal_information_decides_nothing(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "wraith.server")
    async with looked_after(script) as certificate:
        await until(lambda: serial(certificate) is not None)
    script.refusal = OrderFailed("gone")
    async with looked_after(script) as certificate:
        await until(lambda: "no renewal information" in caplog.text)
        assert certificate._failures == 0


async def test_other_names_are_asked_for_at_once_and_bad_options_change_nothing(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    async with looked_after(script) as certificate:
        await until(lambda: serial(certificate) is not None)
        listen = ["tls://127.0.0.1:0"]
        certificate.reload(ServeOptions(listen=listen, tls_self_signed=True))
        assert "certificate not reloaded" in caplog.text
        certificate.reload(
            ServeOptions(
                listen=listen, acme_domain=["a.test", "b.test"], acme_directory=OPTIONS.directory
            )
        )
        await until(lambda: len(script.orders) == 2)
        assert script.orders[-1] == ["a.test", "b.test"]
        await until(lambda: certificate.name == "a.test")


async def test_what_was_kept_and_cannot_be_used_is_replaced(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    async with looked_after(script) as certificate:
        await until(lambda: serial(certificate) is not None)
        path = certificate._path
    path.write_bytes(b"nonsense")
    async with looked_after(script) as certificate:
        await until(lambda: serial(certificate) is not None)
    assert "certificate not usable" in caplog.text
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_by_http_a_port_is_open_only_while_an_order_is_pending(script: Script) -> None:
    script.gate.clear()
    options = AcmeOptions(("gw.test",), None, OPTIONS.directory, None, HostPort("127.0.0.1", 0))
    async with looked_after(script, options) as certificate:
        await until(lambda: bool(script.orders))
        script.gate.set()
        await until(lambda: serial(certificate) is not None)


async def test_an_end_in_the_middle_of_an_order_waits_for_nobody(script: Script) -> None:
    script.gate.clear()
    async with looked_after(script):
        await until(lambda: bool(script.orders))
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 1
    script.gate.set()


async def test_a_folder_that_cannot_be_made_is_told_at_the_start(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WRAITH_STATE_DIR", str(tmp_path / "file" / "state"))
    with pytest.raises(IdentityError, match="cannot keep a certificate by ACME"):
        await AcmeCertificate(OPTIONS).start()


async def test_a_disk_that_is_full_is_like_a_refusal(
    script: Script, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(acme, "replace_private", full)
    async with looked_after(script) as certificate:
        await until(lambda: "no space left on device" in caplog.text)
        assert serial(certificate) is None


def test_a_certificate_says_for_whom_it_is() -> None:
    leaf = x509.load_pem_x509_certificate(issue(["A.test", "b.test"], time.time()))
    assert names_of(leaf) == {"a.test", "b.test"}

"""The server's certificate: read, made, kept, replaced; and what is said of a bad one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.certificates import DAY, Made, make_certificate
from wraith.errors import IdentityError
from wraith.transports import certificates
from wraith.transports.certificates import CertificateSource, keep_self_signed, pin_of


def test_files_are_shown_and_replaced_as_a_whole(tmp_path: Path) -> None:
    first, second = (make_certificate(tmp_path, name) for name in ("one.example", "two.example"))
    source = CertificateSource()
    assert repr(source) == "<CertificateSource empty>"
    source.replace(first.cert_path, first.key_path)
    context = source.context
    assert source.pin == pin_of(first.certificate)
    assert source.is_self_signed
    source.replace(second.cert_path, second.key_path)
    assert source.context is not context
    assert source.name == "two.example"
    assert source.pin in repr(source)


def test_a_certificate_and_its_key_may_share_a_file(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "*.example.com", "gw.example.com")
    both = tmp_path / "both.pem"
    both.write_bytes(made.key_path.read_bytes() + made.cert_path.read_bytes())
    source = CertificateSource()
    source.replace(both)
    assert source.name == "gw.example.com", "no client can be told to connect to a wildcard"


def test_one_without_a_name_has_none(tmp_path: Path) -> None:
    keep_self_signed(tmp_path / "own.pem")
    made = make_certificate(tmp_path, "127.0.0.1")
    source = CertificateSource()
    source.replace(made.cert_path, made.key_path)
    assert source.name is None
    nameless = make_certificate(tmp_path, "nameless", without_names=True)
    source.replace(nameless.cert_path, nameless.key_path)
    assert source.name is None


def with_another_key(folder: Path, made: Made) -> tuple[Path, Path]:
    return made.cert_path, make_certificate(folder, "other").key_path


def without_a_key(_folder: Path, made: Made) -> tuple[Path, None]:
    return made.cert_path, None


def missing(folder: Path, made: Made) -> tuple[Path, Path]:
    return folder / "missing.pem", made.key_path


def no_certificate(folder: Path, made: Made) -> tuple[Path, Path]:
    (folder / "text").write_text("hello")
    return folder / "text", made.key_path


def broken(folder: Path, made: Made) -> tuple[Path, Path]:
    lines = made.cert_path.read_text().splitlines()
    (folder / "broken.pem").write_text("\n".join([lines[0], "AAAA", lines[-1], ""]))
    return folder / "broken.pem", made.key_path


def locked(folder: Path, made: Made) -> tuple[Path, Path]:
    path = folder / "locked.key"
    path.write_bytes(
        made.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return made.cert_path, path


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (with_another_key, "is not the one of"),
        (without_a_key, "is no TLS certificate with its key"),
        (missing, "cannot read the TLS certificate"),
        (no_certificate, "is no TLS certificate with its key"),
        (broken, "cannot be used|is no TLS certificate"),
        (locked, "is locked with a passphrase"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bad_one_is_told_and_the_old_one_stays(
    tmp_path: Path, spoil: object, sentence: str
) -> None:
    made = make_certificate(tmp_path, "gw.example.com")
    source = CertificateSource()
    source.replace(made.cert_path, made.key_path)
    with pytest.raises(IdentityError, match=sentence):
        source.replace(*spoil(tmp_path, made))  # type: ignore[operator]
    assert source.pin == pin_of(made.certificate)


@pytest.mark.parametrize(
    ("begins", "ends", "warning"),
    [(-2 * DAY, -DAY, "has expired"), (DAY, 2 * DAY, "is not valid yet")],
)
def test_a_date_that_clients_will_mind_is_a_warning(
    tmp_path: Path, begins: object, ends: object, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = make_certificate(tmp_path, "gw", begins=begins, ends=ends)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        CertificateSource().replace(made.cert_path, made.key_path)
    assert warning in caplog.text


def test_one_of_our_own_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "tls.pem"
    assert keep_self_signed(path)
    kept = path.read_bytes()
    assert not keep_self_signed(path)
    assert path.read_bytes() == kept
    assert path.stat().st_mode & 0o777 == 0o600
    source = CertificateSource()
    source.replace(path)
    assert source.is_self_signed


def test_of_two_that_make_it_at_once_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tls.pem"

    def beaten(where: Path, _data: bytes) -> None:
        where.write_bytes(b"the other's")
        raise FileExistsError

    monkeypatch.setattr(certificates, "write_private", beaten)
    assert not keep_self_signed(path)
    assert path.read_bytes() == b"the other's"


def test_where_it_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="cannot write the TLS certificate") as caught:
        keep_self_signed(tmp_path / "file" / "tls.pem")
    assert "WRAITH_STATE_DIR" in (caught.value.hint or "")

"""AES-128 first, where that can be said, and nothing else changed where it cannot."""

from __future__ import annotations

import ctypes
import ssl
from types import SimpleNamespace
from typing import Any

import pytest

from wraith.transports import below_ssl, tls_ciphers
from wraith.transports.tls_ciphers import SUITES, prefer_aes_128


def names(context: ssl.SSLContext) -> list[str]:
    return [cipher["name"] for cipher in context.get_ciphers()]


def test_aes_128_comes_first_and_nothing_is_lost() -> None:
    context = ssl.create_default_context()
    before, options = names(context), context.options
    assert prefer_aes_128(context)
    assert names(context)[:3] == SUITES.split(":")
    assert set(names(context)) == set(before)
    assert context.options == options


def test_python_is_asked_where_it_has_a_word_for_it() -> None:
    asked: list[str] = []
    context: Any = SimpleNamespace(
        get_ciphers=ssl.create_default_context().get_ciphers, set_ciphersuites=asked.append
    )
    assert prefer_aes_128(context)
    assert asked == [SUITES]


def test_what_the_system_has_taken_out_stays_out() -> None:
    context: Any = SimpleNamespace(get_ciphers=lambda: [{"name": "TLS_AES_256_GCM_SHA384"}])
    assert not prefer_aes_128(context)


def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str | None) -> ctypes.CDLL:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)


def with_another_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    another = SimpleNamespace(implementation=SimpleNamespace(name="pypy"))
    monkeypatch.setattr(below_ssl, "sys", another)


def without_a_pointer(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = SimpleNamespace(from_address=lambda _place: SimpleNamespace(value=None))
    fake = SimpleNamespace(c_void_p=nothing)
    monkeypatch.setattr(
        tls_ciphers, "openssl", lambda: SimpleNamespace(SSL_CTX_set_ciphersuites=SimpleNamespace())
    )
    monkeypatch.setattr(below_ssl, "ctypes", fake)


def with_a_pointer_to_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf:
        SSL_CTX_set_ciphersuites = SimpleNamespace()

        def SSL_CTX_get_options(self, _pointer: int) -> int:  # noqa: N802
            return 0

    monkeypatch.setattr(tls_ciphers, "openssl", Deaf)


@pytest.mark.parametrize(
    "spoil",
    [
        without_the_library,
        with_another_interpreter,
        without_a_pointer,
        with_a_pointer_to_something_else,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_where_openssl_cannot_be_reached_the_order_stays(
    spoil: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context()
    if hasattr(context, "set_ciphersuites"):
        return  # Python has its own way, and nothing below it is asked
    before = names(context)
    with monkeypatch.context() as patch:
        spoil(patch)
        assert not prefer_aes_128(context)
    assert names(context) == before

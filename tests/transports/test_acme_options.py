"""What is asked of an authority, checked before anything is opened."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from wraith.errors import UsageError
from wraith.server.options import ServeOptions
from wraith.transports.acme_options import LETS_ENCRYPT, AcmeOptions
from wraith.values.address import HostPort


def options(**given: Any) -> ServeOptions:
    return ServeOptions(listen=["tls://127.0.0.1:0"], **given)


def test_what_is_given_and_what_is_not() -> None:
    assert AcmeOptions.of(options(acme_domain=["GW.example.com."])) == AcmeOptions(
        ("gw.example.com",), None, LETS_ENCRYPT, None, None
    )
    given = options(
        acme_domain=["bücher.example", "[2001:db8::1]", "192.0.2.1", "192.0.2.1"],
        acme_email="me@example.com",
        acme_directory="https://ca.test/dir",
        acme_ca="/keys/ca.pem",
        acme_http=":80",
    )
    assert AcmeOptions.of(given) == AcmeOptions(
        ("xn--bcher-kva.example", "2001:db8::1", "192.0.2.1"),
        "me@example.com",
        "https://ca.test/dir",
        Path("/keys/ca.pem"),
        HostPort("", 80),
    )
    assert AcmeOptions.of(options(tls_self_signed=True)) is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"acme_domain": ["*.example.com"]}, "a wildcard can only be validated by DNS"),
        ({"acme_domain": [""]}, "no host name or address"),
        ({"acme_domain": ["a b"]}, "no host name or address"),
        ({"acme_domain": ["gw:443"]}, "no host name or address"),
        ({"acme_domain": ["x" * 64]}, "no host name or address"),
        ({"acme_domain": ["a"], "acme_directory": "http://ca.test"}, "no https:// URL"),
        ({"acme_domain": ["a"], "acme_directory": "nonsense"}, "no https:// URL"),
        ({"acme_domain": ["a"], "acme_http": "nonsense"}, "cannot listen on"),
        ({"acme_domain": ["a"], "acme_http": "tls://:80"}, "expected ADDR:PORT"),
        ({"acme_domain": ["a"], "tls_self_signed": True}, "exclude each other"),
        ({"acme_domain": ["a"], "tls_cert": "x"}, "exclude each other"),
        ({"tls_self_signed": True, "acme_email": "a@b"}, "--acme-email needs the name"),
        ({"tls_self_signed": True, "acme_ca": "x"}, "--acme-ca needs the name"),
        ({"tls_self_signed": True, "acme_http": ":80"}, "--acme-http needs the name"),
        ({}, "--acme-domain NAME"),
    ],
)
def test_what_cannot_be_used(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        options(**given)
    assert problem in f"{caught.value} {caught.value.hint}"


def test_the_library_is_an_extra_that_the_error_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="need the extra acme") as caught:
        options(acme_domain=["gw.test"])
    assert caught.value.hint == "install it with: pip install 'wraith-tunnel[acme]'"

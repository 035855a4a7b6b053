"""What an authority says, in words; a real one answers in `interop/test_acme.py`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
import requests
from acme import errors, messages

from wraith.policy.renewal import NONCE_ATTEMPTS
from wraith.transports import acme_authority
from wraith.transports.acme_authority import Authority, OrderFailed

DIRECTORY = "https://127.0.0.1:1/dir"


def problem(code: str, detail: str, **more: Any) -> messages.Error:
    fields = {"typ": f"urn:ietf:params:acme:error:{code}", "detail": detail, **more}
    return messages.Error(**fields)


NAME = messages.Identifier(typ=messages.IDENTIFIER_FQDN, value="gw.test")
PARTS = problem(
    "malformed", "two of them", subproblems=(
        problem("caa", "not me", identifier=NAME), problem("dns", "no such"),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("error", "sentence", "code"),
    [
        (problem("rateLimited", "too many\ncertificates"), "too many certificates", "rateLimited"),
        (PARTS, "two of them; gw.test: not me; no such", "malformed"),
        (errors.IssuanceError(problem("caa", "not me")), "not me", "caa"),
        (errors.ValidationError([]), "a name could not be validated", ""),
        (errors.TimeoutError(), "the authority took too long", ""),
        (errors.ClientError("<html>"), "the authority does not speak ACME: <html>", ""),
        (KeyError("newOrder"), "the authority does not speak ACME: 'newOrder'", ""),
        (requests.exceptions.SSLError("x"), "the authority's own certificate is not trusted", ""),
        (requests.exceptions.ConnectTimeout("x"), "cannot reach the authority: ConnectTimeout", ""),
        (OSError(28, "No space left"), "cannot keep the account: no space left", ""),
    ],
)
def test_every_failure_is_one_sentence(error: Exception, sentence: str, code: str) -> None:
    with pytest.raises(OrderFailed) as caught, acme_authority._translated():
        raise error
    assert caught.value.message.startswith(sentence)
    assert caught.value.problem == code


def test_a_validation_that_failed_is_told_with_the_name() -> None:
    challenge = messages.ChallengeBody(
        chall=None, uri="", status=messages.STATUS_INVALID, error=problem("dns", "no such name")
    )
    failed = messages.AuthorizationResource(
        uri="", body=messages.Authorization(identifier=NAME, challenges=(challenge,))
    )
    with pytest.raises(OrderFailed) as caught, acme_authority._translated():
        raise errors.ValidationError([failed])
    assert (caught.value.message, caught.value.problem) == ("gw.test: no such name", "dns")


def test_an_authority_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OrderFailed, match="cannot reach the authority"):
        Authority(DIRECTORY, tmp_path)
    key = tmp_path / "account_key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    with pytest.raises(OrderFailed):
        Authority(DIRECTORY, tmp_path)
    assert key.read_bytes() == before, "the account's key stays"


def test_a_key_that_is_none_is_no_account(tmp_path: Path) -> None:
    (tmp_path / "account_key.pem").write_text("nonsense")
    with pytest.raises(OrderFailed):
        Authority(DIRECTORY, tmp_path)


@pytest.mark.parametrize("refusals", [0, 1, NONCE_ATTEMPTS - 1, NONCE_ATTEMPTS])
def test_another_nonce_is_tried_a_few_times(refusals: int) -> None:
    network, asked = acme_authority._Network(), []

    def once(*_: Any, **__: Any) -> str:
        asked.append(1)
        if len(asked) <= refusals:
            raise problem("badNonce", "again")
        return "done"

    network._post_once = once  # type: ignore[assignment]
    if refusals < NONCE_ATTEMPTS:
        assert network.post("url", None) == "done"  # type: ignore[comparison-overlap]
    else:
        with pytest.raises(messages.Error):
            network.post("url", None)
    assert len(asked) == min(refusals + 1, NONCE_ATTEMPTS)


def test_names_and_addresses_are_told_apart() -> None:
    names, addresses = acme_authority._split(["gw.test", "192.0.2.1", "2001:db8::1"])
    assert names == ["gw.test"]
    assert addresses == [ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1")]

"""One account at one ACME authority (RFC 8555); the only module that knows the library for it.

Everything here blocks and belongs in a thread. What the authority says no to, and what cannot be
reached or understood, is an `OrderFailed`, with the authority's own words.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import josepy.errors
import requests
from acme import challenges, client, crypto_util, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC
from josepy.util import ComparableECKey

from wraith._version import __version__
from wraith.policy.renewal import with_another_nonce
from wraith.state.files import replace_private

HTTP_TIMEOUT = 30
"""Seconds for one request to the authority."""

ISSUE_TIMEOUT = datetime.timedelta(seconds=90)
"""For the authority to issue what it has agreed to issue."""

SHORT_LIVED = "shortlived"
"""The profile under which authorities issue for addresses, as Let's Encrypt calls it."""

HTTP_01 = "http-01"
TLS_ALPN_01 = "tls-alpn-01"


# The library dropped TLS-ALPN-01 (RFC 8737); its own registry takes it back.
@challenges.ChallengeResponse.register
class _TlsAlpn01Response(challenges.KeyAuthorizationChallengeResponse):
    typ = TLS_ALPN_01


@challenges.Challenge.register
class _TlsAlpn01(challenges.KeyAuthorizationChallenge):
    response_cls = _TlsAlpn01Response
    typ = response_cls.typ

    def validation(self, account_key: JWK, **_: Any) -> str:
        return str(self.key_authorization(account_key))


class OrderFailed(Exception):
    """No certificate this time; `problem` is the type that RFC 8555 has for it, or ""."""

    def __init__(self, message: str, problem: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the authority will look for, and for whom; its texts are secrets until it has."""

    identifier: str
    token: str = field(repr=False)
    key_authorization: str = field(repr=False)
    body: messages.ChallengeBody = field(repr=False)


class Authority:
    """An account, made on first use and kept in a folder of its own. Constructing it blocks too."""

    def __init__(self, directory: str, folder: Path, ca: Path | None = None) -> None:
        self._folder = folder
        with _translated():
            self._key = _account_key(folder / "account_key.pem")
        self._network = _Network(
            self._key,
            alg=ES256,
            verify_ssl=str(ca) if ca is not None else True,  # type: ignore[arg-type]
            user_agent=f"wraith/{__version__}",
            timeout=HTTP_TIMEOUT,
        )
        with _translated():
            found = client.ClientV2.get_directory(directory, self._network)
            self._client = client.ClientV2(found, self._network)

    def log_in(self, email: str | None) -> None:
        """Use the account that there is, or make one; that agrees to the authority's terms."""
        path = self._folder / "account.json"
        with _translated():
            if not self._is_known(path):
                replace_private(path, json.dumps(self._register(email).to_json()).encode())

    def _is_known(self, path: Path) -> bool:
        try:
            kept = messages.RegistrationResource.from_json(json.loads(path.read_bytes()))
            self._network.account = self._client.query_registration(kept)
        except (FileNotFoundError, ValueError, messages.Error):
            self._network.account = None
            return False
        return True

    def _register(self, email: str | None) -> messages.RegistrationResource:
        wanted = messages.NewRegistration.from_data(email=email, terms_of_service_agreed=True)
        try:
            return self._client.new_account(wanted)
        except errors.ConflictError as known:  # the key has an account already
            there = messages.RegistrationResource(uri=known.location, body=messages.Registration())
            self._network.account = found = self._client.query_registration(there)
            return found

    def order(self, names: Sequence[str]) -> Order:
        """Begin an order for these names and addresses, with a fresh key."""
        with _translated():
            return Order(self._client, self._key, names)

    def suggested_renewal(self, chain: bytes) -> float | None:
        """When the authority wants a certificate to be renewed (RFC 9773); None if it says nothing.

        In seconds since the epoch, somewhere in the window that it suggests.
        """
        with _translated():
            moment, _ = self._client.renewal_time(chain)
        return moment.timestamp() if moment is not None else None


class Order:
    """One order, from its challenges to the certificate."""

    def __init__(self, client_: client.ClientV2, account: JWK, names: Sequence[str]) -> None:
        self._client, self._account = client_, account
        self._key = _pem(ec.generate_private_key(ec.SECP256R1()))
        dns, addresses = _split(names)
        csr = crypto_util.make_csr(self._key, dns or None, ipaddrs=addresses or None)
        profiles = client_.directory.meta.profiles or {}
        profile = SHORT_LIVED if addresses and SHORT_LIVED in profiles else None
        self._order = client_.new_order(csr, profile=profile)

    def challenges(self, kind: str) -> list[Challenge]:
        """What has to be shown before `answer`, by `HTTP_01` or `TLS_ALPN_01`."""
        pending = [
            authorization
            for authorization in self._order.authorizations
            if authorization.body.status != messages.STATUS_VALID  # else it trusts us still
        ]
        return [self._challenge(authorization, kind) for authorization in pending]

    def _challenge(self, authorization: messages.AuthorizationResource, kind: str) -> Challenge:
        offered = authorization.body.challenges
        name = authorization.body.identifier.value
        body = next((body for body in offered if body.chall.typ == kind), None)
        if body is None:
            kinds = ", ".join(sorted(body.chall.typ for body in offered))
            raise OrderFailed(f"the authority validates {name} by {kinds} only, not by {kind}")
        return Challenge(
            name,
            body.chall.encode("token"),
            body.chall.key_authorization(self._account),
            body,
        )

    def answer(self, challenge: Challenge) -> None:
        """Ask the authority to look now."""
        with _translated():
            response = challenge.body.chall.response(self._account)
            self._client.answer_challenge(challenge.body, response)

    def finish(self) -> bytes:
        """Wait until the authority has looked and issued: the key and the chain, in PEM."""
        with _translated():
            deadline = datetime.datetime.now() + ISSUE_TIMEOUT
            done = self._client.poll_and_finalize(self._order, deadline)
        return self._key + str(done.fullchain_pem).encode()


class _Network(client.ClientNetwork):
    """The library tries one more nonce; a busy authority may refuse several in a row."""

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        attempts = 0
        while True:
            attempts += 1
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if not with_another_nonce(error.code or "", attempts):
                    raise


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except messages.Error as error:
        raise OrderFailed(_words(error), error.code or "") from error
    except errors.ValidationError as error:
        refusals = [refusal for one in error.failed_authzrs for refusal in _refusals(one)]
        said = "; ".join(f"{name}: {_words(refusal)}" for name, refusal in refusals)
        problem = refusals[0][1].code if refusals else ""
        raise OrderFailed(said or "a name could not be validated", problem or "") from error
    except errors.IssuanceError as error:
        raise OrderFailed(_words(error.error), error.error.code or "") from error
    except errors.TimeoutError as error:
        raise OrderFailed("the authority took too long") from error
    except errors.ARIError as error:
        raise OrderFailed("the authority has nothing to say about renewal") from error
    except requests.exceptions.SSLError as error:
        raise OrderFailed(
            "the authority's own certificate is not trusted; --acme-ca names who vouches for it"
        ) from error
    except requests.exceptions.RequestException as error:
        raise OrderFailed(f"cannot reach the authority: {type(error).__name__}") from error
    except (errors.Error, josepy.errors.Error, ValueError, KeyError) as error:
        raise OrderFailed(f"the authority does not speak ACME: {error}") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OrderFailed(f"cannot keep the account: {reason}") from error


def _refusals(one: messages.AuthorizationResource) -> Iterator[tuple[str, messages.Error]]:
    for body in one.body.challenges:
        if body.error is not None:
            yield one.body.identifier.value, body.error


def _words(error: messages.Error) -> str:
    """The authority's own words, with what it says of each name."""
    parts = [error.detail or error.title or error.typ or "no reason given"]
    parts += [
        f"{one.identifier.value}: {one.detail}" if one.identifier else str(one.detail)
        for one in error.subproblems or ()
    ]
    return " ".join("; ".join(parts).split())


def _account_key(path: Path) -> JWK:
    if not path.exists():
        replace_private(path, _pem(ec.generate_private_key(ec.SECP256R1())))
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} holds another kind of key than the one that was made")
    return JWKEC(key=ComparableECKey(key))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _split(
    names: Sequence[str],
) -> tuple[list[str], list[ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    dns, addresses = [], []
    for name in names:
        try:
            addresses.append(ipaddress.ip_address(name))
        except ValueError:
            dns.append(name)
    return dns, addresses

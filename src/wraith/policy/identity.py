"""Who may come in: what sshd(8) asks of a public key and of a certificate, in its order.

`decide_key` and `decide_certificate` return a `Grant` or say in one stable word why not. That the
peer holds the private key, and that a certificate's signature is good, is for the caller to check.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from wraith.policy.authorized_keys import AuthorizedKey, AuthorizedKeys
from wraith.policy.forwarding import NO_FORWARDING, Forwarding
from wraith.policy.key_options import KeyOptions
from wraith.policy.keys import CertificateFacts, PublicKey
from wraith.policy.openssh_patterns import match_address_list, match_cidr_list
from wraith.policy.revoked_keys import RevokedKeys

#: The critical options that OpenSSH knows. No command is ever run here, so forcing one is moot.
KNOWN_CRITICAL_OPTIONS = frozenset({"force-command", "source-address", "verify-required"})

# What holds for an authority that no line limits: whether to touch is for its certificates to say.
_TRUSTED = KeyOptions(touch_required=False)


class DenialReason(StrEnum):
    """Why a key or a certificate may not come in; the words are stable, audit logs show them."""

    UNKNOWN_KEY = "unknown-key"
    EXPIRED_KEY = "expired-key"
    FROM_MISMATCH = "from-mismatch"
    REVOKED = "revoked"
    UNKNOWN_CA = "unknown-ca"
    EXPIRED_CERTIFICATE = "expired-certificate"
    NOT_YET_VALID = "not-yet-valid"
    WRONG_PRINCIPAL = "wrong-principal"
    SOURCE_ADDRESS = "source-address"
    UNKNOWN_CRITICAL_OPTION = "unknown-critical-option"
    NOT_A_USER_CERTIFICATE = "not-a-user-certificate"


@dataclass(frozen=True, slots=True)
class Grant:
    """Who came in, and with what limits.

    `fingerprint` is that of the key, certified or not, and `ca_fingerprint` that of the authority.
    `principals` are those that the certificate proves; a plain key proves none. `touch_required`
    and `verify_required` are what a security key's signature must attest.
    """

    fingerprint: str
    principals: tuple[str, ...]
    ca_fingerprint: str | None
    forwarding: Forwarding
    touch_required: bool = True
    verify_required: bool = False


@dataclass(frozen=True, slots=True)
class Denied:
    """Why not."""

    reason: DenialReason


@dataclass(frozen=True, slots=True)
class Identities:
    """Everybody whom a server lets in.

    `certificate_authorities` are trusted for every user name, like those of TrustedUserCAKeys
    (sshd_config(5)); `authorized` may name others, with options of their own.
    """

    authorized: AuthorizedKeys = AuthorizedKeys()
    certificate_authorities: tuple[PublicKey, ...] = ()
    revoked: RevokedKeys | None = None

    def decide_key(self, key: PublicKey, *, user: str, address: str, now: float) -> Grant | Denied:
        """Say whether a plain key may come in from the IP address `address` at unix time `now`.

        "" is a peer without an address, which a limit to some addresses never permits.

        The first line with this key that permits it counts. `user` decides nothing here: lines of
        authorized_keys name keys, and the file is every user's. Raises `ValueError` for an
        `address` that is none.
        """
        if self.revoked and self.revoked.revokes_key(key):
            return Denied(DenialReason.REVOKED)
        return _first_grant(
            (
                _refused_by_options(entry.options, address, now) or _key_grant(entry)
                for entry in self.authorized.entries
                if entry.key == key and not entry.options.cert_authority
            ),
            DenialReason.UNKNOWN_KEY,
        )

    def decide_certificate(
        self, facts: CertificateFacts, *, user: str, address: str, now: float
    ) -> Grant | Denied:
        """Say whether a certificate may come in as `user` from `address` at unix time `now`.

        An authority of `certificate_authorities` is asked first, then each `cert-authority` line.
        The certificate must list `user`, or with `principals=` on the line one of those. One that
        lists nobody is good for nobody (OpenSSH since 10.3; before, a `cert-authority` line took
        it for everybody). Raises `ValueError` for an `address` that is none.
        """
        if self.revoked and self.revoked.revokes_certificate(facts):
            return Denied(DenialReason.REVOKED)
        options = [_TRUSTED] if facts.signing_key in self.certificate_authorities else []
        options += [
            entry.options
            for entry in self.authorized.entries
            if entry.key == facts.signing_key and entry.options.cert_authority
        ]
        refusal = _refused_by_certificate(facts, address, now)
        return _first_grant(
            (
                _refused_by_options(option, address, now)
                or refusal
                or _certificate_grant(facts, option, user)
                for option in options
            ),
            DenialReason.UNKNOWN_CA,
        )


def _first_grant(decisions: Iterable[Grant | Denied], otherwise: DenialReason) -> Grant | Denied:
    """Return the first grant, else the first reason that was given, else `otherwise`."""
    denied = None
    for decision in decisions:
        if isinstance(decision, Grant):
            return decision
        denied = denied or decision
    return denied or Denied(otherwise)


def _refused_by_options(options: KeyOptions, address: str, now: float) -> Denied | None:
    if options.expires is not None and options.expires < now:
        return Denied(DenialReason.EXPIRED_KEY)
    wanted = options.from_addresses
    if wanted is not None and not (address and match_address_list(address, wanted)):
        return Denied(DenialReason.FROM_MISMATCH)
    return None


def _key_grant(entry: AuthorizedKey) -> Grant:
    return Grant(
        fingerprint=entry.key.fingerprint,
        principals=(),
        ca_fingerprint=None,
        forwarding=entry.options.forwarding,
        touch_required=entry.options.touch_required,
        verify_required=entry.options.verify_required,
    )


def _refused_by_certificate(facts: CertificateFacts, address: str, now: float) -> Denied | None:
    if facts.kind != "user":
        return Denied(DenialReason.NOT_A_USER_CERTIFICATE)
    if not facts.critical_options.keys() <= KNOWN_CRITICAL_OPTIONS:
        return Denied(DenialReason.UNKNOWN_CRITICAL_OPTION)
    if now < facts.valid_after:
        return Denied(DenialReason.NOT_YET_VALID)
    if now >= facts.valid_before:
        return Denied(DenialReason.EXPIRED_CERTIFICATE)
    if not _is_from_source_address(facts, address):
        return Denied(DenialReason.SOURCE_ADDRESS)
    return None


def _is_from_source_address(facts: CertificateFacts, address: str) -> bool:
    networks = facts.critical_options.get("source-address")
    if networks is None:
        return True
    try:
        return bool(address) and match_cidr_list(address, str(networks))
    except ValueError:
        return False  # a limit that cannot be read permits nothing


def _certificate_grant(facts: CertificateFacts, options: KeyOptions, user: str) -> Grant | Denied:
    """Apply the principals, then the stricter of what the line and the certificate say."""
    wanted = (user,) if options.principals is None else options.principals
    proven = tuple(principal for principal in facts.principals if principal in wanted)
    if not proven:
        return Denied(DenialReason.WRONG_PRINCIPAL)
    forwards = "permit-port-forwarding" in facts.extensions
    return Grant(
        fingerprint=facts.key.fingerprint,
        # An authority that may speak for some principals only proves no others.
        principals=facts.principals if options.principals is None else proven,
        ca_fingerprint=facts.signing_key.fingerprint,
        forwarding=options.forwarding if forwards else NO_FORWARDING,
        touch_required=options.touch_required or "no-touch-required" not in facts.extensions,
        verify_required=options.verify_required or "verify-required" in facts.critical_options,
    )

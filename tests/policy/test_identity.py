"""Who may come in: stories of keys and certificates, and the words for each refusal."""

from __future__ import annotations

from datetime import UTC

import pytest

from tests.policy.openssh_material import (
    ALICE,
    BOB,
    CA,
    FOREVER_CERTIFICATE,
    HOST_CERTIFICATE,
    LIMITED_CERTIFICATE,
    NOBODY_CERTIFICATE,
    OTHER_CA,
    OTHER_CERTIFICATE,
    RSA_CERTIFICATE,
    STRANGE_CERTIFICATE,
    USER_CERTIFICATE,
)
from tests.policy.wire_builders import facts, facts_of, key_of
from wraith.policy.authorized_keys import AuthorizedKeys
from wraith.policy.forwarding import NO_FORWARDING, Forwarding, PermitOpen
from wraith.policy.identity import Denied, Grant, Identities
from wraith.policy.keys import CertificateFacts
from wraith.policy.revoked_keys import RevokedKeys
from wraith.values.address import TcpDestination

JANUARY_2020 = 1577836800
JULY_2020 = 1593561600
JANUARY_2021 = 1609459200


def lines(*texts: str) -> AuthorizedKeys:
    parsed = AuthorizedKeys.parse("\n".join(texts), source="test", timezone=UTC)
    assert not parsed.problems
    return parsed


def trusting(*authorities: str, revoked: RevokedKeys | None = None) -> Identities:
    return Identities(
        certificate_authorities=tuple(map(key_of, authorities)),
        revoked=revoked,
    )


def key_decision(
    identities: Identities, line: str, *, address: str = "192.0.2.7", now: float = JULY_2020
) -> Grant | Denied:
    return identities.decide_key(key_of(line), user="alice", address=address, now=now)


def certificate_decision(
    identities: Identities,
    certificate: str | CertificateFacts,
    *,
    user: str = "alice",
    address: str = "192.0.2.7",
    now: float = JULY_2020,
) -> Grant | Denied:
    given = facts_of(certificate) if isinstance(certificate, str) else certificate
    return identities.decide_certificate(given, user=user, address=address, now=now)


def granted(decision: Grant | Denied) -> Grant:
    assert isinstance(decision, Grant), decision
    return decision


def reason(decision: Grant | Denied) -> str:
    assert isinstance(decision, Denied), decision
    return decision.reason


class TestKeys:
    def test_a_key_on_the_list_comes_in(self) -> None:
        grant = granted(key_decision(Identities(lines(BOB, ALICE)), ALICE))
        assert grant == Grant(key_of(ALICE).fingerprint, (), None, Forwarding())

    def test_a_key_that_is_not_does_not(self) -> None:
        assert reason(key_decision(Identities(lines(BOB)), ALICE)) == "unknown-key"
        assert reason(key_decision(Identities(), ALICE)) == "unknown-key"

    def test_the_key_of_an_authority_is_not_a_users(self) -> None:
        assert reason(key_decision(Identities(lines(f"cert-authority {CA}")), CA)) == "unknown-key"
        assert reason(key_decision(trusting(CA), CA)) == "unknown-key"

    def test_its_options_come_with_it(self) -> None:
        line = f'verify-required,no-touch-required,permitopen="db:1" {ALICE}'
        grant = granted(key_decision(Identities(lines(line)), ALICE))
        assert grant.forwarding.permit_open == (PermitOpen("db", 1),)
        assert grant.verify_required
        assert not grant.touch_required

    def test_it_expires_after_the_second_that_the_line_names(self) -> None:
        identities = Identities(lines(f'expiry-time="20200701Z" {ALICE}'))
        granted(key_decision(identities, ALICE, now=JULY_2020))
        assert reason(key_decision(identities, ALICE, now=JULY_2020 + 1)) == "expired-key"

    def test_it_may_be_good_from_some_addresses_only(self) -> None:
        identities = Identities(lines(f'from="192.0.2.0/24,!192.0.2.66" {ALICE}'))
        granted(key_decision(identities, ALICE, address="192.0.2.7"))
        granted(key_decision(identities, ALICE, address="::ffff:192.0.2.7"))
        for address in ("192.0.2.66", "198.51.100.1", "2001:db8::1"):
            assert reason(key_decision(identities, ALICE, address=address)) == "from-mismatch"

    def test_a_peer_without_an_address_is_from_nowhere(self) -> None:
        for limit in ("192.0.2.0/24", "*", "!192.0.2.66,*"):
            identities = Identities(lines(f'from="{limit}" {ALICE}'))
            assert reason(key_decision(identities, ALICE, address="")) == "from-mismatch"
        granted(key_decision(Identities(lines(ALICE)), ALICE, address=""))

    def test_the_first_line_that_permits_it_counts(self) -> None:
        identities = Identities(
            lines(f'from="198.51.100.1" {ALICE}', f"restrict {ALICE}", ALICE),
        )
        assert granted(key_decision(identities, ALICE)).forwarding.restricted

    def test_the_first_reason_is_the_one_given(self) -> None:
        identities = Identities(
            lines(f'from="198.51.100.1" {ALICE}', f'expiry-time="20190101Z" {ALICE}'),
        )
        assert reason(key_decision(identities, ALICE)) == "from-mismatch"

    def test_a_revoked_key_stays_out(self) -> None:
        revoked = RevokedKeys.parse(ALICE.encode())
        identities = Identities(lines(ALICE, BOB), revoked=revoked)
        assert reason(key_decision(identities, ALICE)) == "revoked"
        granted(key_decision(identities, BOB))


class TestTrustedAuthorities:
    def test_a_certificate_of_one_comes_in(self) -> None:
        grant = granted(certificate_decision(trusting(OTHER_CA, CA), USER_CERTIFICATE))
        assert grant == Grant(
            fingerprint=key_of(ALICE).fingerprint,
            principals=("alice", "deploy"),
            ca_fingerprint=key_of(CA).fingerprint,
            forwarding=Forwarding(),
        )

    def test_one_of_somebody_else_does_not(self) -> None:
        assert reason(certificate_decision(trusting(CA), OTHER_CERTIFICATE)) == "unknown-ca"
        assert reason(certificate_decision(Identities(lines(CA)), USER_CERTIFICATE)) == "unknown-ca"

    def test_the_user_must_be_a_principal(self) -> None:
        identities = trusting(CA)
        granted(certificate_decision(identities, USER_CERTIFICATE, user="deploy"))
        for user in ("root", "Alice", "ali", "*"):
            refused = certificate_decision(identities, USER_CERTIFICATE, user=user)
            assert reason(refused) == "wrong-principal"

    def test_principals_have_no_wildcards(self) -> None:
        refused = certificate_decision(trusting(CA), facts(principals=("*",)))
        assert reason(refused) == "wrong-principal"

    def test_a_certificate_for_nobody_is_for_nobody(self) -> None:
        assert reason(certificate_decision(trusting(CA), NOBODY_CERTIFICATE)) == "wrong-principal"

    @pytest.mark.parametrize(
        ("now", "outcome"),
        [
            (JANUARY_2020 - 0.5, "not-yet-valid"),
            (JANUARY_2020, None),
            (JANUARY_2021 - 0.5, None),
            (JANUARY_2021, "expired-certificate"),
        ],
    )
    def test_it_has_its_time(self, now: float, outcome: str | None) -> None:
        decision = certificate_decision(trusting(CA), USER_CERTIFICATE, now=now)
        assert (decision.reason if isinstance(decision, Denied) else None) == outcome

    def test_one_without_an_end_is_good_for_ever(self) -> None:
        granted(certificate_decision(trusting(CA), FOREVER_CERTIFICATE, now=2.0**63))

    def test_it_must_be_for_users(self) -> None:
        refused = certificate_decision(trusting(CA), HOST_CERTIFICATE)
        assert reason(refused) == "not-a-user-certificate"

    def test_it_is_good_from_its_addresses_only(self) -> None:
        identities = trusting(CA)
        granted(certificate_decision(identities, LIMITED_CERTIFICATE, address="192.0.2.7"))
        granted(certificate_decision(identities, LIMITED_CERTIFICATE, address="2001:db8::7"))
        for address in ("198.51.100.1", ""):
            refused = certificate_decision(identities, LIMITED_CERTIFICATE, address=address)
            assert reason(refused) == "source-address"

    @pytest.mark.parametrize("networks", ["", "192.0.2.*", "!198.51.100.1", "192.0.2.7/24"])
    def test_addresses_that_cannot_be_read_permit_nothing(self, networks: str) -> None:
        limited = facts(critical={"source-address": networks})
        assert reason(certificate_decision(trusting(CA), limited)) == "source-address"

    def test_an_unknown_critical_option_refuses(self) -> None:
        refused = certificate_decision(trusting(CA), STRANGE_CERTIFICATE)
        assert reason(refused) == "unknown-critical-option"

    def test_without_its_extension_nothing_is_forwarded(self) -> None:
        grant = granted(certificate_decision(trusting(CA), LIMITED_CERTIFICATE))
        assert grant.forwarding == NO_FORWARDING

    def test_security_keys_do_what_the_certificate_says(self) -> None:
        limited = granted(certificate_decision(trusting(CA), LIMITED_CERTIFICATE))
        assert (limited.touch_required, limited.verify_required) == (False, True)
        plain = granted(certificate_decision(trusting(CA), USER_CERTIFICATE))
        assert (plain.touch_required, plain.verify_required) == (True, False)

    @pytest.mark.parametrize("line", [ALICE, CA, USER_CERTIFICATE])
    def test_what_is_revoked_stays_out(self, line: str) -> None:
        identities = trusting(CA, revoked=RevokedKeys.parse(line.encode()))
        assert reason(certificate_decision(identities, USER_CERTIFICATE)) == "revoked"

    def test_others_are_not_revoked(self) -> None:
        identities = trusting(CA, revoked=RevokedKeys.parse(ALICE.encode()))
        granted(certificate_decision(identities, RSA_CERTIFICATE))


class TestAuthoritiesOnALine:
    def test_the_user_must_be_a_principal(self) -> None:
        identities = Identities(lines(f"cert-authority {CA}"))
        grant = granted(certificate_decision(identities, USER_CERTIFICATE))
        assert grant.principals == ("alice", "deploy")
        refused = certificate_decision(identities, USER_CERTIFICATE, user="root")
        assert reason(refused) == "wrong-principal"

    def test_principals_of_the_line_take_the_place_of_the_user(self) -> None:
        identities = Identities(lines(f'cert-authority,principals="ops,deploy" {CA}'))
        grant = granted(certificate_decision(identities, USER_CERTIFICATE, user="root"))
        assert grant.principals == ("deploy",)  # all that this line lets the authority prove
        refused = certificate_decision(identities, FOREVER_CERTIFICATE)
        assert reason(refused) == "wrong-principal"

    def test_a_certificate_for_nobody_is_for_nobody(self) -> None:
        for options in ("cert-authority", 'cert-authority,principals="alice"'):
            identities = Identities(lines(f"{options} {CA}"))
            refused = certificate_decision(identities, NOBODY_CERTIFICATE)
            assert reason(refused) == "wrong-principal"

    def test_the_lines_options_hold_as_well(self) -> None:
        line = (
            'cert-authority,permitopen="db:1",verify-required,'
            f'from="192.0.2.0/24",expiry-time="20200801Z" {CA}'
        )
        identities = Identities(lines(line))

        grant = granted(certificate_decision(identities, USER_CERTIFICATE))
        assert grant.forwarding.may_open(TcpDestination("db", 1))
        assert not grant.forwarding.may_open(TcpDestination("db", 2))
        assert grant.verify_required

        elsewhere = certificate_decision(identities, USER_CERTIFICATE, address="198.51.100.1")
        assert reason(elsewhere) == "from-mismatch"
        later = certificate_decision(identities, USER_CERTIFICATE, now=JANUARY_2021 - 1)
        assert reason(later) == "expired-key"

    def test_touching_is_waived_only_by_both(self) -> None:
        strict = Identities(lines(f"cert-authority {CA}"))
        lenient = Identities(lines(f"cert-authority,no-touch-required {CA}"))
        assert granted(certificate_decision(strict, LIMITED_CERTIFICATE)).touch_required
        assert granted(certificate_decision(lenient, USER_CERTIFICATE)).touch_required
        assert not granted(certificate_decision(lenient, LIMITED_CERTIFICATE)).touch_required

    def test_no_option_gives_back_what_the_certificate_withholds(self) -> None:
        line = f'cert-authority,port-forwarding,permitopen="wraith-control:*" {CA}'
        grant = granted(certificate_decision(Identities(lines(line)), LIMITED_CERTIFICATE))
        assert grant.forwarding == NO_FORWARDING

    def test_a_later_line_may_permit_it(self) -> None:
        identities = Identities(
            lines(f'cert-authority,principals="ops" {CA}', f"cert-authority,restrict {CA}"),
        )
        assert not granted(certificate_decision(identities, USER_CERTIFICATE)).forwarding.allowed

    def test_a_trusted_authority_is_asked_first(self) -> None:
        identities = Identities(lines(f"cert-authority,restrict {CA}"), (key_of(CA),))
        assert granted(certificate_decision(identities, USER_CERTIFICATE)).forwarding.allowed

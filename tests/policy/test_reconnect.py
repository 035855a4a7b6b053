"""Try again or give up: the waits, and the errors that end it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from wraith.errors import (
    AuthenticationError,
    CertificateError,
    ForwardError,
    HostKeyChanged,
    HostKeyError,
    HostKeyMismatch,
    HostKeyUnknown,
    IdentityError,
    ListenError,
    ProtocolError,
    ProxyAuthenticationError,
    ProxyError,
    Refusal,
    SessionError,
    SessionLost,
    TlsError,
    TransportError,
    UsageError,
    WraithError,
)
from wraith.policy.reconnect import Reconnect, delays


def middle() -> float:
    return 0.5


def waits(reconnect: Reconnect, count: int) -> list[float | None]:
    error = TransportError("the network is unreachable")
    return [reconnect.next_delay(error, first=False) for _ in range(count)]


class TestDelays:
    def test_they_double_up_to_half_a_minute(self) -> None:
        assert list(islice(delays(middle), 8)) == [1, 2, 4, 8, 16, 30, 30, 30]

    def test_chance_moves_each_by_a_fifth(self) -> None:
        assert list(islice(delays(lambda: 0.0), 7)) == pytest.approx(
            [0.8, 1.6, 3.2, 6.4, 12.8, 24, 24]
        )

    def test_and_never_above_half_a_minute(self) -> None:
        highest = list(islice(delays(lambda: 0.999999), 7))
        assert highest == pytest.approx([1.2, 2.4, 4.8, 9.6, 19.2, 30, 30], abs=1e-4)

    def test_each_has_a_roll_of_its_own(self) -> None:
        rolls: Iterator[float] = iter([0.5, 0.0])
        assert list(islice(delays(lambda: next(rolls)), 2)) == pytest.approx([1, 1.6])


class TestTheFirstAttempt:
    @pytest.mark.parametrize(
        "error",
        [
            AuthenticationError,
            CertificateError,
            HostKeyError,
            HostKeyChanged,
            HostKeyMismatch,
            HostKeyUnknown,
            IdentityError,
            UsageError,
            ListenError,
            TlsError,
            ProtocolError,
            SessionError,
            ForwardError,
            WraithError,
        ],
    )
    def test_ends_by_whatever_the_user_has_to_mend(self, error: type[WraithError]) -> None:
        assert Reconnect(middle).next_delay(error("no"), first=True) is None

    def test_is_repeated_for_ever_when_the_network_fails(self) -> None:
        reconnect = Reconnect(middle)
        found = [reconnect.next_delay(TransportError("no"), first=True) for _ in range(7)]
        assert found == [1, 2, 4, 8, 16, 30, 30]
        assert Reconnect(middle).next_delay(SessionLost("no"), first=True) == 1


class TestLater:
    @pytest.mark.parametrize(
        "error", [HostKeyError, HostKeyChanged, HostKeyMismatch, HostKeyUnknown, UsageError]
    )
    def test_another_host_key_is_fatal(self, error: type[WraithError]) -> None:
        assert Reconnect(middle).next_delay(error("no"), first=False) is None

    @pytest.mark.parametrize("error", [AuthenticationError, CertificateError, IdentityError])
    def test_a_refused_login_waits_longest(self, error: type[WraithError]) -> None:
        reconnect = Reconnect(middle)
        assert reconnect.next_delay(error("no"), first=False) == 30
        assert waits(reconnect, 2) == [1, 2]  # and leaves the others their turn

    def test_a_proxy_that_does_not_take_us_is_like_a_server_that_does_not(self) -> None:
        refused = ProxyAuthenticationError("no", Refusal.FAILED)
        assert Reconnect(middle).next_delay(refused, first=True) is None
        assert Reconnect(middle).next_delay(refused, first=False) == 30

    @pytest.mark.parametrize("first", [True, False])
    def test_a_proxy_that_is_down_may_come_back(self, first: bool) -> None:
        down = ProxyError("no", Refusal.NETWORK_UNREACHABLE)
        assert Reconnect(middle).next_delay(down, first=first) == 1

    @pytest.mark.parametrize(
        "error", [TransportError, TlsError, SessionLost, ProtocolError, SessionError]
    )
    def test_everything_else_is_tried_again(self, error: type[WraithError]) -> None:
        assert Reconnect(middle).next_delay(error("no"), first=False) == 1


def test_a_good_session_starts_the_delays_again() -> None:
    reconnect = Reconnect(middle)
    assert waits(reconnect, 4) == [1, 2, 4, 8]
    reconnect.session_ended(lived=59.9)
    assert waits(reconnect, 1) == [16]
    reconnect.session_ended(lived=60.0)
    assert waits(reconnect, 3) == [1, 2, 4]

"""Whose word is taken."""

from __future__ import annotations

import pytest

from wraith.errors import UsageError
from wraith.policy.trusted_proxies import NOBODY, TrustedProxies


def test_networks_and_addresses_are_trusted_and_nobody_else() -> None:
    trusted = TrustedProxies.parse(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])
    for address in ("10.1.2.3", "192.0.2.7", "2001:db8::9", "::ffff:10.1.2.3"):
        assert trusted.include(address)
    for address in ("11.0.0.1", "192.0.2.8", "2001:db9::", "::1", ""):
        assert not trusted.include(address)
    assert not NOBODY.include("10.1.2.3")


@pytest.mark.parametrize("text", ["", "balancer", "10.0.0.1/8", "10.0.0.0/40"])
def test_what_is_no_network_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="it is no network"):
        TrustedProxies.parse([text])

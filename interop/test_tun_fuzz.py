"""A million packets and a million queries at random: nothing raises, and nothing grows."""

from __future__ import annotations

import pytest

from tests.tun.test_dns import fuzz_dns
from tests.tun.test_packets import fuzz_packets

pytestmark = pytest.mark.timeout(600)


def test_a_million_packets() -> None:
    assert fuzz_packets(1_000_000, seed=4) > 150_000


def test_a_million_queries() -> None:
    assert fuzz_dns(1_000_000, seed=3) > 100_000

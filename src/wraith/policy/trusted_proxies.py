"""Whose word is taken for where a client comes from: `--trust-proxy CIDR`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from wraith.errors import UsageError
from wraith.policy.openssh_patterns import IPNetwork, parse_address


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The networks of the load balancers in front of us."""

    networks: tuple[IPNetwork, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Return the networks in `texts`, each an address or a CIDR; `UsageError` for another."""
        networks = []
        for text in texts:
            try:
                networks.append(ipaddress.ip_network(text))
            except ValueError:
                raise UsageError(
                    f"cannot trust {text!r}: it is no network",
                    hint="for example --trust-proxy 10.0.0.0/8, with no bits set behind the prefix",
                ) from None
        return cls(tuple(networks))

    def include(self, address: str) -> bool:
        """Whether the PROXY header of a connection from this address is believed, and demanded."""
        if not self.networks or not address:
            return False
        ip = parse_address(address)
        return any(ip.version == network.version and ip in network for network in self.networks)


NOBODY = TrustedProxies()

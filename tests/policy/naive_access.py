"""Access rules the simple way: slow, without a thought for shape, and obviously right."""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from wraith.policy.access import Peer

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

GROUPS = {
    "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10",
    "loopback": "127.0.0.0/8 ::1/128 0.0.0.0/32 ::/128",
    "link-local": "169.254.0.0/16 fe80::/10",
}
METADATA = ["169.254.169.254", "fd00:ec2::254", "100.100.100.200"]  # those that the tests draw


def forms(text: str) -> list[Address]:
    """An address, and what else it counts as."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        embedded = ipaddress.IPv4Address(int(address) % 2**32)
        if int(address) >> 32 == 0xFFFF:
            return [embedded]
        if int(address) >> 32 == 0x0064FF9B << 64:
            return [address, embedded]
    return [address]


def host_matches(pattern: str, name: str, addresses: Sequence[Address]) -> bool:
    if pattern in GROUPS:
        networks = [ipaddress.ip_network(text) for text in GROUPS[pattern].split()]
        named = pattern == "loopback" and name == "localhost"
        return named or any(address in network for network in networks for address in addresses)
    if pattern == "metadata":
        return any(str(address) in METADATA for address in addresses)
    if "/" in pattern or ":" in pattern:
        return any(address in ipaddress.ip_network(pattern) for address in addresses)
    texts = [name]
    if not set(pattern) - set("0123456789.*?"):
        texts += [str(address) for address in addresses]
    return any(fnmatch.fnmatchcase(text, pattern) for text in texts)


def port_matches(ports: str, port: int) -> bool:
    """Whether the port is in a list like `80,443,8000-8100`; an empty one is any."""
    if not ports:
        return True
    wanted: set[int] = set()
    for part in ports.split(","):
        low, _, high = part.partition("-")
        wanted |= set(range(int(low), int(high or low) + 1))
    return port in wanted


@dataclass
class NaiveRule:
    """One rule, in the parts that its text is made of."""

    action: str
    host: str
    ports: str = ""
    principals: Sequence[str] = ()
    keys: Sequence[str] = ()

    def text(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        words = [self.action, f"{host}:{self.ports}" if self.ports else host]
        words += ["principal=" + ",".join(self.principals)] if self.principals else []
        words += ["key=" + ",".join(self.keys)] if self.keys else []
        return " ".join(words)

    def is_about(self, who: Peer) -> bool:
        if self.principals and not set(self.principals) & set(who.principals):
            return False
        return not self.keys or who.fingerprint in self.keys


@dataclass
class NaiveAccessRules:
    """Goes through the rules from the first to the last, then through the defaults."""

    rules: Sequence[NaiveRule]

    def decide(self, host: str, address: str, port: int, who: Peer) -> bool:
        name = host.lower().removesuffix(".")
        for rule in [*self.rules, NaiveRule("deny", "link-local"), NaiveRule("deny", "metadata")]:
            if not rule.is_about(who) or not port_matches(rule.ports, port):
                continue
            if host_matches(rule.host, name, forms(address)):
                return rule.action == "allow"
        return True

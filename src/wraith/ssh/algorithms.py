"""Which algorithms we speak: modern ones only, and the same list on both sides."""

from __future__ import annotations

import functools
from pathlib import Path

KEY_EXCHANGES = ["mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org"]

_GCM = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]
_CHACHA = ["chacha20-poly1305@openssh.com"]

# The ciphers above authenticate by themselves; a MAC is named only because the protocol has the
# field, and encrypt-then-MAC because auditors rightly object to the others.
MACS = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"]

HOST_KEYS = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
]
HOST_CERTIFICATES = [
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
]

# What a key of each type may sign with; SHA-1 never.
SIGNATURES = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
]


@functools.cache
def ciphers() -> list[str]:
    """AES-GCM first where the processor accelerates AES, ChaCha20-Poly1305 first elsewhere.

    SSH takes the client's order (RFC 4253 section 7.1), so on a server this decides nothing.
    """
    return _GCM + _CHACHA if _aes_is_accelerated() else _CHACHA + _GCM


def _aes_is_accelerated() -> bool:
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True  # not Linux: desktop processors of the last ten years have it
    flags = [line for line in facts.splitlines() if line.startswith(("flags", "Features"))]
    return not flags or "aes" in flags[0].split()


def host_keys_led_by(known: list[str]) -> list[str]:
    """The host key algorithms to ask for, those of the keys on record first.

    A server with several keys then shows the one that we can compare (as ssh(1) does for
    HostKeyAlgorithms). `known` holds key types as they stand in known_hosts.
    """
    signing = [name for key_type in known for name in _signing_names(key_type)]
    return list(dict.fromkeys(name for name in signing if name in HOST_KEYS)) + [
        name for name in HOST_KEYS if name not in signing
    ]


def _signing_names(key_type: str) -> list[str]:
    return ["rsa-sha2-512", "rsa-sha2-256"] if key_type == "ssh-rsa" else [key_type]

"""What other programs say first, cut in every way."""

from __future__ import annotations

from collections.abc import Iterator

from interop.stealth.probe import Probe, fin, say

GREETINGS = {
    "SSH 1.99": b"SSH-1.99-OpenSSH_3.9\r\n",
    "SSH 1.5": b"SSH-1.5-x\r\n",
    "SSH 2.1": b"SSH-2.1-x\r\n",
    "SSH 3.0": b"SSH-3.0-x\r\n",
    "SSH in small letters": b"ssh-2.0-x\r\n",
    "SSH alone": b"SSH",
    "SSH dash": b"SSH-",
    "SSH and a line": b"SSH-\r\n",
    "SSH as a method": b"SSH- / HTTP/1.1\r\nHost: a\r\n\r\n",
    "SSH after a blank line": b"\r\nSSH-2.0-x\r\n",
    "SSH after a space": b" SSH-2.0-x\r\n",
    "SSH after a line": b"hello\r\nSSH-2.0-x\r\n",
    "a key exchange": b"\0\0\x01\x14\x06\x14" + bytes(range(200)),
    "TLS inside TLS": b"\x16\x03\x01\x02\0\1\0\1\xfc\x03\x03" + bytes(40),
    "SOCKS5": b"\x05\x01\x00",
    "SOCKS4": b"\x04\x01\x00\x50\x7f\0\0\1\0",
    "RDP": b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0",
    "SMB": b"\0\0\0\x45\xffSMB\x72" + bytes(60),
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "Redis inline": b"PING\r\n",
    "memcached": b"stats\r\n",
    "SMTP": b"EHLO example.com\r\n",
    "IMAP": b"a1 CAPABILITY\r\n",
    "FTP": b"USER anonymous\r\n",
    "MySQL": b"\x20\0\0\x01\x85\xa6\3\0",
    "PostgreSQL": b"\0\0\0\x08\x04\xd2\x16\x2f",
    "MongoDB": b"\x3a\0\0\0\xa7\x41\0\0\0\0\0\0\xd4\7\0\0",
    "DNS": b"\0\x1d\x12\x34\x01\0\0\1\0\0\0\0\0\0\x07example\3com\0\0\1\0\1",
    "LDAP": b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0",
    "BitTorrent": b"\x13BitTorrent protocol" + bytes(8),
    "MQTT": b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0",
    "Shadowsocks": bytes(range(100, 180)),
    "PROXY v1": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "PROXY v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
    "VMess": b"\x8f" * 61,
    "a line of text": b"hello world\r\n",
    "one newline": b"\n",
    "one NUL": b"\0",
    "32 random bytes": bytes((7 * n * n + 13) % 256 for n in range(32)),
    "32 bytes, then SSH": bytes((5 * n * n + 3) % 256 for n in range(32)) + b"SSH-2.0-x\r\n",
}

SSH = b"SSH-2.0-OpenSSH_9.2p1\r\n"


def first_bytes() -> Iterator[Probe]:
    """Greetings of other protocols, and an SSH one that comes in two records."""
    for name, greeting in GREETINGS.items():
        yield Probe(f"first: {name}", [say(greeting, 0.4), say(b"more"), fin(0.3)])
    for cut in range(1, 8):
        yield Probe(f"SSH cut at {cut}", [say(SSH[:cut], 0.4), say(SSH[cut:]), fin(0.3)])
    yield Probe("SSH byte by byte", [*[say(bytes([byte]), 0.1) for byte in SSH], fin(0.3)])


def ssh_openings() -> Iterator[Probe]:
    """Who speaks SSH at once. Without a secret they are let in; with one they are strangers."""
    for name, opening in {
        "OpenSSH": SSH,
        "PuTTY": b"SSH-2.0-PuTTY_Release_0.80\r\n",
        "libssh": b"SSH-2.0-libssh_0.10.6\r\n",
        "Wraith": b"SSH-2.0-Wraith_0.1\r\n",
        "LF": b"SSH-2.0-x\n",
        "unfinished": b"SSH-2.0-",
        "with a key exchange": SSH + b"\0\0\x01\x14\x06\x14" + bytes(range(200)),
        "long": b"SSH-2.0-" + b"x" * 9000 + b"\r\n",
    }.items():
        yield Probe(f"SSH opening: {name}", [say(opening, 0.4), say(b"more"), fin(0.3)])

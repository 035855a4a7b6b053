"""Versions, ciphers, names, protocols, tickets, broken records, and plain text on the TLS port."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from interop.stealth.http_probes import GET, HOST, POST
from interop.stealth.probe import Probe, Step, fin, say, say_raw, wait
from interop.stealth.wire import Tls

V10, V11, V12, V13 = (
    ssl.TLSVersion.TLSv1,
    ssl.TLSVersion.TLSv1_1,
    ssl.TLSVersion.TLSv1_2,
    ssl.TLSVersion.TLSv1_3,
)
ONLY_12 = Tls(most=V12)
ONLY_13 = Tls(least=V13)

CIPHERS_12 = [
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-SHA",
    "AES128-SHA",
    "AES128-CCM",
    "ECDHE-RSA-CAMELLIA128-SHA256",
    "ECDHE-ARIA128-GCM-SHA256",
    "DHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "AECDH-AES128-SHA",
    "NULL-SHA256",
    "ECDHE-RSA-NULL-SHA",
    "AES128-SHA:AES256-GCM-SHA384:ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384",
]

PROTOCOLS: list[tuple[str, ...]] = [
    ("http/1.1",),
    ("http/1.0",),
    ("http/0.9",),
    ("h2",),
    ("h2", "http/1.1"),
    ("http/0.9", "http/1.0", "http/1.1"),
    ("acme-tls/1",),
    ("ssh",),
    ("wraith-ssh", "spdy/3.1"),
    ("x" * 200, "http/1.1"),
]

NAMES: list[str | None] = [
    *(None, "example.com", "EXAMPLE.com", "other.example", "localhost", "a_b.example"),
    *("a" * 60 + ".example", "xn--bcher-kva.example", "-", "example.com."),
]

HEAD = b"HEAD / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"


def tls_probes() -> Iterator[Probe]:
    """Everything about TLS, and what is not TLS at all."""
    yield from _handshakes()
    yield from _broken_handshakes()
    yield from _broken_records()
    yield from _plain_text()


def _handshakes() -> Iterator[Probe]:
    for version in (V10, V11, V12, V13):
        yield Probe(f"only {version.name}", [say(HEAD)], Tls(least=version, most=version))
    yield Probe("up to TLSv1_1", [say(HEAD)], Tls(least=V10, most=V11))
    yield Probe("from TLSv1", [say(HEAD)], Tls(least=V10))
    for cipher in CIPHERS_12:
        name = cipher if len(cipher) < 40 else f"{cipher[:36]}…"
        tls = replace(ONLY_12, ciphers=cipher + ":@SECLEVEL=0")
        yield Probe(f"cipher {name}", [say(HEAD)], tls, records=True)
    for protocols in PROTOCOLS:
        name = ",".join(protocols)[:30]
        yield Probe(f"ALPN {name}", [say(HEAD)], replace(ONLY_13, protocols=protocols))
        yield Probe(f"ALPN {name} in 1.2", [say(HEAD)], replace(ONLY_12, protocols=protocols))
    for server_name in NAMES:
        label = (server_name or "none")[:20]
        for tls in (ONLY_12, ONLY_13):
            name = f"SNI {label} in {tls.most.name}"
            yield Probe(name, [say(HEAD)], replace(tls, name=server_name), records=True)
    for tls in (ONLY_12, ONLY_13):
        most = tls.most.name
        yield Probe(f"records in {most}", [say(GET), say(GET)], tls, records=True)
        yield Probe(f"nothing said in {most}", [wait(0.5)], tls, records=True)
        yield Probe(f"resumed in {most}", [say(HEAD)], tls, resumed=True)


def client_hello(
    version: bytes = b"\x03\x03",
    extensions: bytes = b"",
    ciphers: bytes = b"\xc0\x2f\xc0\x30\x00\xff",
) -> bytes:
    """A ClientHello by hand, in one record (RFC 5246, section 7.4.1.2)."""
    body = version + bytes(32) + b"\0" + len(ciphers).to_bytes(2, "big") + ciphers + b"\1\0"
    if extensions:
        body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def _extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def _sni(name: bytes) -> bytes:
    entry = b"\0" + len(name).to_bytes(2, "big") + name
    return _extension(0, len(entry).to_bytes(2, "big") + entry)


_GROUPS = _extension(10, b"\0\2\0\x1d") + _extension(11, b"\1\0")
_SIGNATURES = _extension(13, b"\0\4\4\1\x08\4")


@cache
def _recorded_hello() -> bytes:
    """What a real client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ONLY_12.context().wrap_bio(incoming, outgoing, server_hostname="example.com")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def _raw(name: str, *steps: Step) -> Probe:
    return Probe(f"raw: {name}", steps, None)


def _alert_only(data: bytes) -> list[Step]:
    return [say_raw(data, 0.6), say_raw(b"more", 0.4)]


def _broken_handshakes() -> Iterator[Probe]:
    hello = _recorded_hello()
    for cut in (1, 2, 3, 4, 5, 6, 9, 43, 44, 100):
        yield _raw(f"a hello cut at {cut}", say_raw(hello[:cut]), fin(0.5))
    for name, data in {
        "SSL 2 hello": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(range(37)),
        "SSL 3 hello": client_hello(b"\x03\x00"),
        "no ciphers in common": client_hello(ciphers=b"\x00\x01\x00\x02"),
        "fallback SCSV": client_hello(
            b"\x03\x02", _GROUPS + _SIGNATURES, b"\x56\x00\xc0\x2f\xc0\x13"
        ),
        "no signatures in common": client_hello(extensions=_GROUPS + _extension(13, b"\0\2\2\2")),
        "SNI empty": client_hello(extensions=_sni(b"") + _GROUPS + _SIGNATURES),
        "SNI with a NUL": client_hello(extensions=_sni(b"a\0b") + _GROUPS + _SIGNATURES),
        "SNI too long": client_hello(extensions=_sni(b"a" * 300) + _GROUPS + _SIGNATURES),
        "SNI with odd lengths": client_hello(extensions=_extension(0, b"\0\5\0\0\1a")),
        "ALPN empty": client_hello(extensions=_extension(16, b"\0\0") + _GROUPS + _SIGNATURES),
        "ALPN broken": client_hello(extensions=_extension(16, b"\0\2\5a") + _GROUPS + _SIGNATURES),
        "extension twice": client_hello(extensions=_GROUPS + _GROUPS),
        "extensions too long": client_hello(extensions=b"\0\0\xff\xff"),
        "version 0x0304 as it is": client_hello(b"\x03\x04", _GROUPS + _SIGNATURES),
        "version 0x7f00": client_hello(b"\x7f\x00", _GROUPS + _SIGNATURES),
        "record of version 0x0200": b"\x16\x02\x00" + hello[3:],
        "record of version 0x0505": b"\x16\x05\x05" + hello[3:],
        "record too long": b"\x16\x03\x01\xff\xff" + bytes(100),
        "record of no length": b"\x16\x03\x01\0\0",
        "not a hello": b"\x16\x03\x01\0\4\x02\0\0\0",
        "handshake too long": b"\x16\x03\x01\0\4\x01\xff\xff\xff",
        "hello twice": hello + hello,
        "hello and application data": hello + b"\x17\x03\x03\0\5hello",
        "hello and an alert": hello + b"\x15\x03\x03\0\2\2\x28",
        "hello and a warning": hello + b"\x15\x03\x03\0\2\1\0",
        "hello and plain text": hello + GET,
        "a byte above 0x7f": b"\xff" + bytes(40),
        "0x80 alone": b"\x80",
        "garbage after 0x16": b"\x16" + b"\xee" * 300,
    }.items():
        yield _raw(name, *_alert_only(data))


def _broken_records() -> Iterator[Probe]:
    for name, data in {
        "a bad MAC": b"\x17\x03\x03\0\x20" + bytes(32),
        "plain text": GET,
        "an unknown record": b"\x63\x03\x03\0\5hello",
        "a handshake record": b"\x16\x03\x03\0\4\0\0\0\0",
        "an alert in the clear": b"\x15\x03\x03\0\2\2\0",
        "a record too long": b"\x17\x03\x03\x7f\xff" + bytes(100),
        "a record of no length": b"\x17\x03\x03\0\0",
        "change cipher spec": b"\x14\x03\x03\0\1\1",
    }.items():
        for tls in (ONLY_12, ONLY_13):
            steps = [say_raw(data, 0.5), say_raw(b"more")]
            yield Probe(f"record: {name} in {tls.most.name}", steps, tls)
            after = [say(GET), *steps]
            yield Probe(f"record: {name} after a request in {tls.most.name}", after, tls)


def _plain_text() -> Iterator[Probe]:
    for name, data in {
        "GET": GET,
        "GET HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
        "HTTP/0.9": b"GET /\r\n",
        "HEAD": b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n",
        "POST": POST + b"Content-Length: 5\r\n\r\nhello",
        "half a body": POST + b"Content-Length: 50\r\n\r\nhello",
        "CONNECT": b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        "TRACE": b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
        "no Host": b"GET / HTTP/1.1\r\n\r\n",
        "kept": b"GET / HTTP/1.1\r\n" + HOST + b"Connection: keep-alive\r\n\r\n",
        "Chrome": b"GET / HTTP/1.1\r\n" + HOST + b"User-Agent: Chrome/1\r\n\r\n",
        "two": GET + GET,
        "long": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        "long header": b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "half": b"GET / HT",
        "nonsense": b"hello\r\n",
        "NUL": b"\0",
        "control": b"\x01\x02",
        "DEL": b"\x7f",
        "blank": b"\r\n",
        "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
        "an alert": b"\x15\x03\x01\0\2\2\0",
    }.items():
        yield Probe(f"plain: {name}", [say_raw(data, 0.4), say_raw(b"x"), fin(0.3)], None)
    yield Probe("plain: nothing", [fin(0.5)], None)
    yield Probe("plain: half, FIN", [say_raw(b"GET /"), fin(0.5)], None)
    yield Probe("slow: nothing at all", [wait(62)], None, slow=True)
    yield Probe("slow: plain half", [say_raw(b"GET"), wait(62)], None, slow=True)
    yield Probe("slow: half a hello", [say_raw(_recorded_hello()[:40]), wait(62)], None, slow=True)
    yield Probe("slow: half a handshake", [say_raw(_recorded_hello()), wait(62)], None, slow=True)

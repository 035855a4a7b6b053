"""What is thrown at, and the invariant of each; `TARGETS` is the list.

A target takes a mutated example and a source of chance for how it is cut. It returns when the
invariant held, and raises anything when it did not.
"""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC

from asyncssh.misc import ProtocolError
from asyncssh.packet import PacketDecodeError

from fuzz.mutate import cuts
from tests.policy.openssh_material import ALICE, BOB, CA, HOST, LIMITED_CERTIFICATE
from tests.policy.wire_builders import key_of, krl, section
from tests.support.playbook import converse
from tests.support.ssh_link import CIPHERS, Link, Listening
from wraith.errors import UsageError
from wraith.policy.access import Rule
from wraith.policy.authorized_keys import AuthorizedKeys
from wraith.policy.keys import parse_certificate, parse_key_blob
from wraith.policy.known_hosts import KnownHosts
from wraith.policy.revoked_keys import RevokedKeys
from wraith.protocol.capabilities import decode as decode_capabilities
from wraith.protocol.client_hello import read_client_hello
from wraith.protocol.datagrams import MOST_AT_ONCE, FrameReader, decode_address, parcel_of, split
from wraith.protocol.decoy.machine import Decoy
from wraith.protocol.events import NEED_DATA
from wraith.protocol.first_bytes import Doorkeeper
from wraith.protocol.http_connect import HttpConnectClient
from wraith.protocol.local_port import LocalPortServer
from wraith.protocol.machine import Cursor, Incomplete
from wraith.protocol.proxy_protocol import SIGNATURE, ProxyHeaderError, decode_header
from wraith.protocol.socks5.client import Socks5Client
from wraith.protocol.socks5.messages import MessageError
from wraith.ssh.packet_reader import BrokenPacket
from wraith.values.address import TcpDestination, parse_destination, parse_listen
from wraith.values.credentials import Credentials
from wraith.values.forward_spec import parse_local_forward, parse_remote_forward
from wraith.values.proxy_url import parse_proxy_url
from wraith.values.upstream_url import parse_upstream_url


@dataclass(frozen=True)
class Target:
    """A parser, good examples for it, and what must hold for bad ones."""

    name: str
    seeds: Sequence[bytes]
    run: Callable[[bytes, random.Random], None]


# SSH packets: what each channel hears is what was sent to it, or the beginning of that.

_DOCUMENTED = (BrokenPacket, ProtocolError, PacketDecodeError)
"""What ends a session, and only that session."""

_SAID = (b"for the first channel only", b"SECOND" * 500, b"third")


@functools.cache
def _conversation(cipher: bytes) -> bytes:
    peer = Link(cipher).peer
    return b"".join(
        [
            peer.data(0, _SAID[0]),
            peer.data(1, _SAID[1]),
            peer.adjust(0, 100),
            peer.packet(b"\x04debug"),
            peer.data(2, _SAID[2]),
            peer.request(2),
            peer.eof(0),
            peer.close(1),
        ]
    )


def _packets(cipher: bytes, data: bytes, chance: random.Random) -> None:
    link = Link(cipher)
    channels = [link.open(Listening) for _ in _SAID]
    with contextlib.suppress(*_DOCUMENTED):
        link.hears(*cuts(data, chance))
    for channel, said in zip(channels, _SAID, strict=True):
        assert said.startswith(channel.data), "a channel heard what was not for it"
    link.end()


def _genuine_packets(cipher: bytes, data: bytes, chance: random.Random) -> None:
    """The mutation inside a packet that is genuine: a peer with the keys, and bad intentions."""
    link = Link(cipher)
    channels = [link.open(Listening) for _ in _SAID]
    pieces = cuts(data[:4096] or b"\0", chance)
    sealed = b"".join(link.peer.packet(piece or b"\0") for piece in pieces)
    with contextlib.suppress(*_DOCUMENTED):
        link.hears(*cuts(sealed, chance))
    for channel in channels:
        assert channel.data in data, "a channel heard what nobody sent"
    link.end()


def _plain(kind: int, channel: int, rest: bytes) -> bytes:
    return bytes((kind,)) + channel.to_bytes(4, "big") + rest


_PLAIN = [
    _plain(94, 0, b"\0\0\0\5hello"),
    _plain(93, 1, b"\0\1\0\0"),
    _plain(95, 0, b"\0\0\0\1\0\0\0\2no"),
    _plain(96, 2, b""),
    _plain(97, 2, b""),
    _plain(98, 1, b"\0\0\0\4exec\1"),
    _plain(91, 0, b"\0\0\0\7\0\2\0\0\0\0\x80\0"),
    _plain(92, 0, b"\0\0\0\1\0\0\0\2no\0\0\0\0"),
    b"\x02\0\0\0\3abc",
]


# The local port, and a proxy that answers us: how the bytes are cut makes no difference.

_ME = Credentials("me", "pwd")
_LOCAL_PORT = [
    b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x01\xbbrest",
    b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\1\0\x50",
    b"\x05\x01\x00\x05\x03\x00\x04" + bytes(16) + b"\0\x35",
    b"\x05\x02\x00\x02\x01\x02me\x03pwd\x05\x01\x00\x01\x7f\0\0\1\0\x50",
    b"\x04\x01\0\x50\0\0\0\1me\0example.com\0",
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\nrest",
    b"GET http://example.com/page HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n",
    b"GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"CONNECT [2001:db8::1]:22 HTTP/1.1\r\nProxy-Authorization: Basic bWU6cHdk\r\n\r\n",
]


def _local_port(data: bytes, chance: random.Random) -> None:
    for credentials in (None, _ME):
        whole = converse(LocalPortServer(credentials), [data])
        assert converse(LocalPortServer(credentials), cuts(data, chance)) == whole


_ANSWERS = [
    *(b"\5\0\5\0\0\1\x7f\0\0\1\0\x50", b"\5\2\1\0\5\5\0\1"),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nVia: a\r\n\r\nrest",
    b"HTTP/1.0 407 No\r\nProxy-Authenticate: Basic realm=x\r\n\r\n",
    b"HTTP/1.1 503 No\nX-Squid-Error: ERR_CONNECT_FAIL 111\nProxy-Status: a; error=dns_error\n\n",
]


def _proxy_answers(data: bytes, chance: random.Random) -> None:
    for machine in (Socks5Client, HttpConnectClient):
        for credentials in (None, _ME):
            client = machine(TcpDestination("example.com", 443), credentials)
            for piece in cuts(data, chance):
                client.receive_data(piece)
                client.next_event()


# Datagrams: what frames a stream holds does not depend on how it is cut, and none is too odd.

_DATAGRAMS = [
    b"\0\x0d\1\x7f\0\0\1\0\x35query!\0\x08\1\x7f\0\0\1\0\x35?",
    b"\0\x15\3\x0bdns.example\0\x35query!",
    b"\0\x14\4" + bytes(15) + b"\1\0\x35!",
    b"\0\0\0\1\x7f\0\0\1\0\x35from a program",
]


def _datagrams(data: bytes, chance: random.Random) -> None:
    whole = FrameReader().receive_data(data)
    reader = FrameReader()
    pieces = [parcel for piece in cuts(data, chance) for parcel in reader.receive_data(piece)]
    assert pieces == whole or len(whole) == MOST_AT_ONCE
    for parcel in (*whole, parcel_of(data)):
        with contextlib.suppress(MessageError):
            decode_address(split(parcel or b"")[0])
    decode_capabilities(data)


# The PROXY header: whole, incomplete or refused, and more bytes change no verdict.

_PROXY_HEADERS = [
    b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 22\r\nSSH-2.0-",
    b"PROXY UNKNOWN\r\n",
    SIGNATURE + b"\x21\x11\0\x0c" + bytes(12) + b"SSH-2.0-",
    SIGNATURE + b"\x20\0\0\0",
]


def _proxy_headers(data: bytes, chance: random.Random) -> None:
    verdicts: set[str] = set()
    for end in (chance.randrange(len(data) + 1), len(data)):
        with contextlib.suppress(Incomplete):
            try:
                verdicts.add(str(decode_header(Cursor(data[:end]))))
            except ProxyHeaderError:
                verdicts.add("refused")
    assert len(verdicts) <= 1, "more bytes changed the verdict"


# A stranger: how the bytes are cut changes no answer, and nothing is too odd to be answered.

_STRANGERS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /%41?b#c HTTP/1.0\r\n\r\n",
    b"POST http://[::1]:1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;e\r\nhello\r\n0\r\nA: b\r\n\r\nGET /\r\n",
    b"POST / HTTP/1.1\nHost: a\nContent-Length: 3\nUser-Agent: MSIE 6.0; x\n\nabc"
    b"HEAD / HTTP/1.0\n\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
]


def _answers_to(pieces: Sequence[bytes]) -> list[bytes]:
    decoy = Decoy(0.0, lambda: 0.0)
    for piece in pieces:
        while piece and (size := decoy.wants()):
            now, piece = piece[:size], piece[size:]
            decoy.receive_data(now, 1.0, more=len(now) == size)
        if decoy.closing is None:
            decoy.receive_nothing(1.0)
    assert decoy.closing is not None or decoy.wants()
    return decoy.messages()


def _strangers(data: bytes, chance: random.Random) -> None:
    cut, whole = _answers_to(cuts(data, chance)), _answers_to([data])
    # A body that is found out to be bad is told only to whom has not been answered yet.
    assert len(cut) == len(whole)
    assert [one.split(b" ", 2)[:2] for one in cut] == [one.split(b" ", 2)[:2] for one in whole]
    Doorkeeper(b"a secret of the server").admit(data, data[:48])


# TLS hellos, read before any TLS: cutting them changes nothing, and they are read or not, no more.

_HELLO = bytes.fromhex(
    "16030100530100004f030300000000000000000000000000000000000000000000000000000000000000"
    "000000021301010000240000000c000a00000767772e7465737400100010000e0a61636d652d746c732f"
    "31026832"
)


def _hellos(data: bytes, chance: random.Random) -> None:
    whole, so_far = read_client_hello(data), b""
    for piece in cuts(data, chance):
        so_far += piece
        told = read_client_hello(so_far)
        assert told is NEED_DATA or told == whole


# Files and lines: an error is the documented one, or a problem with its line's number.


def _key_files(data: bytes, _chance: random.Random) -> None:
    text = data.decode("utf-8", "replace")
    AuthorizedKeys.parse(text, source="fuzz", timezone=UTC)
    KnownHosts.parse(text, source="fuzz").lookup("example.com", 22)


def _key_blobs(data: bytes, _chance: random.Random) -> None:
    for parse in (parse_certificate, parse_key_blob, RevokedKeys.parse):
        with contextlib.suppress(ValueError):
            parse(data)


def _texts(data: bytes, _chance: random.Random) -> None:
    text = data.decode("utf-8", "replace")
    for parse in (
        *(parse_destination, parse_listen, parse_local_forward, parse_remote_forward),
        *(Rule.parse, parse_proxy_url, parse_upstream_url),
    ):
        with contextlib.suppress(UsageError):
            parse(text)


_LINES = [
    f'from="10.0.0.0/8,!10.1.1.1",permitopen="db:5432" {ALICE}'.encode(),
    f'cert-authority,principals="ops" {CA}\nrestrict,port-forwarding {BOB}'.encode(),
    f"[example.com]:2222,192.0.2.1 {HOST}\n@cert-authority *.example.com {CA}".encode(),
    f"|1|{'A' * 27}=|{'B' * 27}= {HOST}".encode(),
    f'expiry-time="20300101" {ALICE} a comment'.encode(),
]
_TEXTS = [
    *(b"tls://[::]:443", b":2222", b"0.0.0.0:22", b"8080:localhost:80", b"/run/a.sock:/run/b.sock"),
    *(b"[::1]:80:[2001:db8::1]:443", b"example.com:443", b"wraith-control:0", b"/run/a.sock"),
    *(b"socks5://me:p%40d@[::1]:1080", b"http://proxy.example:3128/", b"direct"),
    *(b"allow *.internal:80,443", b"deny 10.0.0.0/8:1-1023 principal=ops", b"deny metadata"),
]

TARGETS = [
    *(
        Target(f"packets-{name}", [_conversation(cipher)], functools.partial(_packets, cipher))
        for name, cipher in (("gcm", CIPHERS[0]), ("chacha", CIPHERS[2]))
    ),
    Target("messages", _PLAIN, functools.partial(_genuine_packets, CIPHERS[0])),
    Target("local-port", _LOCAL_PORT, _local_port),
    Target("proxy-answers", _ANSWERS, _proxy_answers),
    Target("datagrams", _DATAGRAMS, _datagrams),
    Target("proxy-header", _PROXY_HEADERS, _proxy_headers),
    Target("strangers", _STRANGERS, _strangers),
    Target("hellos", [_HELLO], _hellos),
    Target("key-files", _LINES, _key_files),
    Target("key-blobs", [key_of(LIMITED_CERTIFICATE).blob, krl(section(3, b""))], _key_blobs),
    Target("texts", _TEXTS, _texts),
]

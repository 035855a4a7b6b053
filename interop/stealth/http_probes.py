"""Requests, well-formed and not; bodies; keep-alive; endings; time-outs."""

from __future__ import annotations

from collections.abc import Iterator

from interop.stealth.probe import Probe, Step, fin, notify, say, wait
from interop.stealth.wire import Wire

HOST = b"Host: example.com\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
CLOSE = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"

METHODS = [
    *(b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"),
    *(b"PROPFIND", b"MKCOL", b"COPY", b"LOCK", b"FOO", b"G-T", b"G_T", b"get", b"Get", b"G3T"),
    *(b"PRI", b"A" * 40, b"_", b"-"),
]

REQUEST_LINES = {
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/0.9, LF": b"GET /\n",
    "HTTP/0.9 with a space": b"GET / \r\n",
    "HTTP/0.9 POST": b"POST /\r\n",
    "HTTP/0.9 HEAD": b"HEAD /\r\n",
    "HTTP/0.9 spelt out": b"GET / HTTP/0.9\r\n\r\n",
    "HTTP/0.9 deep path": b"GET /a/b/c?d=e\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/1.01": b"GET / HTTP/1.01\r\n" + HOST + b"\r\n",
    "HTTP/1.00": b"GET / HTTP/1.00\r\n\r\n",
    "HTTP/1.999": b"GET / HTTP/1.999\r\n" + HOST + b"\r\n",
    "HTTP/1.1000": b"GET / HTTP/1.1000\r\n" + HOST + b"\r\n",
    "HTTP/1.": b"GET / HTTP/1.\r\n" + HOST + b"\r\n",
    "HTTP/1": b"GET / HTTP/1\r\n" + HOST + b"\r\n",
    "HTTP/01.1": b"GET / HTTP/01.1\r\n" + HOST + b"\r\n",
    "HTTP/11.1": b"GET / HTTP/11.1\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2.0 HEAD": b"HEAD / HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    "HTTP/a.b": b"GET / HTTP/a.b\r\n" + HOST + b"\r\n",
    "http/1.1": b"GET / http/1.1\r\n" + HOST + b"\r\n",
    "HTTPS/1.1": b"GET / HTTPS/1.1\r\n" + HOST + b"\r\n",
    "RTSP": b"OPTIONS / RTSP/1.0\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "spaces after the version": b"GET / HTTP/1.1   \r\n" + HOST + b"\r\n",
    "spaces before the target": b"GET    / HTTP/1.1\r\n" + HOST + b"\r\n",
    "spaces before the version": b"GET /    HTTP/1.1\r\n" + HOST + b"\r\n",
    "words after the version": b"GET / HTTP/1.1 x\r\n" + HOST + b"\r\n",
    "tab after the method": b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space first": b" GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    "blank lines first": b"\r\n\r\n\n" + GET,
    "only blank lines": b"\r\n\r\n",
    "LF only": b"GET / HTTP/1.1\nHost: a\n\n",
    "CR only": b"GET / HTTP/1.1\rHost: a\r\r",
    "CR in the target": b"GET /\rx HTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "DEL in the target": b"GET /\x7f HTTP/1.1\r\n" + HOST + b"\r\n",
    "control in the target": b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n",
    "eight bits in the target": b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "no target": b"GET HTTP/1.1\r\n" + HOST + b"\r\n",
    "no target, spaces": b"GET   \r\n" + HOST + b"\r\n",
    "target *": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "relative target": b"GET index.html HTTP/1.1\r\n" + HOST + b"\r\n",
    "target ?": b"GET ? HTTP/1.1\r\n" + HOST + b"\r\n",
    "query": b"GET /?a=b&c=%zz HTTP/1.1\r\n" + HOST + b"\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
    "fragment in a query": b"GET /a?b#c/../.. HTTP/1.1\r\n" + HOST + b"\r\n",
    "escape": b"GET /%41 HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad escape": b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n",
    "half an escape": b"GET /%4 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a lone percent": b"GET /% HTTP/1.1\r\n" + HOST + b"\r\n",
    "escaped NUL": b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "escaped slash": b"GET /a%2f..%2f.. HTTP/1.1\r\n" + HOST + b"\r\n",
    "escaped question": b"GET /%3f/../.. HTTP/1.1\r\n" + HOST + b"\r\n",
    "above the root": b"GET /.. HTTP/1.1\r\n" + HOST + b"\r\n",
    "above the root, later": b"GET /a/../../b HTTP/1.1\r\n" + HOST + b"\r\n",
    "above the root, escaped": b"GET /%2e%2e/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "up and down": b"GET /a/../b/./c HTTP/1.1\r\n" + HOST + b"\r\n",
    "many slashes": b"GET ////a//../.. HTTP/1.1\r\n" + HOST + b"\r\n",
    "three dots": b"GET /... HTTP/1.1\r\n" + HOST + b"\r\n",
    "backslash": b"GET /\\..\\x HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute": b"GET http://example.com/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute without Host": b"GET http://example.com/ HTTP/1.1\r\n\r\n",
    "absolute, no path": b"GET http://example.com HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, query": b"GET http://example.com?x HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, port": b"GET http://example.com:80/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, bad port": b"GET http://example.com:x/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, literal": b"GET http://[::1]:1/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, bad literal": b"GET http://[::1/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, no host": b"GET http:/// HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, bad host": b"GET http://a..b/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, underscore": b"GET http://a_b/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, user": b"GET http://u@h/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, other scheme": b"GET ftp+x.1-2://h/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute, one slash": b"GET http:/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "authority": b"GET example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT authority": b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute HTTP/0.9": b"GET http://example.com \r\n",
}

HEADERS = {
    "no Host": b"",
    "empty Host": b"Host:\r\n",
    "two Hosts": HOST + HOST,
    "Host with a slash": b"Host: a/b\r\n",
    "Host with a space": b"Host: a b\r\n",
    "Host with a tab": b"Host: a\tb\r\n",
    "Host with two dots": b"Host: a..b\r\n",
    "Host with a last dot": b"Host: a.\r\n",
    "Host of a dot": b"Host: .\r\n",
    "Host of a port": b"Host: :80\r\n",
    "Host with a port": b"Host: a:80\r\n",
    "Host with a bad port": b"Host: a:b:c\r\n",
    "Host with a literal": b"Host: [::1]:443\r\n",
    "Host with half a literal": b"Host: [::1\r\n",
    "Host in capitals": b"HOST: EXAMPLE.COM\r\n",
    "Host with an underscore": b"Host: a_b\r\n",
    "Host with eight bits": b"Host: \xc3\xa4\r\n",
    "Host with a NUL": b"Host: a\0b\r\n",
    "Host without a colon": b"Host\r\n",
    "Host after a space": b" Host: a\r\n",
    "space before the colon": b"Host : a\r\n",
    "tab before the colon": HOST + b"X\t: a\r\n",
    "folded": HOST + b"X: a\r\n b\r\n",
    "no colon": HOST + b"nonsense\r\n",
    "no name": HOST + b": a\r\n",
    "underscore in a name": HOST + b"a_b: c\r\n",
    "odd name": HOST + b"a!b{}: c\r\n",
    "eight bits in a name": HOST + b"\xff: c\r\n",
    "control in a name": HOST + b"a\x01: c\r\n",
    "DEL in a name": HOST + b"a\x7f: c\r\n",
    "NUL in a name": HOST + b"a\0: c\r\n",
    "NUL in a value": HOST + b"a: b\0c\r\n",
    "control in a value": HOST + b"a: \x01\x02\x7f\r\n",
    "CR in a value": HOST + b"a: b\rc\r\n",
    "two CRs": HOST + b"a: b\r\r\n",
    "spaces round a value": HOST + b"a:    b    \r\n",
    "LF ends": b"Host: a\nX: y\n",
    "Connection keep-alive": HOST + b"Connection: keep-alive\r\n",
    "Connection close": HOST + b"Connection: close\r\n",
    "Connection CLOSE": HOST + b"Connection: CLOSE\r\n",
    "Connection of both": HOST + b"Connection: keep-alive, close\r\n",
    "Connection notclosed": HOST + b"Connection: notclosed\r\n",
    "Connection twice": HOST + b"Connection: close\r\nConnection: keep-alive\r\n",
    "Connection upgrade": HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    "Connection upgrade h2c": HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
    "Keep-Alive": HOST + b"Connection: keep-alive\r\nKeep-Alive: 3\r\n",
    "two Content-Lengths": HOST + b"Content-Length: 0\r\nContent-Length: 0\r\n",
    "bad Content-Length": HOST + b"Content-Length: x\r\n",
    "empty Content-Length": HOST + b"Content-Length:\r\n",
    "negative Content-Length": HOST + b"Content-Length: -1\r\n",
    "signed Content-Length": HOST + b"Content-Length: +1\r\n",
    "greatest Content-Length": HOST + b"Content-Length: 9223372036854775807\r\n",
    "too great a Content-Length": HOST + b"Content-Length: 9223372036854775808\r\n",
    "zeros in Content-Length": HOST + b"Content-Length: 00000000000000000000000000\r\n",
    "Transfer-Encoding gzip": HOST + b"Transfer-Encoding: gzip\r\n",
    "Transfer-Encoding list": HOST + b"Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding empty": HOST + b"Transfer-Encoding:\r\n",
    "Transfer-Encoding identity": HOST + b"Transfer-Encoding: identity\r\n",
    "two Transfer-Encodings": HOST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "both lengths": HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
    "Expect": HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n",
    "Expect other": HOST + b"Expect: miracles\r\n",
    "two Expects": HOST + b"Expect: a\r\nExpect: b\r\n",
    "two Authorizations": HOST + b"Authorization: a\r\nAuthorization: b\r\n",
    "two If-Ranges": HOST + b"If-Range: a\r\nIf-Range: b\r\n",
    "two Cookies": HOST + b"Cookie: a\r\nCookie: b\r\n",
    "two User-Agents": HOST + b"User-Agent: a\r\nUser-Agent: MSIE 6.0; x\r\n",
    "Range": HOST + b"Range: bytes=0-1\r\n",
    "If-Modified-Since": HOST + b"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
    "If-None-Match": HOST + b"If-None-Match: *\r\n",
    "Accept": HOST + b"Accept: application/json\r\nAccept-Language: de\r\n",
    "curl": HOST + b"User-Agent: curl/7.88.1\r\nAccept: */*\r\n",
    "Firefox": HOST + b"User-Agent: Mozilla/5.0 (X11; rv:128.0) Gecko/20100101 Firefox/128.0\r\n",
    "Chrome": HOST
    + b"User-Agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/5\r\n",
    "MSIE": HOST + b"User-Agent: Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)\r\n",
    "MSIE 6": HOST + b"User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)\r\n",
    "MSIE at the end": HOST + b"User-Agent: MSIE 6\r\n",
    "Opera": HOST + b"User-Agent: Mozilla/4.0 (compatible; MSIE 6.0) Opera 8 Chrome/1\r\n",
    "Origin": HOST + b"Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n",
    "X-Forwarded-For": HOST + b"X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n",
}

POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

BODIES = {
    "whole": POST + b"Content-Length: 5\r\n\r\nhello",
    "whole, then close": POST + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
    "whole, then another": POST + b"Content-Length: 5\r\n\r\nhello" + GET,
    "half": POST + b"Content-Length: 10\r\n\r\nhello",
    "half, then close": POST + b"Connection: close\r\nContent-Length: 10\r\n\r\nhello",
    "too much": POST + b"Content-Length: 2\r\n\r\nhello",
    "3000 bytes": POST + b"Content-Length: 3000\r\n\r\n" + b"x" * 3000,
    "100000 bytes": POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000,
    "just too large": POST + b"Content-Length: 1048577\r\n\r\n",
    "just not too large": POST + b"Content-Length: 1048576\r\n\r\n",
    "too large, begun": POST + b"Content-Length: 2000000\r\n\r\n" + b"x" * 5000,
    "too large, all of it": POST + b"Content-Length: 1100000\r\n\r\n" + b"x" * 1_100_000,
    "GET with a body": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    "TRACE with a body": b"TRACE / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    "TRACE with half a body": b"TRACE / HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nabc",
    "HTTP/1.0": b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.0 without length": b"POST / HTTP/1.0\r\n\r\nhello",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, empty": CHUNKED + b"0\r\n\r\n",
    "chunked": CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    "chunked, LF": CHUNKED + b"5\nhello\n0\n\n",
    "chunked, then another": CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + GET,
    "chunked, extension": CHUNKED + b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
    "chunked, space": CHUNKED + b"5 \r\nhello\r\n0 \r\n\r\n",
    "chunked, trailer": CHUNKED + b"0\r\nA: b\r\nC: d\r\n\r\n",
    "chunked, zeros": CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n",
    "chunked, capitals": CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n",
    "chunked, not begun": CHUNKED,
    "chunked, half a size": CHUNKED + b"5",
    "chunked, half": CHUNKED + b"5\r\nhe",
    "chunked, no end": CHUNKED + b"5\r\nhello\r\n",
    "chunked, bad size": CHUNKED + b"x\r\n",
    "chunked, negative": CHUNKED + b"-1\r\n",
    "chunked, no size": CHUNKED + b"\r\n",
    "chunked, 0x": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunked, too long a chunk": CHUNKED + b"2\r\nhello\r\n0\r\n\r\n",
    "chunked, overflow": CHUNKED + b"ffffffffffffffff\r\n",
    "chunked, greatest": CHUNKED + b"7fffffffffffffff\r\n",
    "chunked, 2 GB": CHUNKED + b"7fffffff\r\nxx",
    "chunked, CR alone": CHUNKED + b"5\rhello",
    "chunked, bad trailer": CHUNKED + b"0\r\nA\rB\r\n\r\n",
    "CHUNKED": POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
    "expecting, never sent": POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
}


def http_probes() -> Iterator[Probe]:
    """Everything that is said inside a sound TLS connection."""
    for method in METHODS:
        head = method + b" / HTTP/1.1\r\n" + HOST + b"\r\n"
        yield Probe(f"method {method[:9].decode()}", [say(head)])
    for name, line in REQUEST_LINES.items():
        yield Probe(f"line: {name}", [say(line)])
    for name, headers in HEADERS.items():
        yield Probe(f"header: {name}", [say(b"GET /x HTTP/1.1\r\n" + headers + b"\r\n")])
    for name in ("MSIE 6", "Chrome", "MSIE", "Opera"):
        head = b"POST / HTTP/1.1\r\n" + HEADERS[name] + b"Content-Length: 2\r\n\r\nab"
        yield Probe(f"POST from {name}", [say(head)])
    for name, body in BODIES.items():
        yield Probe(f"body: {name}", [say(body)])
    yield from _cut_probes()
    yield from _size_probes()
    yield from _keep_alive_probes()
    yield from _ending_probes()
    yield from _slow_probes()


def _cut_probes() -> Iterator[Probe]:
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for cut in (*range(1, 18), 20, 22, 23, 24, 25, 26):
        yield Probe(f"cut at {cut}", [say(request[:cut]), say(request[cut:])])
    yield Probe("byte by byte", [say(bytes([byte]), 0.02) for byte in request])
    body = CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"
    start = len(CHUNKED)
    for cut in range(start, len(body)):
        yield Probe(f"chunks cut at {cut - start}", [say(body[:cut]), say(body[cut:]), say(GET)])
    yield Probe("head, then body", [say(POST + b"Content-Length: 5\r\n\r\n"), say(b"hello")])
    yield Probe("head, then too much", [say(POST + b"Content-Length: 2\r\n\r\n"), say(b"hello")])
    yield Probe("head, then bad chunk", [say(CHUNKED), say(b"zz\r\n")])
    yield Probe(
        "head, then body and more", [say(POST + b"Content-Length: 5\r\n\r\n"), say(b"hello" + GET)]
    )


def _size_probes() -> Iterator[Probe]:
    for size in (500, 980, 1023, 1024, 1025, 4096, 8000, 8170, 8180, 8190, 8192, 8200, 9000, 40000):
        line = b"GET /" + b"a" * size + b" HTTP/1.1\r\n"
        yield Probe(f"target of {size}", [say(line + HOST + b"\r\n")])
        value = b"X: " + b"v" * size + b"\r\n"
        yield Probe(f"header of {size}", [say(b"GET / HTTP/1.1\r\n" + HOST + value + b"\r\n")])
    for size in (8184, 8185, 8186, 8187, 8188, 8189, 8191):
        yield Probe(f"header of {size}", [say(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"v" * size)])
        yield Probe(f"target of {size}", [say(b"GET /" + b"a" * size)])
    for count in (50, 99, 101, 500, 999, 1000, 1001):
        lines = b"".join(b"a%d: b\r\n" % number for number in range(count))
        yield Probe(f"{count} headers", [say(b"GET / HTTP/1.1\r\n" + HOST + lines + b"\r\n")])
    for count in (3, 4, 5, 6):
        lines = (b"X: " + b"v" * 7000 + b"\r\n") * count
        yield Probe(f"{count} long headers", [say(b"GET / HTTP/1.1\r\n" + HOST + lines + b"\r\n")])
    yield Probe("long method", [say(b"A" * 9000 + b" / HTTP/1.1\r\n\r\n")])
    yield Probe("long header name", [say(b"GET / HTTP/1.1\r\n" + HOST + b"a" * 9000 + b": b\r\n")])
    yield Probe("2000 blank lines", [say(b"\r\n" * 2000 + GET)])
    yield Probe("an endless line", [say(b"GET /" + b"a" * 200_000)])
    yield Probe("an endless head", [say(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 30_000)])


def _keep_alive_probes() -> Iterator[Probe]:
    yield Probe("two in turn", [say(GET), say(GET)])
    yield Probe("two at once", [say(GET + GET)])
    yield Probe("ten at once", [say(GET * 10)])
    yield Probe("sixty at once", [say(GET * 60)])
    yield Probe("two at once, the last closes", [say(GET + CLOSE)])
    yield Probe("two at once, the first closes", [say(CLOSE + GET)])
    yield Probe("one and a half at once", [say(GET + GET[:9]), say(GET[9:])])
    yield Probe("one, then nonsense", [say(GET + b"\x00\x01\x02")])
    yield Probe("one, then a long target", [say(GET + b"GET /" + b"a" * 9000)])
    yield Probe("one, then a long header", [say(GET + b"GET / HTTP/1.1\r\nX: " + b"a" * 9000)])
    yield Probe(
        "a large one, then another", [say(GET[:-2] + b"X: " + b"a" * 3000 + b"\r\n\r\n" + GET)]
    )
    yield Probe("large ones in a row", [say((GET[:-2] + b"X: " + b"a" * 3000 + b"\r\n\r\n") * 6)])
    yield Probe("HEAD and GET at once", [say(GET.replace(b"GET", b"HEAD") + GET)])
    yield Probe("HTTP/1.0", [say(b"GET / HTTP/1.0\r\n\r\n")])
    kept = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    yield Probe("HTTP/1.0 kept", [say(kept), say(kept)])
    yield Probe("HTTP/1.0 kept, at once", [say(kept * 3)])
    yield Probe("kept after 405", [say(b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n"), say(GET)])
    yield Probe("after 400", [say(b"GET / HTTP/1.1\r\n\r\n" + GET)])
    yield Probe("blank lines between", [say(GET + b"\r\n\r\n" + GET)])
    yield Probe("1001 requests", [say(GET, 0.02) for _ in range(4)] + [say(GET * 40, 0.15)] * 26)


def _late(data: bytes) -> Step:
    return say(data, 0.6)


def _ending_probes() -> Iterator[Probe]:
    for name, said in {
        "nothing": b"",
        "half a line": b"GET /",
        "half a head": b"GET / HTTP/1.1\r\nHost:",
        "a request": GET,
        "a closing request": CLOSE,
        "half a body": POST + b"Content-Length: 9\r\n\r\nab",
        "half a chunk": CHUNKED + b"5\r\nab",
        "nonsense": b"\x01",
        "two requests": GET + GET,
    }.items():
        first = [say(said)] if said else []
        yield Probe(f"close_notify after {name}", [*first, notify(0.6)])
        yield Probe(f"FIN after {name}", [*first, fin(0.6)])
        yield Probe(f"close_notify and FIN after {name}", [*first, notify(0.0), fin(0.6)])
        if said:
            yield Probe(f"close_notify with {name}", [_together(said, fin_too=False)])
            yield Probe(f"FIN with {name}", [_together(said, fin_too=True)])
    yield Probe("more after the goodbye", [say(CLOSE), say(b"x" * 100), say(b"y" * 100)])
    yield Probe("more after a 400", [say(b"\x01"), say(b"x" * 100), say(b"y" * 100)])
    yield Probe(
        "more after a 413", [say(POST + b"Content-Length: 2000000\r\n\r\n"), say(b"x" * 99)]
    )
    yield Probe("much after a 400", [say(b"\x01" + b"x" * 200_000), say(b"y" * 100)])
    yield Probe("lingering", [say(CLOSE + b"x"), _late(b"more"), _late(b"more"), fin(0.5)])


def _together(data: bytes, *, fin_too: bool) -> Step:
    def step(wire: Wire) -> float:
        wire.cork = True
        wire.send(data)
        wire.notify()
        wire.uncork()
        if fin_too:
            wire.end()
        return 0.6

    return step


def _slow_probes() -> Iterator[Probe]:
    """What waits for nginx's time-outs: 5 s, 30 s, 60 s and 75 s."""

    def said(data: bytes) -> Step:
        return say(data, 2.0)

    def slow(name: str, steps: list[Step], seconds: float) -> Probe:
        return Probe(f"slow: {name}", [*steps, wait(seconds)], slow=True)

    yield slow("nothing", [], 62)
    yield slow("half a line", [said(b"GET")], 62)
    yield slow("half a head", [said(b"GET / HTTP/1.1\r\nX: ")], 62)
    yield slow("blank lines", [said(b"\r\n")], 62)
    yield slow("a trickle", [said(b"GET /"), wait(25), said(b"a"), wait(25), said(b"b")], 10)
    yield slow("kept", [said(GET)], 77)
    yield slow("kept, then half", [said(GET), wait(10), said(b"GET /")], 62)
    yield slow("kept twice", [said(GET), wait(5), said(GET)], 77)
    yield slow("pipelined half", [said(GET + b"GET /")], 62)
    yield slow("half a body", [said(POST + b"Content-Length: 9\r\n\r\nab")], 8)
    yield slow("half a chunk", [said(CHUNKED + b"5\r\nab")], 8)
    yield slow("half a large body", [said(POST + b"Content-Length: 2000000\r\n\r\nab")], 8)
    trickle = [say(b"x", 3.0) for _ in range(11)]
    yield slow("a trickling body", [said(POST + b"Content-Length: 99\r\n\r\n"), *trickle], 8)
    yield slow("lingering", [said(CLOSE + b"x")], 8)
    yield slow("lingering, trickling", [said(CLOSE + b"x"), *trickle], 8)

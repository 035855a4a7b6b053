"""`wraith serve` with TLS: what it prints, what it refuses, and a new certificate by SIGHUP."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.command import Child, Material, wraith
from wraith.transports.certificates import pin_of

TLS = ("--listen", "tls://127.0.0.1:0")


def serve(material: Material, *more: str) -> list[str]:
    """A server that listens by TLS only."""
    words = material.serve(*more)
    words[words.index("127.0.0.1:0")] = "tls://127.0.0.1:0"
    return words


def test_the_line_to_paste_has_all_that_a_client_needs(material: Material) -> None:
    with Child(*serve(material, "--tls-self-signed"), ready=True) as server:
        facts = server.facts()
        (url,) = facts["listen"]
        address = url.removeprefix("tls://")
        pin = f"--tls-pin {facts['tls_pin']}"
        line = f"wraith connect --transport tls --server {address} {pin}"
        assert facts["connect"] == f"{line} --host-key {facts['host_key']}"
        said = server.hears("On the other machine")
        assert f"listening on   {url}" in said
        assert f"tls pin        {facts['tls_pin']}" in said
        pasted = [*facts["connect"].split()[1:], "--identity", material.identity]
        with Child(*pasted, "--socks5", "127.0.0.1:0", ready=True) as client:
            assert client.facts()["socks5"]
            client.signal(signal.SIGTERM)
            assert client.wait() == 0


def test_two_ways_in_are_two_lines(material: Material) -> None:
    words = [*material.serve("--tls-self-signed"), *TLS]
    with Child(*words, ready=True) as server:
        facts = server.facts()
        assert [url[:6] for url in facts["listen"]] == ["tcp://", "tls://"]
        said = server.hears("one of")
        assert said.count("listening on") == 2


def test_a_new_certificate_by_sighup_and_a_bad_one_that_is_left(
    material: Material, tmp_path: Path
) -> None:
    first, second = (make_certificate(tmp_path, "gw.example.com") for _ in range(2))
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_bytes(first.cert_path.read_bytes())
    key.write_bytes(first.key_path.read_bytes())
    files = ["--tls-cert", str(cert), "--tls-key", str(key)]
    with Child(*serve(material, *files), ready=True) as server:
        assert server.facts()["tls_pin"] == pin_of(first.certificate)
        cert.write_bytes(second.cert_path.read_bytes())
        key.write_bytes(second.key_path.read_bytes())
        server.signal(signal.SIGHUP)
        assert pin_of(second.certificate) in server.hears("certificate reloaded pin=")
        cert.write_text("nonsense")
        server.signal(signal.SIGHUP)
        server.hears("certificate not reloaded")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_without_a_certificate_it_names_the_ways_to_one(material: Material) -> None:
    ended = wraith(*serve(material))
    assert ended.exit_code == 2
    first, second = ended.stderr.splitlines()[-2:]
    assert first == "wraith: a TLS server needs a certificate"
    for option in ("--tls-cert", "--tls-key", "--tls-self-signed"):
        assert option in second


def test_one_that_cannot_be_used_ends_the_program(material: Material, tmp_path: Path) -> None:
    ended = wraith(*serve(material, "--tls-cert", str(tmp_path / "missing")))
    assert ended.exit_code == 1
    assert "wraith: cannot read the TLS certificate in" in ended.stderr
    assert "with its key in" not in ended.stderr, "no other file was named"
    assert "--tls-self-signed" in ended.stderr


def test_sockets_that_were_handed_over_do_not_pretend_to_be_tls(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = material.serve("--transport", "tls", "--tls-self-signed")
    at = words.index("--listen")
    del words[at : at + 2]
    program = (
        "import os, socket, sys\n"
        "sock = socket.create_server(('127.0.0.1', 0))\nos.dup2(sock.fileno(), 3)\n"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
        "sys.argv[0] = 'wraith'\n"
        "from wraith.cli import main; main()\n"
    )
    with Child(*words, command=(sys.executable, "-c", program)) as server:
        ended = server.ends()
    assert ended.exit_code == 2
    assert "the sockets that were handed over serve TCP, not tls" in ended.stderr

"""TLS against other people's programs: OpenSSL, curl, stunnel and a stock `ssh`."""

from __future__ import annotations

import datetime
import shlex
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from interop.peers import socks
from interop.peers.keys import Key
from interop.peers.openssh import ssh_command
from interop.peers.origins import Digest, Echo
from interop.peers.process import Process, wait_until
from interop.peers.proxies import KINDS, Kind, running
from interop.peers.roles import Address, ClientAsk, Pair, ServerAsk, free_port
from interop.peers.stage import Stage, Tunnel
from interop.peers.tools import clean_environment, require_tool
from interop.peers.transfer import MEGABYTE, echo, exchange
from interop.peers.wraith import WraithServer
from tests.support.certificates import DAY, Made, make_certificate

WRAITHS = Pair("wraith", "wraith")
LARGE = 200 * MEGABYTE
NAME = "gw.example.com"


def run(
    stage: Stage,
    *command: str | Path,
    input: bytes = b"",  # noqa: A002
    exit_code: int | None = 0,
) -> str:
    """Run a program to its end; all that it said."""
    ended = subprocess.run(
        [require_tool(str(command[0])), *command[1:]],
        env=clean_environment(stage.home("run")),
        input=input,
        capture_output=True,
        timeout=30,
        check=False,
    )
    said = (ended.stdout + ended.stderr).decode(errors="replace")
    assert exit_code is None or ended.returncode == exit_code, said
    return said


@pytest.fixture
def root(stage: Stage) -> Made:
    """An authority."""
    return make_certificate(stage.home("root"), "root.example", authority=True)


@pytest.fixture
def made(stage: Stage, root: Made) -> Made:
    """A certificate from the authority, for the server's name and address."""
    return make_certificate(stage.home("leaf"), NAME, "127.0.0.1", issuer=root)


def with_files(made: Made) -> ServerAsk:
    files = ["--tls-cert", str(made.cert_path), "--tls-key", str(made.key_path)]
    return ServerAsk(transport="tls", extra=files)


def start(stage: Stage, made: Made, key: Key | None = None, *extra: str) -> WraithServer:
    ask = with_files(made)
    authorized = [(key or stage.key()).public]
    options = [*ask.extra, *extra]
    server = stage.server("wraith", ServerAsk(authorized, transport="tls", extra=options))
    assert isinstance(server, WraithServer)
    return server


# What a tunnel carries


SELF_SIGNED = ServerAsk(transport="tls", extra=["--tls-self-signed"])


def tunnel_pinned(stage: Stage, *extra: str) -> Tunnel:
    """A tunnel to a server with a certificate of its own, started as its line to paste says."""
    key = stage.key()
    server = stage.server(
        "wraith", ServerAsk([key.public], transport="tls", extra=SELF_SIGNED.extra)
    )
    assert isinstance(server, WraithServer)
    words = shlex.split(server.news["connect"])
    pasted = words[words.index("--tls-pin") : words.index("--tls-pin") + 2]
    ask = ClientAsk(extra=["--transport", "tls", *pasted, *extra])
    return Tunnel(server, stage.client("wraith", server, key, ask), key)


def transfer(tunnel: Tunnel, target: Address) -> None:
    with socks.connect(tunnel.client.socks, target) as stream:
        exchange(stream, up=LARGE, down=LARGE)


def works(tunnel: Tunnel, target: Address) -> bool:
    try:
        with socks.connect(tunnel.client.socks, target) as stream:
            echo(stream)
    except (OSError, EOFError, socks.Refused):
        return False
    return True


@pytest.mark.timeout(180)
def test_200_megabytes_each_way_before_and_after_the_server_died(
    stage: Stage, far_digest: Digest, far_echo: Echo
) -> None:
    tunnel = tunnel_pinned(stage)
    transfer(tunnel, far_digest.address)
    tunnel.server.process.kill()
    tunnel.server.start()
    wait_until(lambda: works(tunnel, far_echo.address), 15, "the tunnel is back")
    transfer(tunnel, far_digest.address)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_same_through_a_proxy_that_died(
    stage: Stage, kind: Kind, far_digest: Digest, far_echo: Echo
) -> None:
    proxy = running(stage, kind)
    secret = stage.home("secret") / "proxy"
    secret.write_text(proxy.url() + "\n")
    tunnel = tunnel_pinned(stage, "--proxy", f"@{secret}")
    transfer(tunnel, far_digest.address)
    proxy.process.kill()
    proxy.start()
    wait_until(lambda: works(tunnel, far_echo.address), 15, "the tunnel is back")
    transfer(tunnel, far_digest.address)


def test_a_certificate_from_an_authority(
    stage: Stage, root: Made, made: Made, far_echo: Echo
) -> None:
    key = stage.key()
    server = start(stage, made, key)
    options = ["--transport", "tls", "--tls-ca", str(root.cert_path), "--tls-server-name", NAME]
    client = stage.client("wraith", server, key, ClientAsk(extra=options))
    with socks.connect(client.socks, far_echo.address) as stream:
        echo(stream)


def test_a_new_certificate_by_sighup_under_a_live_session(
    stage: Stage, root: Made, made: Made, far_echo: Echo
) -> None:
    key = stage.key()
    live = stage.home("live")
    for source, name in ((made.cert_path, "cert"), (made.key_path, "key")):
        (live / name).write_bytes(source.read_bytes())
    server = start(stage, Made(made.certificate, made.key, live / "cert", live / "key"), key)
    options = ["--transport", "tls", "--tls-ca", str(root.cert_path), "--tls-server-name", NAME]
    client = stage.client("wraith", server, key, ClientAsk(extra=options))
    with socks.connect(client.socks, far_echo.address) as stream:
        echo(stream)
        renewed = make_certificate(stage.home("renewed"), NAME, "127.0.0.1", issuer=root)
        for source, name in ((renewed.cert_path, "cert"), (renewed.key_path, "key")):
            (live / name).write_bytes(source.read_bytes())
        server.process.signal(signal.SIGHUP)
        server.process.wait_for_log(lambda log: "certificate reloaded" in log)
        serial = f"{renewed.certificate.serial_number:X}"
        shown = run(stage, "openssl", "s_client", "-connect", str(server.address), exit_code=None)
        leaf = run(stage, "openssl", "x509", "-noout", "-serial", input=shown.encode())
        assert serial in leaf
        echo(stream)


# What strangers see


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_finds_a_sound_endpoint(stage: Stage, root: Made, made: Made, version: str) -> None:
    server = start(stage, made, None, "--login-grace", "1")
    said = run(
        stage,
        *("openssl", "s_client", "-ign_eof", "-connect", str(server.address), version),
        *("-CAfile", root.cert_path, "-verify_hostname", NAME, "-servername", NAME),
        "-verify_return_error",
        exit_code=None,  # who does not log in is cut off without a goodbye
    )
    assert "Verification: OK" in said
    assert f"Verified peername: {NAME}" in said
    assert "SSH-2.0-Wraith" in said
    assert "Secure Renegotiation IS supported" in said or version == "-tls1_3"


def test_openssl_is_told_that_its_version_is_too_old(stage: Stage, made: Made) -> None:
    said = run(
        stage,
        *("openssl", "s_client", "-connect", str(start(stage, made).address), "-tls1_1"),
        *("-cipher", "ALL:@SECLEVEL=0"),
        exit_code=1,
    )
    assert "alert protocol version" in said


def test_curl_trusts_by_authority_and_by_pin_and_not_otherwise(
    stage: Stage, root: Made, made: Made
) -> None:
    server = start(stage, made)
    port = server.address.port
    url = f"https://{NAME}:{port}/"
    there = ["--resolve", f"{NAME}:{port}:127.0.0.1", "--http0.9", "--max-time", "5", "-sS"]
    known = ["--cacert", str(root.cert_path)]
    pin = "sha256//" + str(server.news["tls_pin"]).removeprefix("SHA256:") + "="
    for words in (known, ["--insecure", "--pinnedpubkey", pin]):
        assert run(stage, "curl", *there, *words, url, exit_code=None).startswith("SSH-2.0-Wraith")
    run(stage, "curl", *there, url, exit_code=60)
    run(stage, "curl", *there, *known, f"https://127.0.0.2:{port}/", exit_code=7)
    wrong = "sha256//" + "A" * 43 + "="
    run(stage, "curl", *there, "--insecure", "--pinnedpubkey", wrong, url, exit_code=90)


# A stock ssh as the client


@pytest.mark.parametrize("program", ["wraith", "openssl"])
def test_a_stock_ssh_comes_in_by_a_proxy_command(
    stage: Stage, made: Made, far_echo: Echo, program: str
) -> None:
    key = stage.key()
    server = start(stage, made, key)
    bare = {
        "wraith": f"{require_tool('wraith')} stream --raw --server %h:%p --transport tls"
        f" --tls-pin {server.news['tls_pin']}",
        "openssl": f"{require_tool('openssl')} s_client -quiet -verify_quiet -connect %h:%p",
    }
    ssh = ssh_command(server, key, stage.home("ssh"))
    said = run(
        stage,
        *("timeout", "20"),
        *ssh,
        *("-o", f"ProxyCommand={bare[program]}", "-W", str(far_echo.address), "127.0.0.1"),
        input=b"hello through TLS",
    )
    assert "hello through TLS" in said


# Somebody else's TLS in front of somebody else's SSH


def stunnel(stage: Stage, made: Made, target: Address) -> Address:
    """A real stunnel that takes TLS off; its address."""
    home = stage.home("stunnel")
    address = Address("127.0.0.1", free_port())
    config = home / "stunnel.conf"
    config.write_text(
        f"foreground = yes\npid =\ndebug = info\n[ssh]\naccept = {address}\n"
        f"connect = {target}\ncert = {made.cert_path}\nkey = {made.key_path}\n"
    )
    process = stage.process([require_tool("stunnel4"), config])
    process.wait_for_log(lambda log: "Configuration successful" in log)
    return address


@pytest.mark.timeout(180)
def test_wraith_connects_to_an_sshd_behind_stunnel(
    stage: Stage, root: Made, made: Made, far_digest: Digest
) -> None:
    key = stage.key()
    sshd = stage.server("openssh", ServerAsk([key.public]))
    sshd.address = stunnel(stage, made, sshd.address)
    options = ["--transport", "tls", "--tls-ca", str(root.cert_path)]
    client = stage.client("wraith", sshd, key, ClientAsk(extra=options))
    with socks.connect(client.socks, far_digest.address) as stream:
        exchange(stream, up=LARGE, down=LARGE)


# What our client says of other people's servers


def s_server(stage: Stage, made: Made, *options: str) -> Address:
    """A real `openssl s_server`."""
    address = Address("127.0.0.1", free_port())
    files = ["-cert", str(made.cert_path), "-key", str(made.key_path)]
    process = stage.process(
        [require_tool("openssl"), "s_server", "-accept", str(address), *files, "-www", *options]
    )
    process.wait_for_log(lambda log: "ACCEPT" in log)
    return address


def first_attempt(stage: Stage, server: Address, *options: str) -> Process:
    who = ["--identity", str(stage.key().path), "--socks5", "127.0.0.1:0"]
    where = ["--server", str(server), "--transport", "tls"]
    return stage.process([require_tool("wraith"), "connect", *where, *who, *options])


HOUR = datetime.timedelta(hours=1)

BAD: list[tuple[str, dict[str, object], Sequence[str], str, str]] = [
    ("expired", {"begins": -2 * DAY, "ends": -HOUR}, (), "has expired", "--tls-pin"),
    ("early", {"begins": DAY, "ends": 2 * DAY}, (), "is not valid yet", "--tls-pin"),
    ("other name", {}, (), "is not for the name 127.0.0.1", "--tls-server-name"),
    ("old", {}, ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "too old", "--transport tcp"),
]


@pytest.mark.parametrize(
    ("what", "times", "options", "sentence", "option"), BAD, ids=[case[0] for case in BAD]
)
def test_it_ends_with_one_sentence_and_the_option_that_answers(
    stage: Stage,
    root: Made,
    what: str,
    times: dict[str, datetime.timedelta],
    options: Sequence[str],
    sentence: str,
    option: str,
) -> None:
    names = [NAME] if what == "other name" else [NAME, "127.0.0.1"]
    made = make_certificate(stage.home("leaf"), *names, issuer=root, **times)  # type: ignore[arg-type]
    server = s_server(stage, made, *options)
    process = first_attempt(stage, server, "--tls-ca", str(root.cert_path))
    assert process.wait() == 1
    told = process.log.splitlines()[-2:]
    assert told[0].startswith("wraith: ")
    assert sentence in told[0]
    assert option in told[1]


def test_an_unknown_issuer_and_a_plain_sshd(stage: Stage, made: Made) -> None:
    process = first_attempt(stage, s_server(stage, made))
    assert process.wait() == 1
    assert "unknown issuer" in process.log
    assert "--tls-ca" in process.log
    sshd = stage.server("openssh", ServerAsk())
    process = first_attempt(stage, sshd.address)
    assert process.wait() == 1
    assert f"wraith: {sshd.address} does not speak TLS" in process.log
    assert "--transport tcp" in process.log

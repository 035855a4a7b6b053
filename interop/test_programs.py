"""Programs that people have, through the local port.

The web server's name, `only-there.test`, is known to the tunnel's server alone; a story that uses
it shows that the program handed the name over unresolved.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import socks as pysocks

from interop.peers.openssh import ssh_command
from interop.peers.origins import Echo
from interop.peers.roles import Pair, ServerAsk
from interop.peers.stage import Stage, Tunnel
from interop.peers.tools import clean_environment, require_tool
from interop.peers.transfer import echo
from interop.peers.web import PAGE, Web

THERE = "only-there.test"
"""A name that resolves on the server's side of the tunnel and nowhere else."""


@pytest.fixture(scope="module")
def world() -> Iterator[Stage]:
    """One stage for all programs."""
    with Stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def tunnel(world: Stage, pair: Pair) -> Iterator[Tunnel]:
    """One tunnel for all programs, to a server that knows one more name."""
    with Stage() as stage:
        yield stage.tunnel(pair, ServerAsk(hosts={THERE: "127.0.0.1"}))


@pytest.fixture(scope="module")
def web(world: Stage) -> Web:
    return world.enter(Web(world.home("web")))


@pytest.fixture(scope="module")
def page(web: Web) -> str:
    """The URL of a small page, by the name that only the far side knows."""
    return web.url(web.add_page(), THERE)


def run(stage: Stage, *command: str | Path, input: bytes = b"", **env: str) -> bytes:  # noqa: A002
    """Run a program that must succeed, and return its output."""
    ended = subprocess.run(
        [require_tool(str(command[0])), *command[1:]],
        env=clean_environment(stage.home("program"), **env),
        input=input,
        capture_output=True,
        timeout=40,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout


def curl(stage: Stage, *words: str) -> bytes:
    return run(stage, "curl", "--silent", "--show-error", "--fail", "--max-time", "20", *words)


class TestCurl:
    @pytest.mark.parametrize("option", ["--socks5-hostname", "--socks4a"])
    def test_hands_the_name_over(
        self, stage: Stage, tunnel: Tunnel, page: str, option: str
    ) -> None:
        assert curl(stage, option, f"{tunnel.client.socks}", page).decode() == PAGE

    @pytest.mark.parametrize("option", ["--socks5", "--socks4"])
    def test_by_address(self, stage: Stage, tunnel: Tunnel, web: Web, option: str) -> None:
        url = web.url(web.add_page())
        assert curl(stage, option, f"{tunnel.client.socks}", url).decode() == PAGE

    @pytest.mark.pairs(client="wraith")
    @pytest.mark.parametrize("words", [[], ["--proxytunnel"]], ids=["absolute", "connect"])
    def test_by_http(self, stage: Stage, tunnel: Tunnel, page: str, words: list[str]) -> None:
        proxy = f"http://{tunnel.client.socks}"
        assert curl(stage, *words, "-x", proxy, page).decode() == PAGE

    @pytest.mark.pairs(client="wraith")
    def test_by_http_several_pages_on_one_connection(
        self, stage: Stage, tunnel: Tunnel, page: str
    ) -> None:
        proxy = f"http://{tunnel.client.socks}"
        assert curl(stage, "-x", proxy, page, page, page).decode() == PAGE * 3

    @pytest.mark.pairs(client="wraith")
    def test_finds_the_proxy_configuration(self, stage: Stage, tunnel: Tunnel) -> None:
        script = curl(stage, f"http://{tunnel.client.socks}/proxy.pac").decode()
        assert "FindProxyForURL" in script
        assert f"SOCKS5 {tunnel.client.socks}" in script

    def test_downloads_a_big_file(self, stage: Stage, tunnel: Tunnel, web: Web) -> None:
        path, expected = web.add_big_file()
        content = curl(stage, "-x", f"socks5h://{tunnel.client.socks}", web.url(path, THERE))
        assert hashlib.sha256(content).hexdigest() == expected


class TestPythonLibraries:
    def test_pysocks(self, tunnel: Tunnel, far_echo: Echo) -> None:
        with pysocks.socksocket() as stream:
            stream.set_proxy(pysocks.SOCKS5, *tunnel.client.socks, rdns=True)
            stream.settimeout(20)
            stream.connect((THERE, far_echo.address.port))
            echo(stream)

    def test_httpx_by_socks(self, tunnel: Tunnel, page: str) -> None:
        with httpx.Client(proxy=f"socks5h://{tunnel.client.socks}", trust_env=False) as client:
            assert client.get(page).text == PAGE

    @pytest.mark.pairs(client="wraith")
    def test_httpx_by_http(self, tunnel: Tunnel, page: str) -> None:
        with httpx.Client(proxy=f"http://{tunnel.client.socks}", trust_env=False) as client:
            assert client.get(page).text == PAGE

    @pytest.mark.pairs(client="wraith")
    def test_pip_downloads_a_package(self, stage: Stage, tunnel: Tunnel, web: Web) -> None:
        _add_package_index(web)
        into = stage.home("downloads")
        pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"]
        options = ["--proxy", f"http://{tunnel.client.socks}", "--trusted-host", THERE]
        index = ["--index-url", web.url("simple", THERE), "--no-deps", "--no-cache-dir"]
        run(stage, *pip, *options, "download", *index, "-d", f"{into}", "interop-parcel")
        assert [path.name for path in into.iterdir()] == ["interop_parcel-1.0-py3-none-any.whl"]


class TestNetcat:
    def test_nc_carries_a_second_ssh(self, stage: Stage, tunnel: Tunnel) -> None:
        nc = require_tool("nc")
        inner = stage.server("openssh", ServerAsk(authorized=[tunnel.key.public], sessions=True))
        ssh = ssh_command(inner, tunnel.key, stage.home("ssh"))
        through = f"ProxyCommand={nc} -X 5 -x {tunnel.client.socks} %h %p"
        assert run(stage, *ssh, "-o", through, "127.0.0.1", "echo hello") == b"hello\n"

    def test_ncat_by_name(self, stage: Stage, tunnel: Tunnel, far_echo: Echo) -> None:
        proxy = ["--proxy", f"{tunnel.client.socks}", "--proxy-type", "socks5"]
        target = ["--proxy-dns", "remote", THERE, f"{far_echo.address.port}"]
        assert run(stage, "ncat", *proxy, *target, input=b"ncat was here") == b"ncat was here"

    @pytest.mark.pairs(client="wraith")
    def test_ncat_by_http(self, stage: Stage, tunnel: Tunnel, far_echo: Echo) -> None:
        proxy = ["--proxy", f"{tunnel.client.socks}", "--proxy-type", "http"]
        target = [far_echo.address.host, f"{far_echo.address.port}"]
        assert run(stage, "ncat", *proxy, *target, input=b"ncat was here") == b"ncat was here"


def test_git_clones_a_repository(stage: Stage, tunnel: Tunnel, web: Web) -> None:
    if not (web.folder / "repository.git").exists():
        _add_repository(stage, web)
    copy = stage.home("copies") / "copy"
    proxy = f"http.proxy=socks5h://{tunnel.client.socks}"
    run(stage, "git", "-c", proxy, "clone", "-q", web.url("repository.git", THERE), copy)
    assert (copy / "story.txt").read_text() == PAGE


def test_proxychains_forces_a_program_through(stage: Stage, tunnel: Tunnel, page: str) -> None:
    config = stage.home("proxychains") / "proxychains.conf"
    host, port = tunnel.client.socks
    config.write_text(f"strict_chain\nproxy_dns\n[ProxyList]\nsocks5 {host} {port}\n")
    command: list[str | Path] = [
        "proxychains4",
        "-q",
        "-f",
        config,
        require_tool("curl"),
        "-sSf",
        page,
    ]
    assert run(stage, *command).decode() == PAGE


@pytest.mark.pairs(client="wraith", server="wraith")
def test_stream_carries_a_second_ssh(stage: Stage, tunnel: Tunnel) -> None:
    """`wraith stream` as a ProxyCommand: no local port at all."""
    inner = stage.server("openssh", ServerAsk(authorized=[tunnel.key.public], sessions=True))
    ssh = ssh_command(inner, tunnel.key, stage.home("ssh"))
    stream = f"{require_tool('wraith')} stream --server {tunnel.server.address}"
    trust = f"-i {tunnel.key.path} --host-key {tunnel.server.host_key.fingerprint}"
    through = f"ProxyCommand={stream} {trust} --user {os.environ.get('USER', 'me')} %h:%p"
    assert run(stage, *ssh, "-o", through, "127.0.0.1", "echo hello") == b"hello\n"


def _add_repository(stage: Stage, web: Web) -> None:
    source = stage.home("source")
    identity = ["-c", "user.name=Interop", "-c", "user.email=interop@example.invalid"]
    git = ["git", "-C", f"{source}", *identity]
    (source / "story.txt").write_text(PAGE)
    run(stage, *git, "init", "-q", "-b", "main")
    run(stage, *git, "add", "story.txt")
    run(stage, *git, "commit", "-q", "-m", "A story")
    bare = web.folder / "repository.git"
    run(stage, "git", "clone", "-q", "--bare", source, bare)
    run(stage, "git", "-C", bare, "update-server-info")


def _add_package_index(web: Web) -> None:
    wheel = "interop_parcel-1.0-py3-none-any.whl"
    folder = web.folder / "simple" / "interop-parcel"
    folder.mkdir(parents=True, exist_ok=True)
    info = "interop_parcel-1.0.dist-info"
    with zipfile.ZipFile(folder / wheel, "w") as parcel:
        parcel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: interop-parcel\nVersion: 1.0\n"
        )
        parcel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        parcel.writestr(f"{info}/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>\n')

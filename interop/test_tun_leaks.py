"""`wraith-tun` for a whole machine: what goes out while it runs, and after it was killed."""

from __future__ import annotations

import os
import time
from signal import SIGKILL

import pytest

from interop.peers.process import Process, wait_until
from interop.peers.tools import require_tool
from interop.peers.uplink import (
    DIRECT,
    FAR,
    FAR4,
    FAR6,
    HOST,
    KNOWN_TO_ALL,
    ONLY_THERE,
    SERVER,
    Start,
    Uplink,
    engine_of,
    gone,
)

pytestmark = pytest.mark.timeout(180)


# Some of everything, every few milliseconds, without end. Sockets stay open as long as they can:
# what goes out must not depend on what was there when they were made.
CHATTER = """
import socket, sys, time
QUERY = bytes.fromhex("beef01000001000000000000046c65616b04746573740000010001")
open_sockets = {}
def say(kind, host, port, what):
    key = kind, host, port
    try:
        if key not in open_sockets:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            open_sockets[key] = socket.socket(family, kind)
            open_sockets[key].setblocking(False)
            open_sockets[key].connect((host, port))
        open_sockets[key].send(what)
    except BlockingIOError:
        pass
    except OSError:
        if kind == socket.SOCK_STREAM:
            open_sockets.pop(key).close()
while True:
    for host in ("198.51.100.9", "2001:db8::9"):
        say(socket.SOCK_STREAM, host, 80, b"GET ")
        say(socket.SOCK_DGRAM, host, 123, bytes(48))
    for host in ("192.168.77.1", "9.9.9.9", "2001:db8::53"):
        say(socket.SOCK_DGRAM, host, 53, QUERY)
    print("round", flush=True)
    time.sleep(0.005)
"""


def chatter(uplink: Uplink) -> Process:
    """Somebody who never stops talking."""
    talking = uplink.start(HOST, "python3", "-c", CHATTER)
    listen(talking, 20)
    return talking


def listen(talking: Process, rounds: int) -> None:
    """Wait until it has talked so many rounds more."""
    until = talking.log.count("round") + rounds
    talking.wait_for_log(lambda log: log.count("round") >= until)


# A page that looks for its own address as games and calls do (WebRTC, RFC 8828), with a STUN server
# by address; its sockets are bound to the addresses of the machine.
PAGE = """
<body><script>
const servers = ["stun:198.51.100.9:3478", "stun:[2001:db8::9]:3478"].map(urls => ({urls}));
const call = new RTCPeerConnection({iceServers: servers});
call.createDataChannel("");
call.createOffer().then(offer => call.setLocalDescription(offer));
fetch("http://198.51.100.9/", {mode: "no-cors"}).then(() => document.body.append("fetched"));
</script>
"""


# It answers nobody, and tells who asked.
STUN = """
import socket
ear = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
ear.bind(("::", 3478))
print("up", flush=True)
while True:
    print("from", ear.recvfrom(2000)[1][0].removeprefix("::ffff:"), flush=True)
"""


def browse(uplink: Uplink, url: str) -> str:
    """What Chromium makes of a page, with DNS over HTTPS, QUIC and everything else as it comes."""
    options = "--headless --no-sandbox --disable-gpu --virtual-time-budget=4000 --dump-dom"
    profile = uplink.stage.home("chromium")
    program = f"timeout 40 {require_tool('chromium')} {options} --user-data-dir={profile}"
    return uplink.sh(f"{program} '{url}'", fails=True)


def page(uplink: Uplink) -> str:
    """The address of the page above."""
    path = uplink.stage.folder / "page.html"
    path.write_text(PAGE)
    return f"file://{path}"


def seen_by_stun(uplink: Uplink) -> str:
    """Who asked the STUN server for that page. A browser may be gone before it gets to that."""
    server = uplink.start(FAR, "python3", "-c", STUN)
    server.wait_for_log(lambda log: "up" in log)
    for _ in range(5):
        assert "fetched" in browse(uplink, page(uplink))
        if "from" in server.log:
            break
    server.kill()
    assert "from" in server.log
    return server.log


class TestNothingLeaks:
    def browse(self, uplink: Uplink) -> None:
        uplink.sh(f"dig +short +tries=1 +time=2 {ONLY_THERE} leak.test @192.168.77.1", fails=True)
        uplink.sh("dig +short +tries=1 +time=2 leak.test @8.8.8.8", fails=True)
        uplink.sh("getent ahosts leak.test; getent hosts 198.51.100.9", fails=True)
        uplink.sh("dig +short +tries=1 +time=1 -p 123 leak.test @198.51.100.9", fails=True)
        for host in (FAR4, FAR6, ONLY_THERE):
            uplink.page(host)

    def test_while_somebody_browses(self, uplink: Uplink, start: Start) -> None:
        start()
        with uplink.capture() as leaked:
            self.browse(uplink)
            assert uplink.tunnelled(ONLY_THERE)
        assert leaked == []

    def test_a_browser_with_its_own_ways(self, uplink: Uplink, start: Start) -> None:
        start()
        with uplink.capture() as leaked:
            assert "198.51.100" in browse(uplink, f"http://{ONLY_THERE}/")
            seen = seen_by_stun(uplink)
        assert leaked == []
        assert not any(f"from {address}" in seen for address in DIRECT)

    def test_the_capture_does_see_what_goes_out(self, uplink: Uplink) -> None:
        """Else the stories above and below would prove nothing."""
        with uplink.capture() as leaked:
            browse(uplink, f"http://{KNOWN_TO_ALL}/")
            assert f"from {DIRECT[0]}" in seen_by_stun(uplink)
        for there in (f"{FAR4}.3478", "192.168.77.1.53", f"{SERVER}.80"):
            assert any(f" > {there}: " in line for line in leaked), there
        talking = chatter(uplink)
        with uplink.capture() as leaked:
            listen(talking, 20)
        talking.kill()
        for port in (53, 80, 123):
            assert any(f".{port}: " in line for line in leaked), port

    def test_one_command_in_a_network_of_its_own(self, uplink: Uplink, start: Start) -> None:
        """Neither it nor the half that stays outside, nor what a killed one leaves behind."""
        script = f'curl -sS http://{ONLY_THERE}/; dig +short leak.test; exec "$@"'
        shim, talk = require_tool("wraith-tun"), ["python3", "-c", CHATTER]
        with uplink.capture() as leaked:
            command = uplink.start(HOST, shim, "--unshare", "--", "sh", "-c", script, "sh", *talk)
            command.wait_for_log(lambda log: log.count("round") > 20)
            assert command.log.startswith("198.51.100")
            command.signal(SIGKILL)
            command.wait()
        assert leaked == []


class TestTheKillSwitch:
    def closed(self, uplink: Uplink) -> None:
        with uplink.capture() as leaked:
            for host in (FAR4, FAR6, ONLY_THERE):
                assert uplink.page(host) == ""
            uplink.sh("dig +tries=1 +time=1 leak.test", fails=True)
            uplink.sh("ping -c1 -W1 198.51.100.9; ping -c1 -W1 2001:db8::9", fails=True)
            uplink.sh(f"curl -sS --max-time 2 --interface {DIRECT[0]} http://{FAR4}/", fails=True)
        assert leaked == []

    @pytest.mark.parametrize("victim", ["engine", "janitor", "both"])
    def test_holds_when_one_half_or_both_are_killed(
        self, uplink: Uplink, start: Start, victim: str
    ) -> None:
        shim = start("--kill-switch")
        assert uplink.tunnelled(FAR4)
        engine = engine_of(shim)
        os.kill({"engine": engine, "janitor": shim.pid, "both": shim.pid}[victim], SIGKILL)
        if victim == "both":
            os.kill(engine, SIGKILL)
        shim.wait()
        gone(engine)
        self.closed(uplink)
        uplink.sh(f"{require_tool('wraith-tun')} --restore")
        assert uplink.page(FAR4) == DIRECT[0]

    @pytest.mark.parametrize("victim", ["engine", "janitor", "both"])
    def test_has_no_gap_when_it_is_killed(self, uplink: Uplink, start: Start, victim: str) -> None:
        shim = start("--kill-switch")
        engine, talking = engine_of(shim), chatter(uplink)
        with uplink.capture() as leaked:
            listen(talking, 20)
            for each, pid in (("janitor", shim.pid), ("engine", engine)):
                if victim in (each, "both"):
                    os.kill(pid, SIGKILL)
            shim.wait()
            gone(engine)
            listen(talking, 100)
        talking.kill()
        uplink.sh(f"{require_tool('wraith-tun')} --restore")
        assert leaked == []

    def test_holds_for_a_browser(self, uplink: Uplink, start: Start) -> None:
        start("--kill-switch").kill()
        with uplink.capture() as leaked:
            assert "198.51.100" not in browse(uplink, f"http://{ONLY_THERE}/")
            browse(uplink, page(uplink))
        uplink.sh(f"{require_tool('wraith-tun')} --restore")
        assert leaked == []

    @pytest.mark.parametrize("options", [["--kill-switch"], []])
    def test_holds_while_the_tunnel_is_down(
        self, uplink: Uplink, start: Start, options: list[str]
    ) -> None:
        """And so does the device itself, without it."""
        start(*options)
        talking = chatter(uplink)
        try:
            with uplink.capture() as leaked:
                uplink.connect.kill()
                listen(talking, 100)
            assert leaked == []
            talking.kill()
            self.closed(uplink)
        finally:
            uplink.start_client()
        assert uplink.tunnelled(FAR4)

    def test_is_opened_by_the_next_start_with_no_gap(self, uplink: Uplink, start: Start) -> None:
        start("--kill-switch").kill()
        asking = uplink.start(
            HOST, "sh", "-c", f"while :; do curl -sS --max-time 1 http://{FAR4}/; done"
        )
        with uplink.capture() as leaked:
            start("--kill-switch")
            wait_until(lambda: "198.51.100" in asking.log, 10, "it goes through again")
        asking.kill()
        assert leaked == []
        assert DIRECT[0] not in asking.log

    def test_ends_with_a_clean_stop(self, uplink: Uplink, start: Start) -> None:
        assert start("--kill-switch").stop() == 0
        assert uplink.page(FAR4) == DIRECT[0]


class TestKilled:
    """With kill -9, at ten different moments: five while it starts, five while it works."""

    def start_and_wait(self, uplink: Uplink, moment: int, *options: str) -> Process:
        shim = uplink.start(HOST, require_tool("wraith-tun"), *options)
        if moment < 5:
            time.sleep(0.06 + 0.05 * moment)
        else:
            shim.wait_for_log(lambda log: "wraith-tun: up" in log)
            time.sleep(0.05 * (moment - 5))
        return shim

    def kill(self, shim: Process, *victims: int) -> None:
        family = shim.family()
        for pid in victims or family:
            os.kill(pid, SIGKILL)
        shim.wait()
        for pid in family:
            gone(pid)

    def is_open(self, uplink: Uplink) -> bool:
        """All is as usual; or nothing is."""
        found = (
            uplink.page(FAR4),
            uplink.page(FAR6),
            uplink.sh(f"dig +short {KNOWN_TO_ALL}", fails=True),
        )
        if found == (*DIRECT, f"{SERVER}\n"):
            return True
        assert found[:2] == ("", "")
        assert SERVER not in found[2]
        return False

    def mend(self, start: Start, uplink: Uplink, moment: int, *options: str) -> None:
        """Each way in its turn."""
        if moment % 2:
            uplink.sh(f"{require_tool('wraith-tun')} --restore")
        else:
            assert start(*options).stop() == 0

    @pytest.mark.parametrize("moment", range(10))
    def test_all_of_it(self, uplink: Uplink, start: Start, moment: int) -> None:
        before = uplink.state()
        self.kill(self.start_and_wait(uplink, moment))
        assert self.is_open(uplink)
        self.mend(start, uplink, moment)
        assert uplink.state() == before

    @pytest.mark.parametrize("moment", range(10))
    def test_all_of_it_with_the_kill_switch(
        self, uplink: Uplink, start: Start, moment: int
    ) -> None:
        before = uplink.state()
        shim = self.start_and_wait(uplink, moment, "--kill-switch")
        self.kill(shim)
        closed = not self.is_open(uplink)
        assert closed or "up" not in shim.log
        self.mend(start, uplink, moment, "--kill-switch")
        assert self.is_open(uplink)
        assert uplink.state() == before

    @pytest.mark.parametrize("moment", range(10))
    def test_the_janitor(self, uplink: Uplink, start: Start, moment: int) -> None:
        before = uplink.state()
        shim = self.start_and_wait(uplink, moment)
        self.kill(shim, shim.pid)
        assert self.is_open(uplink)
        self.mend(start, uplink, moment)
        assert uplink.state() == before

    @pytest.mark.parametrize("moment", range(5, 10))
    def test_the_engine_and_the_janitor_clears_up(
        self, uplink: Uplink, start: Start, moment: int
    ) -> None:
        before = uplink.state()
        shim = self.start_and_wait(uplink, moment)
        self.kill(shim, engine_of(shim))
        assert shim.exit_code == 1
        assert shim.log.endswith("wraith-tun: the engine has ended\n")
        assert uplink.state() == before
        assert self.is_open(uplink)

    def test_the_device_is_removed_by_somebody(self, uplink: Uplink, start: Start) -> None:
        shim = start()
        uplink.sh("ip link del wraith0")
        assert shim.wait() == 1
        assert uplink.page(FAR4) == DIRECT[0]

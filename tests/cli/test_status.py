"""`wraith status` and the live line: the words, and the commands themselves."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.support.command import Child, Material, wraith
from wraith.cli.live_line import Rates
from wraith.cli.wording import amount, duration, headline, live_line, table
from wraith.client.status import InterfaceStatus, Status

UP = Status(
    state="connected",
    since=192,
    server="gw:22",
    transport="iroh",
    path="direct",
    round_trip=0.01234,
    channels=1,
    reason="",
    retry_in=None,
    interfaces=(
        InterfaceStatus("socks5", "127.0.0.1:1080", 1, 12, 1500, 2_000_000),
        InterfaceStatus("remote-forward", "127.0.0.1:8080", 0, 3, 10, 20),
    ),
)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (312_400_000, "312 MB"), (1e18, "1000.0 PB")],
)
def test_amounts(count: float, text: str) -> None:
    assert amount(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0s"), (59, "59s"), (192, "3m 12s"), (7500, "2h 5m"), (349_200, "4d 1h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_session_in_one_line() -> None:
    assert headline(UP) == "connected 3m 12s · iroh direct gw:22 · 12.3 ms · 1 channel"
    assert live_line(UP, 1200, 0).endswith(" · 1 channel · ↑ 1.2 kB/s ↓ 0 B/s")
    down = dataclasses.replace(
        UP, state="waiting", since=1, path="", round_trip=None, reason="no way", retry_in=4.0
    )
    assert headline(down) == "waiting 1s · iroh gw:22 · no way · next attempt in 3s"


def test_what_goes_up_and_down_over_all_interfaces() -> None:
    assert UP.traffic == (1500 + 20, 2_000_000 + 10)
    rates = Rates()
    assert rates.since_last(0, 0, 1.0) == (0, 0)
    assert rates.since_last(100, 50, 3.0) == (50, 25)
    assert rates.since_last(100, 50, 3.0) == (0, 0)


def test_a_line_for_each_interface() -> None:
    assert table(UP) == [
        "interface       listens on      open  in all      in     out",
        "socks5          127.0.0.1:1080     1      12  1.5 kB  2.0 MB",
        "remote-forward  127.0.0.1:8080     0       3    10 B    20 B",
    ]


def test_without_a_client_it_says_how_to_start_one() -> None:
    ended = wraith("status")
    assert ended.exit_code == 1
    assert "no client of this user is running" in ended.stderr
    assert "wraith connect" in ended.stderr


def test_it_shows_what_a_running_client_says(material: Material) -> None:
    with Child(*material.serve(), ready=True) as server:
        connect = material.connect(server.facts(), "-L", "0:127.0.0.1:9")
        with Child(*connect, ready=True) as client:
            facts = client.facts()
            shown = wraith("status")
            assert shown.exit_code == 0, shown.stderr
            assert f"[{client.process.pid}] connected" in shown.stdout
            assert facts["socks5"] in shown.stdout
            said = json.loads(wraith("status", "--json").stdout)
            assert (said["pid"], said["state"]) == (client.process.pid, "connected")
            assert [each["kind"] for each in said["interfaces"]] == ["socks5", "forward"]
            client.signal(signal.SIGTERM)
            assert client.wait() == 0
            assert wraith("status").exit_code == 1
            assert not os.path.exists(os.environ["WRAITH_RUNTIME_DIR"])


def test_a_terminal_has_one_live_line_and_the_log_above_it(material: Material) -> None:
    with Child(*material.serve(), ready=True) as server:
        ours, theirs = pty.openpty()
        client = subprocess.Popen(
            [sys.executable, "-m", "wraith", *material.connect(server.facts())],
            env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        try:
            seen = b""
            deadline = time.monotonic() + 30
            while b"connected 1s" not in seen and time.monotonic() < deadline:
                if select.select([ours], [], [], 1)[0]:
                    seen += os.read(ours, 65536)
            text = seen.decode()
            assert "connected 1s · tcp 127.0.0.1:" in text
            assert "\x1b[2KSOCKS5 proxy" in text, "what is said takes the line's place"
            assert "INFO session connected" in text
            client.send_signal(signal.SIGINT)
            while select.select([ours], [], [], 10)[0]:
                try:
                    if not os.read(ours, 65536):
                        break
                except OSError:  # the terminal's other side is closed
                    break
            assert client.wait(10) == 0
        finally:
            if client.poll() is None:
                client.kill()
                client.wait()
            os.close(ours)

"""`wraith serve --workers`: several processes that a stock `ssh` cannot tell from one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from interop.peers import socks
from interop.peers.bus import next_payloads, on_the_bus, settled
from interop.peers.keys import Key
from interop.peers.openssh import ssh_command
from interop.peers.origins import Digest, Echo
from interop.peers.process import DidNotStart, Process, descendants, wait_until
from interop.peers.redis import Redis
from interop.peers.roles import Address, Client, ClientAsk, Server, ServerAsk, free_port
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool
from interop.peers.transfer import MEGABYTE, echo, exchange, open_stream

LINE = re.compile(r"^\S+ \S+ (?P<level>[A-Z]+) (?P<event>.+?) (?P<fields>\w+=.*)$", re.MULTILINE)


def a_server(
    stage: Stage, key: Key, *extra: str, workers: int = 2, transport: str = "tcp"
) -> Server:
    ask = ServerAsk(
        authorized=[key.public], transport=transport, extra=["--workers", str(workers), *extra]
    )
    return stage.server("wraith", ask)


def told(server: Server, event: str) -> list[dict[str, str]]:
    """What the log says of an event: the fields of each line."""
    return [
        dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', line["fields"]))
        for line in LINE.finditer(server.process.log)
        if line["event"] == event
    ]


def accepted(server: Server) -> Counter[str]:
    """How many sessions each worker has taken."""
    return Counter(
        line["worker"] for line in told(server, "auth attempt") if line["result"] == "accept"
    )


def workers_of(server: Server) -> dict[str, int]:
    """The processes of the workers that were started last, by their numbers."""
    return {line["worker"]: int(line["pid"]) for line in told(server, "worker ready")}


def worker_of(server: Server, client: int) -> str:
    """The worker that took the client with this number, in the order in which they came."""
    lines = [line for line in told(server, "auth attempt") if line["result"] == "accept"]
    return lines[client]["worker"]


def is_turned_away(server: Server, key: Key, home: Path) -> bool:
    """Whether a stock `ssh` gets no session."""
    words = [str(word) for word in ssh_command(server, key, home)]
    ended = subprocess.run(
        [*words, "-W", "127.0.0.1:9", server.address.host],
        env=clean_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return b"kex_exchange_identification" in ended.stderr or b"Connection closed" in ended.stderr


def is_open(client: Client, far: Echo) -> bool:
    try:
        with socks.connect(client.socks, far.address) as stream:
            echo(stream)
    except (OSError, EOFError, socks.Refused):  # a stock `ssh` ends the stream without a reply
        return False
    return True


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class TestSharing:
    def test_sessions_are_spread_evenly(self, stage: Stage, far_echo: Echo) -> None:
        key = stage.key()
        server = a_server(stage, key)
        clients = [stage.client("openssh", server, key) for _ in range(4)]
        assert all(is_open(client, far_echo) for client in clients)
        assert accepted(server) == {"1": 2, "2": 2}

    def test_a_worker_that_lost_its_sessions_gets_the_next_ones(self, stage: Stage) -> None:
        key = stage.key()
        server = a_server(stage, key)
        first, _second = (stage.client("openssh", server, key) for _ in range(2))
        freed = worker_of(server, 0)
        first.stop()
        wait_until(lambda: told(server, "connection closed") != [], 10, "it was noticed")
        stage.client("openssh", server, key)
        assert worker_of(server, 2) == freed

    def test_port_0_is_one_port_for_both_families_and_all_workers(self, stage: Stage) -> None:
        key, home = stage.key(), stage.home("serve")
        authorized = home / "authorized_keys"
        authorized.write_text(key.public + "\n")
        authorized.chmod(0o600)
        process = stage.process(
            [
                *(require_tool("wraith"), "serve", "--workers", "3", "--listen", ":0"),
                *("--authorized-keys", authorized, "--key", home / "host"),
            ]
        )
        log = process.wait_for_log(lambda log: "On the other machine" in log)
        ports = set(re.findall(r"listening on   tcp://\S+:(\d+)", log))
        assert len(ports) == 1
        assert "0" not in ports
        assert "(new)" in log
        assert process.stop() == 0

    def test_bytes_are_right_through_both(self, stage: Stage, far_digest: Digest) -> None:
        key = stage.key()
        server = a_server(stage, key)
        for _ in range(2):
            client = stage.client("openssh", server, key)
            with socks.connect(client.socks, far_digest.address) as stream:
                exchange(stream, up=5 * MEGABYTE, down=5 * MEGABYTE)
        assert accepted(server) == {"1": 1, "2": 1}

    def test_no_secret_is_in_arguments_or_environment(self, stage: Stage) -> None:
        key, home = stage.key(), stage.home("secrets")
        proxy = home / "proxy"
        proxy.write_text("socks5://somebody:very-secret@127.0.0.1:9")
        server = a_server(stage, key, "--proxy", f"@{proxy}")
        for pid in server.process.family():
            for name in ("cmdline", "environ"):
                assert b"very-secret" not in Path(f"/proc/{pid}/{name}").read_bytes()

    def test_tls_and_stealth(self, stage: Stage, far_echo: Echo) -> None:
        key, home = stage.key(), stage.home("secret")
        secret = home / "secret"
        secret.write_text("c2l4dGVlbiBieXRlcyBhdCBsZWFzdCBmb3IgdGhpcw==\n")
        secret.chmod(0o600)
        hidden = ("--tls-self-signed", "--stealth-secret", str(secret))
        server = a_server(stage, key, *hidden, transport="tls")
        pin = server.news["tls_pin"]  # type: ignore[attr-defined]
        proves = ["--transport", "tls", "--tls-pin", pin, "--stealth-secret", str(secret)]
        for _ in range(4):
            client = stage.client("wraith", server, key, ClientAsk(extra=proves))
            assert is_open(client, far_echo)
        assert sum(accepted(server).values()) == 4
        assert set(accepted(server)) == {"1", "2"}

    def test_a_socket_of_systemd(self, stage: Stage, far_echo: Echo) -> None:
        key, home = stage.key(), stage.home("serve")
        authorized = home / "authorized_keys"
        authorized.write_text(key.public + "\n")
        authorized.chmod(0o600)
        begin = (
            "import os, socket, sys\n"
            "sock = socket.create_server(('127.0.0.1', 0), backlog=100)\n"
            "os.dup2(sock.fileno(), 3)\n"
            "os.set_inheritable(3, True)\n"  # it may have been 3 before
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n"
        )
        process = stage.process(
            [
                *(require_tool("python3"), "-c", begin, require_tool("wraith"), "serve"),
                *("--workers", "2", "--authorized-keys", authorized, "--key", home / "host"),
            ]
        )
        log = process.wait_for_log(lambda log: "On the other machine" in log)
        port = int(re.findall(r"listening on   tcp://127.0.0.1:(\d+)", log)[0])
        for _ in range(2):
            assert _greeting(port).startswith(b"SSH-2.0-Wraith")
        assert process.stop() == 0


def _greeting(port: int) -> bytes:
    with open_stream(Address("127.0.0.1", port)) as stream:
        return stream.recv(100)


class TestLimits:
    def test_connections_of_an_address_are_counted_over_all_workers(self, stage: Stage) -> None:
        key = stage.key()
        server = a_server(stage, key, "--max-connections-per-ip", "3")
        clients = [stage.client("openssh", server, key) for _ in range(3)]
        assert is_turned_away(server, key, stage.home("ssh"))
        assert told(server, "connection refused")[-1]["reason"] == "max-connections-per-ip"

        clients[0].stop()
        wait_until(lambda: told(server, "connection closed") != [], 10, "it was noticed")
        stage.client("openssh", server, key)

    def test_strangers_of_an_address_are_counted_over_all_workers(self, stage: Stage) -> None:
        server = a_server(stage, stage.key(), "--max-startups-per-ip", "3")
        strangers = [stage.enter(open_stream(server.address)) for _ in range(3)]
        assert all(stranger.recv(100).startswith(b"SSH-2.0-") for stranger in strangers)
        with open_stream(server.address) as one_more:
            assert one_more.recv(100) == b""
        assert told(server, "connection refused")[-1]["reason"] == "max-startups-per-ip"

    def test_what_a_worker_held_is_given_back_when_it_dies(
        self, stage: Stage, far_echo: Echo
    ) -> None:
        key = stage.key()
        server = a_server(stage, key, "--max-connections-per-ip", "2")
        clients = [stage.client("openssh", server, key) for _ in range(2)]
        assert is_turned_away(server, key, stage.home("ssh"))

        os.kill(workers_of(server)[worker_of(server, 0)], signal.SIGKILL)
        clients[0].process.wait()
        wait_until(lambda: told(server, "worker ended") != [], 10, "it was noticed")
        newcomer = stage.client("openssh", server, key)
        assert is_open(newcomer, far_echo)
        assert is_open(clients[1], far_echo)

    def test_a_hidden_server_counts_who_proves_the_secret(self, stage: Stage) -> None:
        key, home = stage.key(), stage.home("secret")
        secret = home / "secret"
        secret.write_text("c2l4dGVlbiBieXRlcyBhdCBsZWFzdCBmb3IgdGhpcw==\n")
        secret.chmod(0o600)
        hidden = ("--tls-self-signed", "--stealth-secret", str(secret))
        server = a_server(stage, key, *hidden, "--max-connections-per-ip", "2", transport="tls")
        pin = server.news["tls_pin"]  # type: ignore[attr-defined]
        proves = ["--transport", "tls", "--tls-pin", pin, "--stealth-secret", str(secret)]
        for _ in range(2):
            stage.client("wraith", server, key, ClientAsk(extra=proves))
        third = stage.process(
            [
                *(require_tool("wraith"), "connect", "--server", str(server.address), *proves),
                *("--identity", key.path, "--host-key", server.host_key.fingerprint),
                *("--socks5", "127.0.0.1:0"),
            ]
        )
        refused = "max-connections-per-ip"
        wait_until(
            lambda: any(line["reason"] == refused for line in told(server, "connection refused")),
            15,
            "it was turned away",
        )
        third.kill()


class TestBus:
    def test_an_event_at_one_worker_is_heard_at_another_and_has_no_echo(self, stage: Stage) -> None:
        key = stage.key()
        server = a_server(stage, key)

        async def story() -> None:
            async with on_the_bus(server, key) as one, on_the_bus(server, key) as two:
                heard, own = one.subscribe("a:"), two.subscribe("a:")
                await settled(two, one)
                for number in range(1000):
                    two.dispatch("a", "", number)
                assert await next_payloads(heard, 1000) == list(range(1000))
                one.dispatch("a", "", "from the other side")
                assert await next_payloads(own, 1) == ["from the other side"]

        asyncio.run(story())
        assert accepted(server) == {"1": 1, "2": 1}

    def test_the_identity_that_is_meant_is_found_at_any_worker(self, stage: Stage) -> None:
        key = stage.key()
        server = a_server(stage, key)

        async def story() -> None:
            topic = f"direct:{key.fingerprint}"
            async with on_the_bus(server, key) as one, on_the_bus(server, key) as two:
                events = one.subscribe(topic)
                await settled(two, one)
                two.dispatch("direct", key.fingerprint, "for you")
                assert await next_payloads(events, 1) == ["for you"]

        asyncio.run(story())

    def test_with_redis_events_reach_all_workers_of_all_servers_once(self, stage: Stage) -> None:
        key, redis = stage.key(), Redis(stage)
        here, there = (a_server(stage, key, "--bus", redis.url) for _ in range(2))

        async def story() -> None:
            async with contextlib.AsyncExitStack() as stack:
                speaker, near, far, farther = [
                    await stack.enter_async_context(on_the_bus(server, key))
                    for server in (here, here, there, there)
                ]
                heard = [target.subscribe("a:") for target in (near, far, farther)]
                await settled(speaker, near, far, farther)
                for number in range(300):
                    speaker.dispatch("a", "", number)
                for events in heard:
                    assert await next_payloads(events, 300) == list(range(300))

                redis.kill()
                speaker.dispatch("a", "", "nearby")
                assert await next_payloads(heard[0], 1) == ["nearby"], "without Redis, too"
                redis.start()
                await settled(speaker, far, farther)
                speaker.dispatch("a", "", "everywhere")
                for events in heard:
                    last = await next_payloads(events, 1)
                    while last[-1] != "everywhere":
                        last += await next_payloads(events, 1)

        asyncio.run(story())
        for server in (here, there):
            assert accepted(server) == {"1": 1, "2": 1}
            links = [line for line in server.process.log.splitlines() if "bus link made" in line]
            assert links, "the parent is the client of Redis"
            assert not any("worker=" in line for line in links)

    def test_a_worker_that_does_not_take_its_events_costs_a_bounded_memory(
        self, stage: Stage
    ) -> None:
        key = stage.key()
        server = a_server(stage, key)

        async def story() -> None:
            async with (
                on_the_bus(server, key) as one,
                on_the_bus(server, key) as two,
                on_the_bus(server, key),
                on_the_bus(server, key) as beside,
            ):
                heard: list[Any] = []
                one.add_listener("a:", lambda event: heard.append(event.payload[0]))
                await settled(two, one, beside)
                asleep = workers_of(server)[worker_of(server, 0)]
                before = server.process.holdings().memory
                os.kill(asleep, signal.SIGSTOP)
                try:
                    async with asyncio.timeout(25):  # below the silence that ends a worker
                        for number in range(200):
                            two.dispatch("a", "", [number, "x" * 64_000])
                            if number % 8 == 7:  # half of what may wait at the speaker
                                await settled(two, beside)
                    grown = server.process.holdings().memory - before
                finally:
                    os.kill(asleep, signal.SIGCONT)
                assert grown < 24 * 1024, "KiB: 8 MiB wait, and the buffers around them"
                await asyncio.to_thread(_hears, server, "bus gap")
                two.dispatch("a", "", ["last"])
                async with asyncio.timeout(15):
                    while heard[-1:] != ["last"]:
                        await asyncio.sleep(0.01)
                assert heard[:-1] == list(range(len(heard) - 1)), "in order, without holes"
                assert 100 < len(heard) < 195

        asyncio.run(story())


def _hears(server: Server, text: str) -> None:
    server.process.wait_for_log(lambda log: text in log)


class TestLifeAndDeath:
    def test_a_killed_worker_takes_its_own_sessions_only_and_comes_back(
        self, stage: Stage, far_echo: Echo
    ) -> None:
        key = stage.key()
        server = a_server(stage, key)
        clients = [stage.client("openssh", server, key) for _ in range(2)]
        lost = worker_of(server, 0)
        before = workers_of(server)
        with socks.connect(clients[1].socks, far_echo.address) as living:
            os.kill(before[lost], signal.SIGKILL)
            clients[0].process.wait()
            wait_until(lambda: workers_of(server)[lost] != before[lost], 15, "it came back")
            echo(living)
        ended = told(server, "worker ended")[0]
        assert (ended["worker"], ended["exit"], ended["restart_in"]) == (lost, "SIGKILL", "0.5")
        assert is_open(stage.client("openssh", server, key), far_echo)
        assert worker_of(server, 2) == lost

    def test_while_no_worker_is_there_connections_wait(self, stage: Stage, far_echo: Echo) -> None:
        key = stage.key()
        server = a_server(stage, key)
        for pid in workers_of(server).values():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(told(server, "worker ended")) == 2, 10, "both are gone")
        assert is_open(stage.client("openssh", server, key), far_echo)

    def test_a_worker_that_is_asked_to_end_is_replaced_at_once(
        self, stage: Stage, far_echo: Echo
    ) -> None:
        key = stage.key()
        server = a_server(stage, key)
        before = workers_of(server)
        os.kill(before["1"], signal.SIGTERM)
        wait_until(lambda: workers_of(server)["1"] != before["1"], 15, "another took its place")
        ended = told(server, "worker ended")[0]
        assert (ended["exit"], ended["restart_in"]) == ("0", "0")
        assert workers_of(server)["2"] == before["2"]

    def test_a_killed_parent_leaves_nothing(self, stage: Stage) -> None:
        key = stage.key()
        server = a_server(stage, key)
        client = stage.client("openssh", server, key)
        stuck, *others = workers_of(server).values()
        os.kill(stuck, signal.SIGSTOP)
        server.process.signal(signal.SIGKILL)
        server.process.wait()
        wait_until(lambda: all(map(is_gone, [stuck, *others])), 10, "they ended with it")
        client.process.wait()
        server.start()  # the port is free

    def test_sigterm_lets_channels_finish_and_ends_all(self, stage: Stage, far_echo: Echo) -> None:
        key = stage.key()
        server = a_server(stage, key)
        clients = [stage.client("openssh", server, key) for _ in range(2)]
        pids = list(workers_of(server).values())
        with (
            socks.connect(clients[0].socks, far_echo.address) as one,
            socks.connect(clients[1].socks, far_echo.address) as two,
        ):
            server.process.signal(signal.SIGTERM)
            wait_until(lambda: not _accepts(server.address), 5, "it stopped accepting")
            echo(one)
            echo(two)
        assert server.process.wait() == 0
        assert all(map(is_gone, pids))
        for client in clients:
            client.process.wait()
        server.start()

    def test_a_second_signal_ends_all_at_once(self, stage: Stage, far_echo: Echo) -> None:
        key = stage.key()
        server = a_server(stage, key)
        client = stage.client("openssh", server, key)
        pids = list(workers_of(server).values())
        with socks.connect(client.socks, far_echo.address) as stream:
            echo(stream)
            server.process.signal(signal.SIGTERM)
            wait_until(lambda: not _accepts(server.address), 5, "it stopped accepting")
            server.process.signal(signal.SIGTERM)
            assert server.process.wait(1) == 1
            wait_until(lambda: all(map(is_gone, pids)), 2, "they ended with it")
        server.start()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signals_to_the_whole_group_drain_as_one_to_the_parent(
        self, stage: Stage, far_echo: Echo, number: signal.Signals
    ) -> None:
        key = stage.key()
        server = a_server(stage, key)
        client = stage.client("openssh", server, key)
        with socks.connect(client.socks, far_echo.address) as stream:
            os.killpg(server.process.pid, number)  # as Ctrl-C in a terminal, or systemd does
            wait_until(lambda: not _accepts(server.address), 5, "it stopped accepting")
            echo(stream)
        assert server.process.wait() == 0
        server.start()


def _accepts(address: Address) -> bool:
    try:
        open_stream(address).close()
    except OSError:
        return False
    return True


class TestReload:
    def test_rules_and_keys_reach_every_worker(self, stage: Stage, far_echo: Echo) -> None:
        key, other = stage.key(), stage.key()
        config = stage.home("config") / "wraith.toml"
        config.write_text("rule = ['allow *']\n")
        server = a_server(stage, key, "--config", str(config))
        clients = [stage.client("openssh", server, key) for _ in range(2)]
        assert all(is_open(client, far_echo) for client in clients)

        config.write_text(f"rule = ['deny *']\nauthorize = ['{other.public}']\n")
        server.process.signal(signal.SIGHUP)
        reloaded = {"1", "2"}
        wait_until(
            lambda: {line.get("worker") for line in _lines(server, "keys reloaded")} == reloaded,
            10,
            "both have heard of it",
        )
        assert not any(is_open(client, far_echo) for client in clients)
        for _ in range(2):
            stage.client("openssh", server, other)
        assert accepted(server) == {"1": 2, "2": 2}

    def test_a_bad_file_keeps_the_old_values_and_is_reported(
        self, stage: Stage, far_echo: Echo
    ) -> None:
        key = stage.key()
        config = stage.home("config") / "wraith.toml"
        config.write_text("rule = ['allow *']\n")
        server = a_server(stage, key, "--config", str(config))
        config.write_text("rule = ['perhaps *']\n")
        server.process.signal(signal.SIGHUP)
        wait_until(lambda: told(server, "options not reloaded") != [], 10, "it was said")
        assert is_open(stage.client("openssh", server, key), far_echo)

    def test_limits_hold_for_all_from_then_on(self, stage: Stage) -> None:
        key = stage.key()
        config = stage.home("config") / "wraith.toml"
        config.write_text("")
        server = a_server(stage, key, "--config", str(config))
        for _ in range(2):
            stage.client("openssh", server, key)
        config.write_text("max-connections-per-ip = 2\n")
        server.process.signal(signal.SIGHUP)
        wait_until(lambda: len(_lines(server, "keys reloaded")) == 2, 10, "they have heard of it")
        assert is_turned_away(server, key, stage.home("ssh"))


def _lines(server: Server, event: str) -> list[dict[str, str]]:
    """As `told`, for events that have no field of their own."""
    return [
        dict([part.split("=", 1) for part in line.rpartition(event)[2].split()])
        for line in server.process.log.splitlines()
        if event in line
    ]


class TestRemoteForwards:
    def test_a_client_that_froze_is_taken_over_at_another_worker(
        self, stage: Stage, far_echo: Echo
    ) -> None:
        key = stage.key()
        server = a_server(stage, key)
        place = Address("127.0.0.1", free_port())
        ask = ClientAsk(remote=[(place, far_echo.address)])
        frozen = stage.client("openssh", server, key, ask)
        frozen.process.signal(signal.SIGSTOP)
        stage.client("openssh", server, key, ask)
        assert worker_of(server, 0) != worker_of(server, 1)
        with open_stream(place) as stream:
            echo(stream)
        frozen.process.kill()

    def test_a_client_that_answers_keeps_its_port(self, stage: Stage, far_echo: Echo) -> None:
        key = stage.key()
        server = a_server(stage, key)
        place = Address("127.0.0.1", free_port())
        ask = ClientAsk(remote=[(place, far_echo.address)])
        stage.client("openssh", server, key, ask)
        with pytest.raises(DidNotStart):
            stage.client("openssh", server, key, ask)
        with open_stream(place) as stream:
            echo(stream)


class TestMetrics:
    def test_they_are_of_all_workers_and_never_go_back(self, stage: Stage, far_echo: Echo) -> None:
        key = stage.key()
        server = a_server(stage, key, "--metrics", "127.0.0.1:0")
        where = server.news["metrics"]  # type: ignore[attr-defined]
        clients = [stage.client("openssh", server, key) for _ in range(3)]
        assert all(is_open(client, far_echo) for client in clients)

        def figure(name: str) -> float:
            with urllib.request.urlopen(f"http://{where}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
            return float(found[1]) if found else 0.0

        opened, entered = (
            'channel_opens_total{result="open"}',
            'authentications_total{result="accept"}',
        )
        wait_until(lambda: figure(f"wraith_{opened}") == 3, 10, "channels of all are counted")
        assert figure("wraith_sessions") == 3
        assert figure(f"wraith_{entered}") == 3
        assert figure('wraith_connections_total{result="accepted"}') == 3

        os.kill(workers_of(server)["1"], signal.SIGKILL)
        wait_until(lambda: figure("wraith_sessions") < 3, 10, "its sessions are gone")
        assert figure(f"wraith_{entered}") == 3
        assert figure(f"wraith_{opened}") == 3


class TestWhatCannotBeShared:
    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--listen", "iroh://"], "several workers cannot share iroh://"),
        ],
    )
    def test_is_a_usage_error_with_the_next_step(
        self, stage: Stage, options: list[str], sentence: str
    ) -> None:
        process = _ends(stage, "--workers", "2", *options)
        assert process.exit_code == 2
        assert sentence in process.log
        assert "--workers" in process.log

    def test_what_keeps_one_worker_from_starting_ends_the_server_with_its_reason(
        self, stage: Stage
    ) -> None:
        missing = stage.home("none") / "authorized_keys"
        process = _ends(
            stage, "--workers", "2", "--listen", "127.0.0.1:0", "--authorized-keys", str(missing)
        )
        assert process.exit_code == 2
        assert f"{missing} does not exist" in process.log
        assert "put the clients' public keys there" in process.log

    def test_a_worker_that_cannot_start_again_is_tried_less_and_less(
        self, stage: Stage, far_echo: Echo
    ) -> None:
        key = stage.key()
        server = a_server(stage, key)
        before = workers_of(server)
        authorized = _authorized_keys(server)
        text = authorized.read_text()
        authorized.unlink()
        os.kill(before["1"], signal.SIGKILL)
        wait_until(lambda: len(told(server, "worker ended")) >= 3, 20, "it was tried again")
        ended = told(server, "worker ended")
        assert [line["restart_in"] for line in ended[:3]] == ["0.5", "1", "2"]
        assert "does not exist" in ended[1]["reason"]
        assert is_open(stage.client("openssh", server, key), far_echo), "the other one remembers"
        authorized.write_text(text)
        authorized.chmod(0o600)
        wait_until(lambda: workers_of(server)["1"] != before["1"], 20, "it came back")

    def test_a_port_that_is_taken(self, stage: Stage, far_echo: Echo) -> None:
        key, home = stage.key(), stage.home("keys")
        authorized = home / "authorized_keys"
        authorized.write_text(key.public + "\n")
        authorized.chmod(0o600)
        process = _ends(
            stage,
            *("--workers", "2", "--listen", str(far_echo.address)),
            *("--authorized-keys", str(authorized)),
        )
        assert process.exit_code == 1
        assert "is already in use" in process.log


def _authorized_keys(server: Server) -> Path:
    words = server.process.command
    return Path(words[words.index("--authorized-keys") + 1])


def _ends(stage: Stage, *options: str) -> Process:
    process = stage.process(
        [require_tool("wraith"), "serve", "--key", stage.home("host") / "key", *options]
    )
    process.wait(20)
    assert not list(descendants(process.pid))
    return process

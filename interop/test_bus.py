"""The event bus: over real SSH, by rule, with a stock ssh, and on several servers over Redis."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from interop.peers.bus import PATIENCE, next_payloads, on_the_bus, settled
from interop.peers.keys import Key, certify
from interop.peers.process import Process
from interop.peers.redis import Redis
from interop.peers.roles import Server, ServerAsk, login_name
from interop.peers.stage import Stage
from interop.peers.tools import require_tool
from wraith.errors import ChannelRefused
from wraith.protocol.envelope import EventEnvelope, EventReader, encode_frame
from wraith.pubsub import Subscription

NODE_MODULES = Path(__file__).parent.parent / "node" / "node_modules"


def a_server(stage: Stage, key: Key, *extra: str, options: str = "") -> Server:
    ask = ServerAsk(authorized=[f"{options} {key.public}".strip()], extra=extra)
    return stage.server("wraith", ask)


class TestWhoMayUseIt:
    @pytest.mark.parametrize(
        ("rule", "options", "allowed"),
        [
            ("allow *", "", True),
            ("deny wraith-control", "", False),
            ("deny wraith-*", "", False),
            ("deny *", "", False),
            ("deny wraith-* key=OWN", "", False),
            ("deny wraith-* key=SHA256:other", "", True),
            ("allow *", "restrict", False),
            ("allow *", 'permitopen="*:*"', False),
            ("allow *", 'permitopen="wraith-control:*"', True),
            ("deny wraith-*", 'permitopen="wraith-control:*"', False),
        ],
    )
    def test_rules_and_the_keys_own_limits(
        self, stage: Stage, rule: str, options: str, allowed: bool
    ) -> None:
        key = stage.key()
        rule = rule.replace("OWN", key.fingerprint)
        server = a_server(stage, key, "--rule", rule, options=options)

        async def story() -> None:
            async with on_the_bus(server, key) as one, on_the_bus(server, key) as two:
                events = one.subscribe("a:")
                await settled(two, one)
                two.dispatch("a", "", "hello")
                assert await next_payloads(events, 1) == ["hello"]

        if allowed:
            asyncio.run(story())
            return
        with pytest.raises(ChannelRefused):
            asyncio.run(story())

    def test_a_rule_for_a_principal(self, stage: Stage) -> None:
        authority, key = stage.key("ca"), stage.key()
        rules = ["--rule", "allow wraith-control principal=ops", "--rule", "deny wraith-*"]
        ask = ServerAsk(authorities=[authority], extra=rules)
        server = stage.server("wraith", ask)

        async def come_in() -> None:
            async with on_the_bus(server, key):
                pass

        certify(key, authority, principals=[login_name(), "ops"])
        asyncio.run(come_in())
        certify(key, authority, principals=[login_name()])
        with pytest.raises(ChannelRefused):
            asyncio.run(come_in())


def test_a_stock_ssh_takes_part(stage: Stage) -> None:
    """`ssh -W` is a channel to the bus like any other; it cannot say port 0."""
    key = stage.key()
    server = a_server(stage, key)
    known = stage.home("ssh") / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.address.port} {server.host_key.public}\n")
    command: list[str | Path] = [require_tool("ssh"), "-F", "none", "-i", key.path]
    command += ["-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes"]
    command += ["-p", str(server.address.port), "-W", "wraith-control:1", "127.0.0.1"]
    pipe = subprocess.PIPE
    ssh = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    assert ssh.stdin is not None
    assert ssh.stdout is not None
    wanted = EventEnvelope("__subscribe", "", {"topic": "chat:é"})
    ssh.stdin.write(encode_frame(wanted))
    ssh.stdin.flush()
    heard, reader = list[Any](), EventReader()

    async def story() -> None:
        async with on_the_bus(server, key) as one, on_the_bus(server, key) as two:
            events = one.subscribe("from.ssh:")
            await settled(two, one)
            assert ssh.stdin is not None
            ssh.stdin.write(encode_frame(EventEnvelope("from.ssh", "", "hello")))
            ssh.stdin.flush()
            assert await next_payloads(events, 1) == ["hello"]
            for number in range(3):
                one.dispatch("chat", "é", f"😀 {number}")

    try:
        asyncio.run(story())
        while len(heard) < 3:
            reader.receive_data(ssh.stdout.read1(65536))  # type: ignore[attr-defined]
            while isinstance(event := reader.next_event(), EventEnvelope):
                heard.append(event.payload)
        assert heard == ["😀 0", "😀 1", "😀 2"]
    finally:
        ssh.kill()
        ssh.communicate()


class TestTwoServersAndARedis:
    def test_that_is_killed_and_comes_back_in_the_middle(self, stage: Stage) -> None:
        key, redis = stage.key(), Redis(stage)
        one, two = (a_server(stage, key, "--bus", redis.url) for _ in range(2))

        async def story() -> None:
            async with (
                on_the_bus(one, key) as publisher,
                on_the_bus(two, key) as other_publisher,
                on_the_bus(one, key) as near,
                on_the_bus(two, key) as far,
            ):
                echo, other_echo = publisher.subscribe("n:one"), other_publisher.subscribe("n:two")
                listening = [near.subscribe("n:one"), far.subscribe("n:two")]
                crossing = [far.subscribe("n:one"), near.subscribe("n:two")]
                await settled(publisher, near, far, other_publisher)
                await settled(other_publisher, near, far, publisher)
                counts = [0, 0]

                async def publish(until: float) -> None:
                    while time.monotonic() < until:
                        for index, speaker in enumerate((publisher, other_publisher)):
                            speaker.dispatch("n", ("one", "two")[index], counts[index])
                            counts[index] += 1
                        await asyncio.sleep(0.002)

                await publish(time.monotonic() + 1)
                before = list(counts)
                redis.kill()
                await publish(time.monotonic() + 1)
                during = list(counts)
                redis.start()
                await publish(time.monotonic() + 1)
                await settled(publisher, far)
                await settled(other_publisher, near)
                after = list(counts)
                await publish(time.monotonic() + 0.5)
                await settled(publisher, near, far)
                await settled(other_publisher, near, far)

                for index in range(2):
                    # Who is on the publisher's own server misses nothing.
                    here = await _waiting(listening[index])
                    assert here == list(range(counts[index]))
                    # Who is on the other one may miss some of the outage (not those that wait until
                    # both are back), and hears none twice and none out of order.
                    there = await _waiting(crossing[index])
                    assert there == sorted(set(there))
                    assert set(range(before[index] - 50)) <= set(there), "all from before"
                    assert set(range(after[index], counts[index])) <= set(there), "all from after"
                    print(
                        f"publisher {index}: {counts[index]} events, "
                        f"{during[index] - before[index]} during the outage; "
                        f"the other server heard {len(there)}, none twice, none out of order"
                    )
                assert await _waiting(echo) == []
                assert await _waiting(other_echo) == []

        asyncio.run(story())
        for server in (one, two):
            log = server.process.log
            assert "bus link lost" in log
            assert "bus gap seconds=" in log
            assert str(redis.port) not in log

    def test_without_a_redis_a_server_serves_and_finds_it_later(self, stage: Stage) -> None:
        key, redis = stage.key(), Redis(stage)
        redis.kill()
        one, two = (a_server(stage, key, "--bus", redis.url) for _ in range(2))

        async def story() -> None:
            async with (
                on_the_bus(one, key) as publisher,
                on_the_bus(one, key) as near,
                on_the_bus(two, key) as far,
            ):
                here, there = near.subscribe("a:"), far.subscribe("a:")
                await settled(publisher, near)
                publisher.dispatch("a", "", "nearby")
                assert await next_payloads(here, 1) == ["nearby"]
                redis.start()
                await settled(publisher, far)
                publisher.dispatch("a", "", "everywhere")
                heard = await next_payloads(there, 1)
                while heard[-1] != "everywhere":
                    heard += await next_payloads(there, 1)

        asyncio.run(story())

    def test_a_link_with_nothing_to_say_is_kept(self, stage: Stage) -> None:
        key, redis = stage.key(), Redis(stage)
        one, two = (a_server(stage, key, "--bus", redis.url) for _ in range(2))

        async def story() -> None:
            async with on_the_bus(one, key) as publisher, on_the_bus(two, key) as far:
                events = far.subscribe("a:")
                await settled(publisher, far)
                await asyncio.sleep(11)  # two of the intervals after which Redis is asked
                publisher.dispatch("a", "", "still linked")
                assert await next_payloads(events, 1) == ["still linked"]

        asyncio.run(story())
        assert "bus link lost" not in one.process.log + two.process.log

    def test_a_password_and_a_prefix_and_nothing_of_them_in_a_log(self, stage: Stage) -> None:
        key, redis = stage.key(), Redis(stage)
        cli = str(require_tool("redis-cli"))
        configure = [cli, "-p", str(redis.port), "config", "set", "requirepass", "s3cret"]
        subprocess.run(configure, check=True, capture_output=True)
        file = stage.home("options") / "bus"
        file.write_text(f"redis://:s3cret@127.0.0.1:{redis.port}/0?prefix=chat:\n")
        file.chmod(0o600)
        server = a_server(stage, key, "--bus", f"@{file}", "--log-level", "debug")
        command = [cli, "--no-auth-warning", "-a", "s3cret", "-p", str(redis.port)]

        async def story() -> None:
            async with on_the_bus(server, key) as one:
                events = one.subscribe("a:")
                body = json.dumps({"type": "a", "id": "", "payload": "from redis-cli"})
                async with asyncio.timeout(PATIENCE):
                    while b"1" not in subprocess.check_output(
                        [*command, "publish", "chat:a:", body]
                    ):
                        await asyncio.sleep(0.05)
                assert await next_payloads(events, 1) == ["from redis-cli"]

        asyncio.run(story())
        assert "s3cret" not in server.process.log
        assert "chat" not in server.process.log


_IOREDIS = """
const Redis = require("ioredis");
const [port, channel, answers] = process.argv.slice(2);
const sub = new Redis(port, "127.0.0.1"), pub = new Redis(port, "127.0.0.1");
sub.subscribe(channel).then(() => console.log("ready"));
sub.on("message", (channel, body) => {
  const { type, id, payload } = JSON.parse(body);
  console.log(JSON.stringify({ channel, type, id, payload }));
  pub.publish(answers, JSON.stringify({ type: "answer", id: "", payload: { heard: payload } }));
});
"""


def test_a_subscriber_in_node_reads_our_events_and_is_heard(stage: Stage) -> None:
    if not (NODE_MODULES / "ioredis").is_dir():
        pytest.fail("ioredis is not installed: run npm ci in node/")
    key, redis = stage.key(), Redis(stage)
    server = a_server(stage, key, "--bus", redis.url)
    program = stage.home("node") / "subscriber.cjs"
    program.write_text(_IOREDIS)
    node = _node(stage, program, str(redis.port), "wraith:chat.msg:room-1", "wraith:answer:")

    async def story() -> None:
        async with on_the_bus(server, key) as one, on_the_bus(server, key) as two:
            answers = one.subscribe("answer:")
            await settled(two, one)
            for payload in ({"text": "hé 😀"}, None, [1, 2.5, True]):
                one.dispatch("chat.msg", "room-1", payload)
            assert await next_payloads(answers, 3) == [
                {"heard": {"text": "hé 😀"}},
                {"heard": None},
                {"heard": [1, 2.5, True]},
            ]

    asyncio.run(story())
    lines = [json.loads(line) for line in node.log.splitlines()[1:]]
    assert [line["payload"] for line in lines] == [{"text": "hé 😀"}, None, [1, 2.5, True]]
    assert {(line["channel"], line["type"], line["id"]) for line in lines} == {
        ("wraith:chat.msg:room-1", "chat.msg", "room-1")
    }


def _node(stage: Stage, program: Path, *arguments: str) -> Process:
    process = stage.process(
        [require_tool("node"), program, *arguments], NODE_PATH=str(NODE_MODULES)
    )
    process.wait_for_log(lambda log: "ready" in log)
    return process


async def _waiting(events: Subscription[Any]) -> list[Any]:
    """What has come so far."""
    heard = []
    while events._backlog:
        heard.append((await anext(events)).payload)
    return heard

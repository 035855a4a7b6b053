"""`wraith doctor connect`: each stage tells the truth, and nothing is changed."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.journeys import IrohLoopback, TcpLoopback
from wraith.client.doctor import examine
from wraith.client.options import ConnectOptions
from wraith.ssh import server_session
from wraith.ssh.keys import generate
from wraith.testing import Loopback
from wraith.values.finding import Finding, Verdict

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


def options_of(tunnel: Loopback, **changes: Any) -> ConnectOptions:
    return dataclasses.replace(
        tunnel.connect_options,
        transport="tcp",
        server=tunnel.server.listen_addresses[0].removeprefix("tcp://"),
        **{"host_key": tunnel.server.host_key_fingerprint, **changes},
    )


async def examined(options: ConnectOptions) -> dict[str, Finding]:
    return {finding.stage: finding async for finding in examine(options)}


def verdicts(findings: dict[str, Finding]) -> dict[str, Verdict]:
    return {stage: finding.verdict for stage, finding in findings.items()}


async def test_where_all_is_well_every_stage_says_so() -> None:
    async with TcpLoopback(serve={}, connect={}) as tunnel:
        found = await examined(options_of(tunnel, local_forwards=["127.0.0.1:0:a:1"]))
        stages = [
            "forward",
            "name",
            "tcp",
            "identity",
            "host-key",
            "authentication",
            "channel",
            "udp",
            "dns",
        ]
        assert verdicts(found) == dict.fromkeys(stages, OK)


async def test_over_iroh_too_where_a_session_lives_on_its_transport() -> None:
    made = IrohLoopback(serve={}, connect={})
    async with made as tunnel:
        pin = tunnel.server.host_key_fingerprint
        options = dataclasses.replace(tunnel.connect_options, host_key=pin, **made.how())
        stages = ["iroh", "identity", "host-key", "authentication", "channel", "udp", "dns"]
        assert verdicts(await examined(options)) == dict.fromkeys(stages, OK)


async def test_an_unknown_host_key_is_shown_and_not_recorded() -> None:
    async with TcpLoopback(serve={}, connect={}) as tunnel:
        found = await examined(options_of(tunnel, host_key=""))
        assert found["host-key"].verdict is WARN
        assert tunnel.server.host_key_fingerprint in found["host-key"].hint
        assert not Path(os.environ["WRAITH_STATE_DIR"]).exists()


async def test_each_failure_is_at_its_own_stage_and_ends_what_depends_on_it() -> None:
    async with TcpLoopback(serve={}, connect={}) as tunnel:
        stranger = generate().export()
        found = await examined(options_of(tunnel, identity=[stranger]))
        assert found["host-key"].verdict is OK
        assert found["authentication"].verdict is FAIL
        assert "ssh-ed25519" in found["authentication"].hint
        assert "channel" not in found

        found = await examined(options_of(tunnel, host_key="SHA256:" + "A" * 43))
        assert verdicts(found)["host-key"] is FAIL

        found = await examined(options_of(tunnel, identity=["/nowhere/at/all"]))
        assert verdicts(found)["identity"] is FAIL
        closed = options_of(tunnel)
    found = await examined(closed)
    assert verdicts(found) == {"name": OK, "tcp": FAIL}
    found = await examined(dataclasses.replace(closed, server="nowhere.invalid:1"))
    assert verdicts(found) == {"name": FAIL}
    found = await examined(dataclasses.replace(closed, proxy="socks5://127.0.0.1:9"))
    assert verdicts(found) == {"proxy": FAIL}


async def test_a_key_with_limits_and_a_server_with_less() -> None:
    async with TcpLoopback(serve={"rules": ["deny *", "deny wraith-*"]}, connect={}) as tunnel:
        found = await examined(options_of(tunnel))
        assert verdicts(found)["channel"] is WARN
        assert verdicts(found)["udp"] is WARN
        assert "no datagrams with this key" in found["udp"].text
        assert verdicts(found)["dns"] is OK


async def test_a_server_of_another_make(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = "_process_capabilities_at_wraith_global_request"
    monkeypatch.delattr(server_session._Connection, handler)
    monkeypatch.setattr("wraith.server.serve.VERSION", "OpenSSH_9.9")
    async with TcpLoopback(serve={}, connect={}) as tunnel:
        found = await examined(options_of(tunnel))
        assert found["channel"].verdict is WARN
        assert "OpenSSH_9.9" in found["channel"].text
        assert "no datagrams" in found["udp"].text


async def test_ports_in_use_and_variables_that_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1080")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with TcpLoopback(serve={}, connect={}) as tunnel:
            options = options_of(
                tunnel,
                socks5=f"127.0.0.1:{port}",
                local_forwards=["/tmp/nowhere/at/all:a:1"],
                remote_forwards=["8080"],
            )
            findings = [finding async for finding in examine(options)]
    by = {(finding.stage, finding.verdict): finding for finding in findings}
    assert "already in use" in by["socks5", FAIL].text
    assert "wraith status" in by["socks5", FAIL].hint
    assert ("forward", FAIL) in by
    assert "socks5h://" in by["dns", WARN].hint
    assert ("remote-forward", WARN) in by
    assert ("channel", OK) in by, "a port in use here does not end the examination"


async def test_it_leaves_no_connection_behind() -> None:
    async with TcpLoopback(serve={}, connect={}) as tunnel:
        await examined(options_of(tunnel))
        async with asyncio.timeout(5):
            while tunnel.server.session_count > 1:
                await asyncio.sleep(0.01)

"""The examples do what they say, in the place that they are meant for."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from interop.peers.nat import HUB, Machine, behind_nat
from interop.peers.process import Process, wait_until
from interop.peers.stage import Stage

EXAMPLES = Path(__file__).parent.parent / "examples"


def _hub(stage: Stage, hub: Machine, lines: list[str]) -> tuple[Process, str]:
    home = stage.home("hub")
    authorized = home / "authorized_keys"
    authorized.write_text("\n".join([*lines, ""]))
    authorized.chmod(0o600)
    options = ["--listen", f"{HUB}:2222", "--key", str(home / "host_key")]
    program = EXAMPLES / "event-bus" / "hub.py"
    options += ["--authorized-keys", str(authorized), "--numbers", "12", "--workers", "2"]
    process = hub.start(sys.executable, program, *options)
    log = process.wait_for_log(lambda log: "listening on" in log)
    fingerprint = re.search(r"SHA256:\S+", log)
    assert fingerprint is not None
    return process, fingerprint[0]


def test_a_hub_and_two_workers_behind_nat_exchange_events(stage: Stage) -> None:
    hub, machines = behind_nat(stage, "red", "blue")
    for machine in machines:
        assert machine.run("ip", "route", "get", HUB, check=False) == 0
    for address in ("10.1.0.2", "10.2.0.2"):
        assert hub.run("ip", "route", "get", address, check=False) != 0, "nobody gets in"
    people = [stage.key(machine.name) for machine in machines]
    process, fingerprint = _hub(stage, hub, [key.public for key in people])
    workers = []
    for machine, key in zip(machines, people, strict=True):
        where = ["--server", f"{HUB}:2222", "--host-key", fingerprint]
        program = EXAMPLES / "event-bus" / "worker.py"
        command: list[str | Path] = [sys.executable, program, *where]
        command += ["--identity", key.path, "--name", machine.name]
        workers.append(machine.start(*command))
        process.wait_for_log(lambda log, name=machine.name: f"{name} has come" in log)  # type: ignore[misc]
    process.wait_for_log(lambda log: "all done" in log)
    assert process.wait(10) == 0, process.log
    for worker in workers:
        wait_until(lambda worker=worker: not worker.running, 10, "the worker ends")  # type: ignore[misc]
    squares = re.findall(r"(\d+) squared is (\d+)", process.log)
    assert sorted((int(n), int(square)) for n, square in squares) == [(n, n * n) for n in range(12)]
    assert all(worker.exit_code == 0 and "the hub has gone" in worker.log for worker in workers)
    red, blue = (worker.log for worker in workers)
    assert "heard of blue" in red, "a worker hears the other, which it cannot reach"
    asked = [set(re.findall(r"asked for (\d+)", log)) for log in (red, blue)]
    assert asked[0], "both have worked"
    assert asked[1], "both have worked"
    assert asked[0] | asked[1] == {str(n) for n in range(12)}

"""Errors as the host is told of them."""

from __future__ import annotations

import asyncio
import errno

from wraith.engine.failures import failure
from wraith.errors import ChannelRefused, HostKeyUnknown, Refusal, TransportError


def test_an_error_of_the_tree_is_told_with_its_code_and_its_next_step() -> None:
    error = HostKeyUnknown("not on record", hint="compare it")
    assert failure(error) == {
        "code": "WRAITH_HOST_KEY_UNKNOWN",
        "message": "not on record",
        "hint": "compare it",
    }


def test_a_reason_is_the_systems_own_name() -> None:
    assert failure(ChannelRefused(Refusal.NAME_UNKNOWN))["reason"] == "ENOTFOUND"
    error = TransportError("cannot reach it")
    assert "reason" not in failure(error)
    error.__cause__ = OSError(errno.ECONNREFUSED, "refused")
    assert failure(error)["reason"] == "ECONNREFUSED"
    error.__cause__ = OSError("no number")
    assert "reason" not in failure(error)


def test_of_a_defect_only_the_kind_is_told() -> None:
    told = failure(KeyError("db.internal"))
    assert told["code"] == "WRAITH_ERROR"
    assert "KeyError" in told["message"]
    assert "db.internal" not in str(told)


def test_being_cancelled_is_what_node_calls_it() -> None:
    assert failure(asyncio.CancelledError())["code"] == "ABORT_ERR"

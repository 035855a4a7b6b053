"""The binding: what is said where it is not installed, and what its errors become."""

from __future__ import annotations

import importlib
import sys

import iroh
import pytest

from wraith.errors import UsageError
from wraith.transports.iroh import binding


def test_without_the_extra_the_step_that_mends_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "iroh", None)
    with pytest.raises(UsageError, match="not installed") as caught:
        binding.load()
    assert caught.value.hint == "pip install 'wraith-tunnel[iroh]'"


def test_a_binding_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_name: str) -> None:
        raise OSError("libiroh_ffi.so: wrong ELF class")

    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(UsageError, match=r"cannot be loaded \(OSError\)"):
        binding.load()


CONNECT = (
    "ConnectError::Connect (/github/home/.cargo/registry/iroh-1.4.1/src/endpoint.rs:1073:26)\n"
    "Caused by:\n"
    "    No addressing information available (/github/home/.cargo/endpoint.rs:1144:27)\n"
    "    No address lookup configured (/github/home/.cargo/address_lookup.rs:644:45)"
)


def test_an_error_loses_the_places_in_somebodys_build() -> None:
    class Failed(Exception):
        def message(self) -> str:
            return CONNECT

    text = binding.text_of(Failed())
    assert "/github" not in text
    assert text.splitlines()[-1] == "No address lookup configured"
    assert binding.reason_of(text) == "it is not known where it is"
    assert binding.text_of(ValueError("plain")) == "plain"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ConnectError::Connecting\nCaused by:\n  X\n    timed out", "no answer"),
        ("ConnectionLost(TimedOut)", "it has fallen silent"),
        ("ConnectionLost(LocallyClosed)", "the connection was closed here"),
        ("ApplicationClosed(ApplicationClose { error_code: 2 })", "it has closed the connection"),
        ("the server refused to accept a new connection", "it refuses the connection"),
        ("peer doesn't support any known protocol", "it is no Wraith server"),
        ("Outer\nCaused by:\n    something new", "something new"),
        ("", "unknown"),
    ],
)
def test_a_reason_is_part_of_a_sentence(text: str, reason: str) -> None:
    assert binding.reason_of(text) == reason


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ConnectionLost(TimedOut)", TimeoutError),
        ("timed out", TimeoutError),
        ("Stopped(9)", BrokenPipeError),
        ("Reset(7)", ConnectionResetError),
        ("closed by peer: 1", ConnectionResetError),
    ],
)
def test_the_end_of_a_stream_is_one_of_asyncios_errors(text: str, kind: type[OSError]) -> None:
    assert type(binding.os_error(text)) is kind


def test_its_errors_are_told_from_ours() -> None:
    with pytest.raises(iroh.IrohError) as caught:
        iroh.EndpointId.from_string("zz")
    assert binding.is_its_error(caught.value)
    assert not binding.is_its_error(ValueError())
    assert isinstance(binding.as_os_error(caught.value), ConnectionResetError)

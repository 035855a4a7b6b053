"""The front door: what is exported, that it is described, and that the documents say the same."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import wraith
import wraith.pubsub
import wraith.testing
from wraith.errors import WraithError

DOCS = Path(__file__).parent.parent / "docs"

ERRORS = {
    *("WraithError", "UsageError", "IdentityError", "ListenError", "TransportError"),
    *("ProxyError", "ProxyAuthenticationError", "TlsError", "CertificateError"),
    *("SessionError", "SessionLost", "ProtocolError", "AuthenticationError"),
    *("HostKeyError", "HostKeyChanged", "HostKeyMismatch", "HostKeyUnknown"),
    *("ChannelError", "ChannelRefused", "ForwardError"),
    *("EventError", "EventStreamError", "FrameError", "StreamTruncated", "SlowConsumer"),
}

PUBLIC = {
    *("connect", "serve", "open_stream", "Client", "Server", "DuplexStream"),
    *(
        "ConnectOptions",
        "ServeOptions",
        "State",
        "StateChange",
        "Forward",
        "Refusal",
        "Status",
        "InterfaceStatus",
        "Datagrams",
        "PathInfo",
    ),
    "ServicePeer",
    "__version__",
    *ERRORS,
}

TESTING = {"PROMISES", "Loopback", "MakePair", "MemoryAcceptor", "MemoryTransport", "Recorder"}

PUBSUB = {
    *("Action", "Bus", "BusEvent", "ByteStream", "EventEnvelope", "EventTarget", "Gap"),
    *("Identity", "Subscription"),
}

DATA = {"__version__", "PROMISES", "MakePair"}
"""Names that are neither functions nor classes."""


def whole_tree(kind: type[WraithError] = WraithError) -> Iterator[type[WraithError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from whole_tree(below)


@pytest.mark.parametrize(
    ("module", "names"), [(wraith, PUBLIC), (wraith.pubsub, PUBSUB), (wraith.testing, TESTING)]
)
def test_a_module_exports_these_names_and_no_other(module: ModuleType, names: set[str]) -> None:
    assert set(module.__all__) == names
    assert len(module.__all__) == len(names)
    assert all(hasattr(module, name) for name in names)


def test_the_overview_lists_what_is_exported() -> None:
    text = (DOCS / "architecture/overview.md").read_text(encoding="utf-8")
    table = text.partition("| name | what it is |")[2].partition("| command |")[0]
    named = set(re.findall(r"\b[A-Za-z_]+\b", " ".join(re.findall(r"`([^`]+)`", table))))
    no_names_of_ours = {"wraith", "testing", "pubsub", "destination"}  # modules, an argument
    assert named - no_names_of_ours == PUBLIC - ERRORS - {"__version__"} | {"WraithError"}


def public_objects() -> Iterator[tuple[str, object]]:
    for module in (wraith, wraith.pubsub, wraith.testing):
        for name in module.__all__:
            if name not in DATA:
                yield f"{module.__name__}.{name}", getattr(module, name)


@pytest.mark.parametrize(
    "thing", [pytest.param(thing, id=name) for name, thing in public_objects()]
)
def test_a_public_name_is_described_and_typed(thing: object) -> None:
    for path, member in members(thing):
        assert inspect.getdoc(member), f"{path} has no docstring"
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function):
            hints = typing.get_type_hints(function)
            wanted = {"return", *inspect.signature(function).parameters} - {"self", "cls"}
            assert wanted <= hints.keys(), f"{path} is not typed"


def members(thing: object) -> Iterator[tuple[str, object]]:
    """A function itself; a class, and the public methods and properties that are its own."""
    name = getattr(thing, "__name__", str(thing))
    yield name, thing
    if isinstance(thing, type):
        for key, member in vars(thing).items():
            function = inspect.isfunction(member) or isinstance(member, property)
            if function and not key.startswith("_"):
                yield f"{name}.{key}", member


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(wraith.__file__).parent / "py.typed").exists()


def test_every_error_is_exported_and_has_a_code_of_its_own() -> None:
    tree = [kind for kind in whole_tree() if kind.__module__ == "wraith.errors"]
    assert {kind.__name__ for kind in tree} == ERRORS
    codes = [kind.code for kind in tree]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"WRAITH_[A-Z_]+", code) for code in codes)


def test_the_reference_has_a_row_for_every_code() -> None:
    text = (DOCS / "reference/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(WRAITH_\w+)` \| `(\w+)` \|.*\| (\d) \|$", text, re.MULTILINE)
    assert {(code, name, int(exit_code)) for code, name, exit_code in rows} == {
        (kind.code, kind.__name__, kind.exit_code) for kind in whole_tree()
    }


def test_the_reference_has_a_row_for_every_reason() -> None:
    text = (DOCS / "reference/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(E[A-Z]+)` \|", text, re.MULTILINE)
    assert dict(rows) == {reason.name: reason.value for reason in wraith.Refusal}


def test_importing_the_package_brings_no_command_line() -> None:
    code = "import sys, wraith; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(shown.stdout.split())
    assert "wraith.client" in modules
    assert not {"click", "rich", "rich_click", "wraith.cli"} & modules

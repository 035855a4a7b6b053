"""Transports by name: our own, and one that an installed distribution brings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import wraith
from tests.support.command import wraith as run
from wraith.errors import UsageError
from wraith.ssh.keys import generate
from wraith.transports import registry
from wraith.transports.base import Acceptor, Kind
from wraith.transports.memory import MemoryAcceptor
from wraith.transports.registry import BUILT_IN, acceptors, kind_of, names
from wraith.values.address import ListenAddress, parse_listen

PIGEON = '''
"""Carries streams in memory, by pigeon."""
from wraith.transports.base import Kind
from wraith.transports.memory import MemoryAcceptor, MemoryTransport

LOFT = MemoryAcceptor()
KIND = Kind("pigeon", lambda settings: MemoryTransport(LOFT), lambda addresses, settings: [LOFT])
NONSENSE = "no kind"
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where distributions are installed."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "pigeon_post.py").write_text(PIGEON)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "pigeon_post", raising=False)
    return folder


def install(folder: Path, distribution: str, **transports: str) -> None:
    """Put a distribution there, as an installer would."""
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in transports.items()]
    (info / "entry_points.txt").write_text("\n".join(["[wraith.transports]", *lines, ""]))


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_each_built_in_one_goes_by_its_name(name: str) -> None:
    assert kind_of(name).name == name
    assert isinstance(kind_of(name), Kind)


async def test_a_distribution_brings_a_transport_for_both_sides(folder: Path) -> None:
    install(folder, "pigeon-post", pigeon="pigeon_post:KIND")
    assert "pigeon" in names()
    key = generate()
    serving = wraith.ServeOptions(
        listen=["pigeon://"], key=key.export(), authorize=[key.public.line()]
    )
    async with wraith.serve(serving) as server:
        connecting = wraith.ConnectOptions(
            transport="pigeon", identity=[key.export()], host_key=server.host_key_fingerprint
        )
        async with wraith.connect(connecting) as client:
            reader, writer = await client.open_connection("wraith-echo", 0)
            writer.write(b"coo")
            assert await reader.readexactly(3) == b"coo"
            writer.close()
            await writer.wait_closed()


def test_without_a_port_of_its_own_the_transport_stands_for_every_interface(folder: Path) -> None:
    install(folder, "pigeon-post", pigeon="pigeon_post:KIND")
    options = wraith.ServeOptions(transport="pigeon", authorize=["x"])
    assert [str(address) for address in options.listen_addresses()] == ["pigeon://"]
    assert [str(address) for address in wraith.ServeOptions().listen_addresses()] == ["tcp://*:22"]
    named = wraith.ConnectOptions(transport="pigeon", server="loft")
    assert named.known_host_name() == ("memory", 22)


def test_what_is_built_in_cannot_be_replaced(folder: Path) -> None:
    install(folder, "pigeon-post", tcp="pigeon_post:KIND")
    assert kind_of("tcp").name == "tcp"


async def test_addresses_of_one_transport_are_made_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    def accepting(addresses: Sequence[ListenAddress], _settings: object) -> list[Acceptor]:
        asked.append([str(address) for address in addresses])
        return [MemoryAcceptor() for _ in addresses]

    kinds = {name: Kind(name, lambda _settings: None, accepting) for name in ("a", "b")}  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(registry, "kind_of", kinds.__getitem__)
    addresses = [parse_listen(text) for text in ("a://:1", "b://:2", "a://:3")]
    assert len(acceptors(addresses, wraith.ServeOptions(listen=[MemoryAcceptor()]))) == 3
    assert asked == [["a://*:1", "a://*:3"], ["b://*:2"]]


@pytest.mark.parametrize(
    ("transports", "sentence"),
    [
        ({"pigeon": "pigeon_post:NONSENSE"}, "is no wraith.transports.base.Kind"),
        ({"pigeon": "pigeon_post:MISSING"}, "cannot be loaded: AttributeError"),
        ({"pigeon": "no_such_module:KIND"}, "cannot be loaded: ModuleNotFoundError"),
        ({}, "unknown transport 'pigeon'"),
    ],
)
def test_one_that_cannot_be_used_is_told(
    folder: Path, transports: dict[str, str], sentence: str
) -> None:
    install(folder, "pigeon-post", **transports)
    with pytest.raises(UsageError, match=sentence):
        wraith.ConnectOptions(server="loft", transport="pigeon")
    with pytest.raises(UsageError, match=sentence):
        wraith.ServeOptions(listen=["pigeon://"])


def test_two_that_claim_one_name_are_named(folder: Path) -> None:
    for name in ("pigeon-post", "other-post"):
        install(folder, name, pigeon="pigeon_post:KIND")
    with pytest.raises(UsageError, match="offered twice, by other-post and pigeon-post"):
        kind_of("pigeon")


def test_the_command_line_says_which_there_are() -> None:
    ended = run("connect", "--server", "gw.example.com", "--transport", "smoke")
    assert ended.exit_code == 2
    assert "wraith: unknown transport 'smoke'" in ended.stderr
    assert "there is: " in ended.stderr
    assert "tcp" in ended.stderr

"""What a worker is told to be, and what several cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wraith.errors import UsageError
from wraith.server.options import ServeOptions
from wraith.server.workers.orders import check_shareable, read_orders, write_orders
from wraith.ssh.keys import generate, load_private_key
from wraith.testing import MemoryAcceptor
from wraith.values.proxy_url import parse_proxy_url

KEY = generate()


def sent(options: ServeOptions, *transports: str) -> ServeOptions:
    """The options of a worker, after their journey."""
    return read_orders(json.loads(json.dumps(write_orders(options, transports or ("tcp",), KEY))))


def test_what_decides_arrives(tmp_path: Path) -> None:
    options = ServeOptions(
        authorized_keys=tmp_path / "keys",
        authorize=[KEY.public.line()],
        rules=["deny *"],
        max_channels=3,
        keepalive=2.5,
        proxy="socks5://me:secret@127.0.0.1:9",
        metrics="127.0.0.1:9100",
        bus="redis://:secret@127.0.0.1",
    )
    worker = sent(options)
    assert worker.authorized_keys == str(tmp_path / "keys")
    assert worker.rules == ["deny *"]
    assert (worker.max_channels, worker.keepalive) == (3, 2.5)
    assert worker.proxy == options.proxy
    assert isinstance(worker.key, bytes)
    assert load_private_key(worker.key, name="").public == KEY.public


def test_what_is_the_parents_does_not() -> None:
    worker = sent(ServeOptions(metrics="127.0.0.1:9100", bus="redis://:secret@127.0.0.1"))
    assert (worker.metrics, worker.bus) == (None, "memory://")
    assert worker.listen == ["tcp://127.0.0.1:0"]


def test_bytes_travel() -> None:
    worker = sent(ServeOptions(authorized_keys=b"\xff keys"))
    assert worker.authorized_keys == b"\xff keys"


def test_a_secret_is_sent_as_it_was_when_the_parent_read_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123")
    secret.chmod(0o600)
    options = ServeOptions(listen=["tls://:0"], tls_self_signed=True, stealth_secret=secret)
    worker = sent(options, "tls")
    stealth = options.stealth_settings()
    assert stealth is not None
    assert worker.stealth_secret == stealth.secret


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"listen": ["iroh://"]}, "several workers cannot share iroh://"),
        ({"transport": "iroh"}, "several workers cannot share iroh://"),
        ({"services": {"wraith-x": lambda _peer: None}}, "services is code of this program"),
        ({"bus_may": lambda *_what: True}, "bus_may is code of this program"),
    ],
)
def test_what_cannot_be_shared_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        check_shareable(ServeOptions(**options))


def test_what_can_be_shared_is_not() -> None:
    check_shareable(ServeOptions(listen=["tcp://:0", "tls://:0"], tls_self_signed=True))
    check_shareable(ServeOptions(listen=[MemoryAcceptor()]))  # told by the supervisor


def test_a_proxy_must_be_text() -> None:
    with pytest.raises(UsageError, match="must be given as text"):
        sent(ServeOptions(proxy=parse_proxy_url("socks5://127.0.0.1:9")))

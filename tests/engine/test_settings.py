"""The host's options: each is checked by its type, and named in the refusal."""

from __future__ import annotations

from typing import Any

import pytest

from wraith.client.options import ConnectOptions
from wraith.engine.settings import connect_options, offered, serve_options
from wraith.errors import UsageError
from wraith.server.options import ServeOptions


def test_names_are_in_camel_case_and_values_are_taken_as_they_are() -> None:
    options = connect_options(
        {
            "server": "example.com:2222",
            "connectTimeout": 3,
            "strictHostKey": True,
            "knownHosts": None,
            "identity": b"key",
        }
    )
    assert options.server == "example.com:2222"
    assert options.connect_timeout == 3
    assert options.strict_host_key
    assert options.known_hosts is None
    assert list(options.identity) == [b"key"]
    more = connect_options({"server": "a", "identity": ["path", b"key"], "rekeyBytes": 1 << 20})
    assert list(more.identity) == ["path", b"key"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sever": "x"}, "there is no option sever"),
        ({"socks5": "127.0.0.1:1080"}, "there is no option socks5"),
        ({"askPassphrase": "x"}, "there is no option askPassphrase"),
        ({"connect_timeout": 3}, "there is no option connect_timeout"),
        ({"user": 5}, "the option user must be text"),
        ({"keepalive": "15"}, "the option keepalive must be a number"),
        ({"keepalive": True}, "the option keepalive must be a number"),
        ({"strictHostKey": 1}, "the option strictHostKey must be true or false"),
        ({"rekeyBytes": 1.5}, "the option rekeyBytes must be a whole number"),
        ({"identity": [5]}, "the option identity must be text or bytes, or a list of such"),
        ({"transport": {"x": 1}}, "the option transport must be text"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        connect_options({"server": "example.com", **values})
    assert caught.value.message == sentence


def test_a_server_of_a_host_lets_its_clients_reach_its_services_only() -> None:
    def service(_peer: object) -> Any: ...

    options = serve_options({"listen": ["127.0.0.1:0"]}, {"wraith-hello": service})
    assert list(options.rules) == ["allow wraith-hello", "deny *"]
    assert options.remote_forwards == "off"
    options = serve_options({"rules": ["allow *"], "listen": "127.0.0.1:0"}, {})
    assert list(options.rules) == ["allow *"]
    assert options.remote_forwards == "loopback"
    options = serve_options({"remoteForwards": "any"}, {})
    assert options.remote_forwards == "any"
    with pytest.raises(UsageError):
        serve_options({"services": {}}, {})


def test_the_event_bus_is_reached_where_it_was_asked_for() -> None:
    options = serve_options({"bus": "memory://"}, {})
    assert list(options.rules) == ["allow wraith-control", "deny *"]
    with pytest.raises(UsageError, match="not both"):
        serve_options({"bus": "memory://"}, {"wraith-control": lambda _peer: None})  # type: ignore[dict-item,return-value]


def test_every_option_has_its_own_name() -> None:
    for names in (offered(ConnectOptions), offered(ServeOptions)):
        assert names["connectTimeout"] == "connect_timeout"
        assert not {"services", "busMay", "askPassphrase", "socks5"} & names.keys()
        assert len(set(names.values())) == len(names)

import pytest

from wraith.values.host_text import (
    TextError,
    bracketed,
    checked_host,
    checked_port,
    has_control_characters,
    is_ipv6,
    split_host_port,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("example.com:22", ("example.com", 22)),
        ("example.com", ("example.com", None)),
        ("[::1]:443", ("::1", 443)),
        ("[::1]", ("::1", None)),
        ("::1", ("::1", None)),
        (":80", ("", 80)),
        ("", ("", None)),
    ],
)
def test_a_text_is_cut_into_host_and_port(text: str, parts: tuple[str, int | None]) -> None:
    assert split_host_port(text) == parts


@pytest.mark.parametrize("text", ["[::1", "[::1]443", "[::1]:", "[[::1]]:22", "[::1]x:22", "[a]b"])
def test_brackets_must_be_whole(text: str) -> None:
    with pytest.raises(TextError):
        split_host_port(text)


@pytest.mark.parametrize("text", ["0", "22", "65535", "00080"])
def test_a_port_is_a_number(text: str) -> None:
    assert checked_port(text) == int(text)


@pytest.mark.parametrize(
    "text", ["", "65536", "-1", "+1", "0x16", "1_0", " 22", "22\n", "ssh", "٢٢", "²", "000000022"]
)
def test_nothing_else_is_a_port(text: str) -> None:
    with pytest.raises(TextError, match="0 to 65535"):
        checked_port(text)


@pytest.mark.parametrize(
    "host",
    ["localhost", "a.example.", "127.0.0.1", "::1", "fe80::1%eth0", "bücher.example", "_srv", "-"],
)
def test_a_host_passes_as_it_is(host: str) -> None:
    assert checked_host(host) == host


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("", "empty"),
        ("a b", "space"),
        ("a\tb", "control"),
        ("a\0b", "control"),
        ("a\x7fb", "control"),
        ("a\x85b", "control"),
        ("a\u00a0b", "space"),
        ("a\u2028b", "space"),
        ("a\udc80b", "control"),
        ("x" * 256, "255 bytes"),
        ("ü" * 128, "255 bytes"),
        ("user@host", "character"),
        ("*", "character"),
        ("[::1]", "character"),
        ("etc/passwd", "character"),
        ("1:2:3", "colons"),
        (":::", "colons"),
    ],
)
def test_what_no_resolver_should_be_asked(host: str, problem: str) -> None:
    with pytest.raises(TextError, match=problem) as caught:
        checked_host(host)
    assert host == "" or host not in str(caught.value)


def test_control_characters() -> None:
    assert has_control_characters("a\r\nb")
    assert not has_control_characters("a path with spaces")


def test_ipv6() -> None:
    assert is_ipv6("::ffff:192.0.2.1")
    assert not is_ipv6("192.0.2.1")


def test_hosts_as_written_before_a_port() -> None:
    assert [bracketed(host) for host in ("a", "::1", "")] == ["a", "[::1]", "*"]

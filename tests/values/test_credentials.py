import pytest

from wraith.errors import UsageError
from wraith.values.credentials import Credentials, parse_credentials


def test_the_first_colon_divides() -> None:
    assert parse_credentials("me:a:b") == Credentials("me", "a:b")


@pytest.mark.parametrize(
    "text",
    ["hunter2", ":hunter2", "hunter2:", f"{'hunter2' * 40}:x", f"x:{'ü' * 128}hunter2", ""],
)
def test_an_error_tells_neither(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_credentials(text)
    assert "hunter2" not in str(caught.value)


def test_undecodable_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match=r"password .* UTF-8"):
        parse_credentials("me:\udcff")


def test_a_user_name_has_no_colon() -> None:
    with pytest.raises(UsageError, match="colon"):
        Credentials("a:b", "c")


def test_the_longest_ones() -> None:
    longest = Credentials("u" * 255, "ü" * 127 + "p")
    assert longest.matches(b"u" * 255, ("ü" * 127 + "p").encode())


@pytest.mark.parametrize(
    ("username", "password", "same"),
    [
        (b"me", b"s3cret", True),
        (b"me", b"s3cre", False),
        (b"you", b"s3cret", False),
        (b"", b"", False),
        (b"\xff", b"s3cret", False),
    ],
)
def test_matching(username: bytes, password: bytes, same: bool) -> None:
    assert Credentials("me", "s3cret").matches(username, password) is same


def test_they_never_show_themselves() -> None:
    credentials = Credentials("me", "s3cret")
    assert f"{credentials} {credentials!r} {[credentials]}".count("<Credentials ***>") == 3

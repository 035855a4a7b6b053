"""Private keys: which are read, which are refused, and what is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from wraith.errors import IdentityError, UsageError
from wraith.ssh import keys
from wraith.ssh.certificates import sign_user_key
from wraith.ssh.keys import (
    Agent,
    generate,
    identity_from_key,
    load_private_key,
    read_or_create_host_key,
    read_private_key,
)
from wraith.state.files import write_private

FORMATS = [
    ("ssh-ed25519", "openssh"),
    ("ssh-ed25519", "pkcs8-pem"),
    ("ecdsa-sha2-nistp256", "openssh"),
    ("ecdsa-sha2-nistp256", "pkcs1-pem"),
    ("ssh-rsa", "openssh"),
    ("ssh-rsa", "pkcs1-pem"),
    ("ssh-rsa", "pkcs8-pem"),
]


@pytest.mark.parametrize(("algorithm", "form"), FORMATS)
def test_every_format_is_read_plain_and_locked(algorithm: str, form: str) -> None:
    key = asyncssh.generate_private_key(algorithm)
    plain = load_private_key(key.export_private_key(form), name="a key")
    assert plain.public.blob == key.public_data
    locked = key.export_private_key(form, "open sesame")
    opened = load_private_key(locked, name="a key", ask_passphrase=lambda _name: "open sesame")
    assert opened.public.blob == key.public_data


def test_a_locked_key_asks_by_its_name_and_says_what_went_wrong() -> None:
    asked: list[str] = []
    locked = generate("me").export("right")

    def wrong(name: str) -> str:
        asked.append(name)
        return "wrong"

    with pytest.raises(IdentityError, match="the passphrase does not open my key"):
        load_private_key(locked, name="my key", ask_passphrase=wrong)
    assert asked == ["my key"]
    with pytest.raises(IdentityError, match="my key is locked with a passphrase") as caught:
        load_private_key(locked, name="my key")
    assert "WRAITH_PASSPHRASE" in (caught.value.hint or "")


@pytest.mark.parametrize("data", [b"", b"rubbish", generate().public.line().encode()])
def test_what_is_no_private_key_is_told_by_its_name(data: bytes) -> None:
    with pytest.raises(IdentityError, match="id_x is not a private key") as caught:
        load_private_key(data, name="id_x")
    assert ".pub" in (caught.value.hint or "")


def test_a_key_shows_its_public_side_only() -> None:
    key = generate("me@home")
    assert repr(key) == f"<PrivateKey ssh-ed25519 {key.public.fingerprint}>"
    assert key.comment == "me@home"
    assert b"PRIVATE" in key.export()


def test_a_file_is_read_if_it_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "id"
    write_private(path, generate().export())
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_private_key(path).public.algorithm == "ssh-ed25519"
    path.chmod(0o640)
    with pytest.raises(IdentityError, match="may be read by others") as caught:
        read_private_key(path)
    assert caught.value.hint == f"close it with: chmod 600 {path}"
    with pytest.raises(IdentityError, match="cannot read"):
        read_private_key(tmp_path / "none")


def test_a_host_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "host"
    first, made = read_or_create_host_key(path)
    again, made_again = read_or_create_host_key(path)
    assert (made, made_again) == (True, False)
    assert again.public.blob == first.public.blob
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_of_two_that_make_a_host_key_at_once_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "host"
    winner = generate()

    def beaten(where: Path, _data: bytes) -> None:
        write_private(where, winner.export())
        raise FileExistsError

    monkeypatch.setattr(keys, "write_private", beaten)
    key, made = read_or_create_host_key(path)
    assert not made
    assert key.public.blob == winner.public.blob


def test_a_host_key_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="cannot write the host key") as caught:
        read_or_create_host_key(tmp_path / "file" / "host")
    assert "--key" in (caught.value.hint or "")


# Certificates


def test_a_certificate_is_shown_with_its_key() -> None:
    key, authority = generate("me"), generate("authority")
    line = sign_user_key(
        key.public.line(), authority, principals=["ops"], valid_for="12h", serial=7
    )
    certificate = asyncssh.import_certificate(line.encode())
    assert vars(certificate)["principals"] == ["ops"]
    identity = identity_from_key(key, name="id", certificate=line.encode())
    algorithms = [bytes(pair.algorithm) for pair in identity.pairs]
    assert b"ssh-ed25519-cert-v01@openssh.com" in algorithms
    assert repr(identity) == f"<Identity id {key.public.fingerprint}>"


def test_a_certificate_that_is_not_this_keys_is_refused() -> None:
    authority = generate()
    line = sign_user_key(generate().public.line(), authority, principals=["x"], valid_for="1h")
    with pytest.raises(IdentityError, match="belongs to another key"):
        identity_from_key(generate(), name="id", certificate=line.encode())
    with pytest.raises(IdentityError, match="cannot be read"):
        identity_from_key(generate(), name="id", certificate=b"rubbish")


@pytest.mark.parametrize(
    ("public", "valid_for", "said"),
    [("rubbish", "1h", "not a public key"), (generate().public.line(), "soon", "the time 'soon'")],
)
def test_what_cannot_be_signed_is_told(public: str, valid_for: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sign_user_key(public, generate(), principals=["x"], valid_for=valid_for)


# The agent


@asynccontextmanager
async def an_agent(path: Path, key: asyncssh.SSHKey | None) -> AsyncIterator[None]:
    """An ssh-agent that holds one key (draft-ietf-sshm-ssh-agent), or answers nonsense."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                await reader.readexactly(size)
                if key is None:
                    answer = b"\x0c\xff\xff\xff\xff"
                else:
                    blob, comment = key.public_data, b"in the agent"
                    answer = b"\x0c" + (1).to_bytes(4, "big")
                    for part in (blob, comment):
                        answer += len(part).to_bytes(4, "big") + part
                writer.write(len(answer).to_bytes(4, "big") + answer)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield
    finally:
        server.close()
        await asyncio.sleep(0)


async def test_an_agents_keys_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with an_agent(tmp_path / "agent", key):
        agent = Agent()
        for _ in range(2):
            (identity,) = await agent.identities()
            assert identity.public.blob == key.public_data
        assert repr(agent) == "<Agent connected=True>"
        await agent.close()
        await agent.close()
        assert repr(agent) == "<Agent connected=False>"


async def test_no_agent_or_one_that_does_not_answer_offers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent()
    assert await agent.identities() == []
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    assert await agent.identities() == []
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    async with an_agent(tmp_path / "agent", None):
        assert await agent.identities() == []
        assert repr(agent) == "<Agent connected=False>"

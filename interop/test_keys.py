"""Who may enter, and where to: the same `authorized_keys` and certificates at both servers.

Each case states what OpenSSH does; `sshd` confirms it and `wraith serve` must do the same. The
client is a stock `ssh`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest

from interop.peers.keys import Key, certify, revocation_list
from interop.peers.openssh import OpensshClient, ssh_command
from interop.peers.origins import Echo
from interop.peers.process import DidNotStart
from interop.peers.roles import Address, ClientAsk, Server, ServerAsk, free_port, login_name
from interop.peers.stage import Stage
from interop.peers.tools import clean_environment, require_tool

SERVERS = ("openssh", "wraith")


class Outcome(Enum):
    """What became of a client that wants one forwarded connection."""

    REFUSED = "refused at the door"
    INSIDE = "let in, but not to the destination"
    THROUGH = "reached the destination"


REFUSED, INSIDE, THROUGH = Outcome


def visit(server: Server, key: Key, home: Path, target: str) -> Outcome:
    """Ask for one connection with `ssh -W`."""
    ssh = [*ssh_command(server, key, home), "-v", "-W", target, server.address.host]
    run = subprocess.run(
        ssh,
        env=clean_environment(home),
        input="knock",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if "Authenticated to" not in run.stderr:
        assert "Permission denied (publickey)" in run.stderr, run.stderr
        return REFUSED
    if run.stdout == "knock":
        return THROUGH
    assert "open failed" in run.stderr, run.stderr
    return INSIDE


def ask_all(stage: Stage, ask: ServerAsk, key: Key, target: str) -> dict[str, Outcome]:
    """Visit the same door at each server."""
    require_tool("wraith")
    return {
        role: visit(stage.server(role, ask), key, stage.home("ssh"), target) for role in SERVERS
    }


def alike(outcome: Outcome) -> dict[str, Outcome]:
    """The same outcome at each server."""
    return dict.fromkeys(SERVERS, outcome)


LINES = [
    ("", THROUGH),
    ('from="127.0.0.1"', THROUGH),
    ('from="127.0.0.0/8"', THROUGH),
    ('from="10.1.*,127.0.*"', THROUGH),
    ('from="203.0.113.7"', REFUSED),
    ('from="10.0.0.0/8"', REFUSED),
    ('from="!127.0.0.1,*"', REFUSED),
    ('from="*,!127.0.0.1"', REFUSED),
    ('permitopen="127.0.0.1:{port}"', THROUGH),
    ('permitopen="127.0.0.1:*"', THROUGH),
    ('permitopen="10.0.0.1:1",permitopen="127.0.0.1:{port}"', THROUGH),
    ('permitopen="127.0.0.1:1"', INSIDE),
    ('permitopen="localhost:{port}"', INSIDE),
    ('expiry-time="20991231"', THROUGH),
    ('expiry-time="209912312359"', THROUGH),
    ('expiry-time="20200101"', REFUSED),
    ('expiry-time="20200101120000"', REFUSED),
    ("restrict", INSIDE),
    ("no-port-forwarding", INSIDE),
    ("restrict,port-forwarding", THROUGH),
    ("port-forwarding,restrict", INSIDE),
    ('restrict,permitopen="127.0.0.1:{port}"', INSIDE),
    ('restrict,port-forwarding,permitopen="127.0.0.1:1"', INSIDE),
    ("no-pty,no-agent-forwarding,no-X11-forwarding,no-user-rc", THROUGH),
    ('command="/bin/false"', THROUGH),
    ('environment="A=1"', THROUGH),
    ('permitlisten="127.0.0.1:1"', THROUGH),
    ("RESTRICT", INSIDE),
    ("cert-authority", REFUSED),
    ("no-such-option", REFUSED),
    ('from="127.0.0.1', REFUSED),
]


@pytest.mark.parametrize(("options", "outcome"), LINES, ids=[line or "plain" for line, _ in LINES])
def test_options_of_a_line(stage: Stage, far_echo: Echo, options: str, outcome: Outcome) -> None:
    key, port = stage.key(), far_echo.address.port
    line = f"{options.format(port=port)} {key.public}".strip()
    ask = ServerAsk(authorized=[line])
    assert ask_all(stage, ask, key, f"{far_echo.address}") == alike(outcome)


class TestTheFile:
    def test_an_unknown_key(self, stage: Stage, far_echo: Echo) -> None:
        ask = ServerAsk(authorized=[stage.key().public])
        assert ask_all(stage, ask, stage.key(), f"{far_echo.address}") == alike(REFUSED)

    def test_a_bad_line_does_not_spoil_the_others(self, stage: Stage, far_echo: Echo) -> None:
        key = stage.key()
        lines = ["# a comment", "", "nonsense", "ssh-ed25519 AAAA???", f"  {key.public} more words"]
        ask = ServerAsk(authorized=lines)
        assert ask_all(stage, ask, key, f"{far_echo.address}") == alike(THROUGH)

    def test_the_second_line_of_a_key_counts_when_the_first_does_not_fit(
        self, stage: Stage, far_echo: Echo
    ) -> None:
        key = stage.key()
        ask = ServerAsk(authorized=[f'from="10.0.0.0/8" {key.public}', key.public])
        assert ask_all(stage, ask, key, f"{far_echo.address}") == alike(THROUGH)

    def test_a_revoked_key(self, stage: Stage, far_echo: Echo) -> None:
        key = stage.key()
        revoked = revocation_list(stage.folder / "krl", key.public_path)
        ask = ServerAsk(authorized=[key.public], revoked=revoked)
        assert ask_all(stage, ask, key, f"{far_echo.address}") == alike(REFUSED)

    def test_a_plain_list_revokes_too(self, stage: Stage, far_echo: Echo) -> None:
        key, other = stage.key(), stage.key()
        revoked = stage.folder / "list"
        revoked.write_text(f"{key.public}\n")
        ask = ServerAsk(authorized=[key.public, other.public], revoked=revoked)
        assert ask_all(stage, ask, key, f"{far_echo.address}") == alike(REFUSED)
        assert ask_all(stage, ask, other, f"{far_echo.address}") == alike(THROUGH)

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_every_modern_kind_of_key(self, stage: Stage, far_echo: Echo, kind: str) -> None:
        key = stage.key(kind=kind)
        ask = ServerAsk(authorized=[key.public])
        assert ask_all(stage, ask, key, f"{far_echo.address}") == alike(THROUGH)


@dataclass(frozen=True)
class Certificate:
    """A certificate of a trusted authority, as one case varies it, and what it should open."""

    outcome: Outcome
    principals: Sequence[str] = (login_name(),)
    valid: str = "-1h:+1h"
    options: Sequence[str] = ()
    kind: str = "ed25519"
    authority: str = "ed25519"
    trusted: bool = True
    revoke: Callable[[Key, Key], Path] | None = None


CERTIFICATES = {
    "good": Certificate(THROUGH),
    "ecdsa": Certificate(THROUGH, kind="ecdsa", authority="ecdsa"),
    "rsa": Certificate(THROUGH, kind="rsa", authority="rsa"),
    "several principals": Certificate(THROUGH, principals=["nobody-else", login_name()]),
    "for ever": Certificate(THROUGH, valid="always:forever"),
    "another authority": Certificate(REFUSED, trusted=False),
    "expired": Certificate(REFUSED, valid="-2h:-1h"),
    "not yet valid": Certificate(REFUSED, valid="+1h:+2h"),
    "another principal": Certificate(REFUSED, principals=["somebody-else"]),
    "no principal": Certificate(REFUSED, principals=[]),
    "from here": Certificate(THROUGH, options=["source-address=127.0.0.0/8"]),
    "from elsewhere": Certificate(REFUSED, options=["source-address=10.0.0.0/8"]),
    "from one of two": Certificate(THROUGH, options=["source-address=10.0.0.0/8,127.0.0.1/32"]),
    "no forwarding": Certificate(INSIDE, options=["no-port-forwarding"]),
    "cleared": Certificate(INSIDE, options=["clear"]),
    "cleared, then forwarding": Certificate(THROUGH, options=["clear", "permit-port-forwarding"]),
    "forced command": Certificate(THROUGH, options=["force-command=/bin/false"]),
    "unknown critical option": Certificate(REFUSED, options=["critical:strange@example.test=1"]),
    "unknown extension": Certificate(THROUGH, options=["extension:strange@example.test=1"]),
    "revoked certificate": Certificate(REFUSED, revoke=lambda key, _: key.certificate_path),
    "revoked key": Certificate(REFUSED, revoke=lambda key, _: key.public_path),
    "revoked authority": Certificate(REFUSED, revoke=lambda _, authority: authority.public_path),
}


class TestCertificates:
    @pytest.mark.parametrize("case", CERTIFICATES.values(), ids=CERTIFICATES)
    def test_of_a_trusted_authority(self, stage: Stage, far_echo: Echo, case: Certificate) -> None:
        authority = stage.key("authority", case.authority)
        signer = authority if case.trusted else stage.key("stranger", case.authority)
        key = certify(
            stage.key(kind=case.kind),
            signer,
            principals=case.principals,
            valid=case.valid,
            options=case.options,
        )
        revoked = case.revoke and revocation_list(stage.folder / "krl", case.revoke(key, authority))
        ask = ServerAsk(authorities=[authority], revoked=revoked)
        assert ask_all(stage, ask, key, f"{far_echo.address}") == alike(case.outcome)

    @pytest.mark.parametrize(
        ("options", "principals", "outcome"),
        [
            ("cert-authority", [login_name()], THROUGH),
            ("cert-authority", ["ops"], REFUSED),
            ('cert-authority,principals="ops"', ["ops"], THROUGH),
            ('cert-authority,principals="dev,ops"', ["ops"], THROUGH),
            ('cert-authority,principals="dev"', ["ops"], REFUSED),
            ("cert-authority,no-port-forwarding", [login_name()], INSIDE),
            ('cert-authority,permitopen="127.0.0.1:1"', [login_name()], INSIDE),
            ('cert-authority,from="10.0.0.0/8"', [login_name()], REFUSED),
            ("", [login_name()], REFUSED),
        ],
    )
    def test_of_an_authority_in_authorized_keys(
        self,
        stage: Stage,
        far_echo: Echo,
        options: str,
        principals: Sequence[str],
        outcome: Outcome,
    ) -> None:
        authority = stage.key("authority")
        key = certify(stage.key(), authority, principals=principals)
        ask = ServerAsk(authorized=[f"{options} {authority.public}".strip()])
        assert ask_all(stage, ask, key, f"{far_echo.address}") == alike(outcome)


LISTENS = [
    ("", True),
    ('permitlisten="127.0.0.1:{port}"', True),
    ('permitlisten="127.0.0.1:*"', True),
    ('permitlisten="127.0.0.1:1"', False),
    ('permitlisten="{port}"', True),
    ('permitlisten="localhost:{port}"', False),
    ("restrict", False),
    ("no-port-forwarding", False),
    ("restrict,port-forwarding", True),
    ('permitopen="10.0.0.1:1"', True),
]


@pytest.mark.parametrize(
    ("options", "granted"), LISTENS, ids=[line or "plain" for line, _ in LISTENS]
)
def test_who_may_listen(stage: Stage, far_echo: Echo, options: str, granted: bool) -> None:
    require_tool("wraith")
    key, port = stage.key(), free_port()
    line = f"{options.format(port=port)} {key.public}".strip()
    forward = ClientAsk(remote=[(Address("127.0.0.1", port), far_echo.address)])

    def is_granted(role: str) -> bool:
        server = stage.server(role, ServerAsk(authorized=[line]))
        try:
            OpensshClient(stage.home("ssh"), server, key, forward).stop()
        except DidNotStart as failed:
            return "remote port forwarding failed" not in failed.log
        return True

    assert {role: is_granted(role) for role in SERVERS} == dict.fromkeys(SERVERS, granted)

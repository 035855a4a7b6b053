"""The contract of names: each option in each of the ways in which it may be given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import values_of, wraith
from wraith._version import __version__
from wraith.cli import cli
from wraith.cli.options import ConfigOption, Option
from wraith.transports.acme_options import LETS_ENCRYPT

COMMANDS = ("serve", "connect", "status", "stream", "keygen", "demo")

PIN = "SHA256:" + "A" * 43


@dataclass(frozen=True)
class Case:
    """One option: what it is without being said, and one value of it, as text and as taken."""

    command: str
    name: str
    default: Any
    text: str
    value: Any
    short: str = ""
    parameter: str = ""

    @property
    def key(self) -> str:
        return self.parameter or self.name.replace("-", "_")

    def __str__(self) -> str:
        return f"{self.command}-{self.name}"


def common(command: str) -> list[Case]:
    return [
        Case(command, "log-level", "info", "debug", "debug"),
        Case(command, "log-format", "text", "json", "json"),
    ]


def session(command: str) -> list[Case]:
    return [
        Case(command, "server", "", "gw.example.com:2222", "gw.example.com:2222"),
        Case(command, "peer", "", "ac12@127.0.0.1:4433", "ac12@127.0.0.1:4433"),
        Case(command, "transport", "tcp", "iroh", "iroh"),
        Case(command, "iroh-relay", None, "disabled", "disabled"),
        Case(command, "iroh-key", None, "/keys/iroh", "/keys/iroh"),
        Case(command, "proxy", None, "http://a:1", "http://a:1"),
        Case(command, "identity", (), "/keys/one", ("/keys/one",), short="-i"),
        Case(command, "user", "", "alice", "alice"),
        Case(command, "host-key", "", PIN, PIN),
        Case(command, "known-hosts", None, "/keys/known", "/keys/known"),
        Case(command, "strict-host-key", False, "true", True),
        Case(command, "tls-server-name", "", "gw.example.com", "gw.example.com"),
        Case(command, "tls-ca", None, "/keys/root.pem", "/keys/root.pem"),
        Case(command, "tls-pin", "", PIN, PIN),
        Case(command, "insecure", False, "true", True),
        Case(command, "stealth-secret", None, "/keys/secret", "/keys/secret"),
        Case(command, "keepalive", 15.0, "5", 5.0),
        Case(command, "connect-timeout", 10.0, "2.5", 2.5),
    ]


CASES = [
    Case("serve", "listen", (), "127.0.0.1:0", ("127.0.0.1:0",)),
    Case("serve", "trust-proxy", (), "10.0.0.0/8", ("10.0.0.0/8",)),
    Case("serve", "transport", "tcp", "iroh", "iroh"),
    Case("serve", "iroh-relay", None, "disabled", "disabled"),
    Case("serve", "iroh-key", None, "/keys/iroh", "/keys/iroh"),
    Case("serve", "metrics", None, "127.0.0.1:9100", "127.0.0.1:9100"),
    Case("serve", "key", None, "/keys/host", "/keys/host"),
    Case("serve", "authorized-keys", None, "/keys/authorized", "/keys/authorized"),
    Case("serve", "authorize", (), "ssh-ed25519 AAAA a b", ("ssh-ed25519 AAAA a b",)),
    Case("serve", "revoked-keys", None, "/keys/krl", "/keys/krl"),
    Case("serve", "cert-authority", (), "/keys/ca.pub", ("/keys/ca.pub",)),
    Case("serve", "tls-cert", None, "/keys/tls.pem", "/keys/tls.pem"),
    Case("serve", "tls-key", None, "/keys/tls.key", "/keys/tls.key"),
    Case("serve", "tls-self-signed", False, "true", True),
    Case("serve", "stealth", False, "true", True),
    Case("serve", "stealth-upstream", None, "https://a:1", "https://a:1"),
    Case("serve", "stealth-secret", None, "/keys/secret", "/keys/secret"),
    Case("serve", "rule", (), "deny private", ("deny private",), parameter="rules"),
    Case("serve", "acme-domain", (), "gw.test", ("gw.test",)),
    Case("serve", "acme-email", "", "me@example.com", "me@example.com"),
    Case("serve", "acme-directory", LETS_ENCRYPT, "https://ca.test/dir", "https://ca.test/dir"),
    Case("serve", "acme-ca", None, "/keys/ca.pem", "/keys/ca.pem"),
    Case("serve", "acme-http", None, "127.0.0.1:80", "127.0.0.1:80"),
    Case("serve", "proxy", None, "socks5://a:1", "socks5://a:1"),
    Case("serve", "remote-forwards", "loopback", "any", "any"),
    Case("serve", "bus", "memory://", "redis://r:6379/1", "redis://r:6379/1"),
    Case("serve", "max-connections-per-ip", 0, "7", 7),
    Case("serve", "max-auth-attempts", 10, "3", 3),
    Case("serve", "max-channels", 1024, "16", 16),
    Case("serve", "max-startups", 100, "50", 50),
    Case("serve", "max-startups-per-ip", 20, "5", 5),
    Case("serve", "login-grace", 30.0, "10", 10.0),
    Case("serve", "keepalive", 15.0, "5", 5.0),
    Case("serve", "workers", 1, "4", 4),
    Case("serve", "ready-fd", None, "9", 9),
    *common("serve"),
    *session("connect"),
    Case("connect", "socks5", "127.0.0.1:1080", "127.0.0.1:0", "127.0.0.1:0"),
    Case("connect", "socks5-auth", None, "me:secret", "me:secret"),
    Case("connect", "socks5-open", False, "true", True),
    Case("connect", "forward", (), "1:a:2", ("1:a:2",), "-L", "local_forwards"),
    Case("connect", "remote-forward", (), "1:a:2", ("1:a:2",), "-R", "remote_forwards"),
    Case("connect", "exit-on-forward-failure", False, "true", True),
    Case("connect", "ready-fd", None, "9", 9),
    *common("connect"),
    Case("status", "json", False, "true", True, parameter="as_json"),
    *session("stream"),
    Case("stream", "fd", None, "9", 9),
    Case("stream", "raw", False, "true", True),
    *common("stream"),
    Case("keygen", "output", "~/.ssh/id_ed25519", "/keys/new", "/keys/new", short="-o"),
    Case("keygen", "comment", None, "me", "me"),
    Case("keygen", "passphrase", False, "true", True),
    Case("keygen", "certificate", None, "/keys/a.pub", "/keys/a.pub"),
    Case("keygen", "ca", None, "/keys/ca", "/keys/ca"),
    Case("keygen", "principal", (), "alice", ("alice",), parameter="principals"),
    Case("keygen", "valid-for", "52w", "12h", "12h"),
    Case("keygen", "key-id", "", "laptop", "laptop"),
    Case("keygen", "serial", 0, "4", 4),
    Case("demo", "keep", False, "true", True),
    Case("demo", "megabytes", 16, "2", 2),
]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
with_config = pytest.mark.parametrize(
    "case", [case for case in CASES if case.command in ("serve", "connect", "stream")], ids=str
)


def as_toml(case: Case) -> str:
    if isinstance(case.value, tuple):
        return f"{case.name} = [{case.value[0]!r}]"
    value = str(case.value).lower() if isinstance(case.value, bool) else repr(case.value)
    return f"{case.name} = {value}"


def test_every_option_is_in_the_table_and_none_of_later_parts() -> None:
    there = {
        (name, option.long_name)
        for name in COMMANDS
        for option in cli.commands[name].params
        if isinstance(option, Option) and option.name != "profile"
        if not isinstance(option, ConfigOption)
    }
    assert there == {(case.command, case.name) for case in CASES}


@every_case
def test_it_has_its_default(case: Case) -> None:
    assert values_of(case.command)[case.key] == case.default


@every_case
def test_it_is_given_by_its_names(case: Case) -> None:
    for name in filter(None, (f"--{case.name}", case.short)):
        arguments = [name] if isinstance(case.value, bool) else [name, case.text]
        assert values_of(case.command, *arguments)[case.key] == case.value


@every_case
def test_its_default_may_stand_in_the_environment(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"WRAITH_{case.command}_{case.name}".upper().replace("-", "_")
    monkeypatch.setenv(variable, case.text)
    assert values_of(case.command)[case.key] == case.value


@pytest.mark.parametrize(
    "case", [case for case in CASES if not isinstance(case.value, bool)], ids=str
)
def test_its_value_may_stand_in_a_file(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text(case.text + "\n")
    assert values_of(case.command, f"--{case.name}", f"@{file}")[case.key] == case.value


@with_config
def test_it_may_stand_in_a_configuration_file(case: Case, tmp_path: Path) -> None:
    config = tmp_path / "wraith.toml"
    config.write_text(as_toml(case))
    assert values_of(case.command, "--config", str(config))[case.key] == case.value


@with_config
@pytest.mark.parametrize("profile_first", [True, False])
def test_it_may_stand_in_a_profile(case: Case, profile_first: bool, tmp_path: Path) -> None:
    config = tmp_path / "wraith.toml"
    config.write_text(f"[profiles.work]\n{as_toml(case)}\n[profiles.home]\n")
    both = [["--profile", "work"], ["--config", str(config)]]
    first, second = both if profile_first else both[::-1]
    arguments = [*first, *second]
    assert values_of(case.command, *arguments)[case.key] == case.value


def test_nearer_places_win_over_farther_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "wraith.toml"
    config.write_text("server = 'all'\n[profiles.work]\nserver = 'profile'\n")
    monkeypatch.setenv("WRAITH_CONNECT_CONFIG", str(config))
    assert values_of("connect")["server"] == "all"
    monkeypatch.setenv("WRAITH_CONNECT_PROFILE", "work")
    assert values_of("connect")["server"] == "profile"
    monkeypatch.setenv("WRAITH_SERVER", "shared")
    assert values_of("connect")["server"] == "shared"
    monkeypatch.setenv("WRAITH_CONNECT_SERVER", "own")
    assert values_of("connect")["server"] == "own"
    assert values_of("connect", "--server", "argument")["server"] == "argument"


@pytest.mark.parametrize("command", ["connect", "stream"])
def test_two_variables_are_shared_by_the_commands(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRAITH_SERVER", "gw")
    monkeypatch.setenv("WRAITH_IDENTITY", "/keys/a /keys/b")
    values = values_of(command)
    assert (values["server"], values["identity"]) == ("gw", ("/keys/a", "/keys/b"))


def test_several_lines_in_one_variable_are_several_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRAITH_SERVE_RULE", "allow db:5432\ndeny *")
    assert values_of("serve")["rules"] == ("allow db:5432", "deny *")


def test_a_single_value_in_a_file_may_stand_without_brackets(tmp_path: Path) -> None:
    config = tmp_path / "wraith.toml"
    config.write_text("listen = '127.0.0.1:0'\nremote_forwards = 'off'\n")
    values = values_of("serve", "--config", str(config))
    assert values["listen"] == ("127.0.0.1:0",)
    assert values["remote_forwards"] == "off"


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        ("nonsense = 1", [], "sets 'nonsense', which is no option of serve"),
        ("config = 'x'", [], "sets 'config', which is no option of serve"),
        ("= 1", [], "is not TOML"),
        ("", ["--profile", "work"], "has no profile 'work' (it has: none)"),
        ("[profiles.home]", ["--profile", "work"], "has no profile 'work' (it has: home)"),
        ("profiles = 3", ["--profile", "work"], "has no profile 'work' (it has: none)"),
        ("key = ['a', 'b']", [], "sets 'key' to something that it cannot be"),
        ("[listen]", [], "sets 'listen' to something that it cannot be"),
        ("max-channels = true", [], "sets 'max-channels' to something that it cannot be"),
        ("max-channels = 0", [], "'--max-channels': 0 is not in the range x>=1"),
    ],
)
def test_a_configuration_file_that_cannot_be_used(
    text: str, arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    config = tmp_path / "wraith.toml"
    config.write_text(text)
    ended = wraith("serve", "--config", str(config), *arguments)
    assert ended.exit_code == 2
    assert sentence in ended.stderr


def test_a_configuration_file_that_is_not_there(tmp_path: Path) -> None:
    ended = wraith("serve", "--config", str(tmp_path / "none.toml"))
    assert (ended.exit_code, "cannot read" in ended.stderr) == (2, True)
    ended = wraith("serve", "--profile", "work")
    assert (ended.exit_code, "needs the --config" in ended.stderr) == (2, True)
    ended = wraith("serve", "--key", "@/no/such/file")
    assert (ended.exit_code, "no such file" in ended.stderr) == (2, True)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_the_version_is_told_everywhere(command: list[str]) -> None:
    assert wraith(*command, "--version").stdout == f"wraith, version {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_option_in_a_group_of_its_purpose(command: str) -> None:
    shown = wraith(command, "--help").stdout
    for case in CASES:
        if case.command == command:
            assert f"--{case.name}" in shown
    ungrouped = shown.partition("─ Options ─")[2]
    assert "--" not in ungrouped.replace("--version", "").replace("--help", "")


LATER = [
    *(f"serve {option}" for option in ("--workers 2",)),
]


@pytest.mark.parametrize("line", LATER)
def test_what_comes_in_later_parts_is_a_usage_error_today(line: str) -> None:
    ended = wraith(*line.split())
    assert ended.exit_code == 2
    assert len(ended.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("serve --nope", "wraith: no such option '--nope'"),
        ("serve --max-channels 0", "wraith: invalid value for '--max-channels'"),
        ("serve --remote-forwards some", "wraith: invalid value for '--remote-forwards'"),
        ("serve --listen nonsense:x", "wraith: cannot listen on"),
        ("serve --rule nonsense", "wraith: "),
        ("serve --bus nats://x", "wraith: cannot use this URL for the bus"),
        ("connect", "wraith: no server given"),
        ("connect --server :::", "wraith: cannot use the address"),
        ("connect --server gw:0", "wraith: no server can have port 0"),
        ("connect --server gw --host-key md5", "wraith: the host key must be given as SHA256:"),
        ("connect --server gw --socks5 0.0.0.0:1080", "would be open to others"),
        ("connect --server gw --socks5-auth onlyuser", "wraith: "),
        ("connect --server gw -L nonsense", "wraith: "),
        ("connect --server gw -R a:b:c:d:e", "wraith: "),
        ("connect --server gw --proxy ftp://me:pwd@a:1", "cannot use this proxy: its scheme is"),
        ("serve --trust-proxy balancer", "wraith: cannot trust 'balancer': it is no network"),
        ("serve --acme-domain a", "wraith: --acme-domain is about TLS"),
        ("serve --transport tls --acme-domain *.a", "a wildcard can only be validated by DNS"),
        ("serve --transport tls --acme-http :80", "--acme-http needs the name"),
        ("serve --proxy socks5://a", "wraith: cannot use this proxy: the port is missing"),
        ("connect --server gw extra", "wraith: got unexpected extra argument (extra)"),
        ("stream --server gw", "wraith: name the DEST to connect to"),
        ("stream --server gw --raw x:1", "wraith: --raw takes no DEST"),
        ("keygen --certificate x.pub", "wraith: --certificate needs --ca KEY"),
        ("demo --megabytes 0", "wraith: invalid value for '--megabytes'"),
        ("nonsense", "wraith: no such command 'nonsense'"),
    ],
)
def test_a_usage_error_is_a_sentence_and_a_next_step(line: str, sentence: str) -> None:
    ended = wraith(*line.split())
    assert ended.exit_code == 2
    assert sentence in ended.stderr.splitlines()[0]
    assert len(ended.stderr.splitlines()) <= 2
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        ("connect", "proxy", "http://me:hunter2@a:1"),
        ("serve", "proxy", "http://me:hunter2@a:1"),
        ("stream", "proxy", "http://me:hunter2@a:1"),
        ("connect", "socks5-auth", "me:hunter2"),
    ],
)
def test_the_help_shows_no_secret_of_a_file(
    command: str, key: str, value: str, tmp_path: Path
) -> None:
    config = tmp_path / "wraith.toml"
    config.write_text(f"{key} = '{value}'\n")
    ended = wraith(command, "--config", str(config), "--help")
    assert ended.exit_code == 0
    assert f"--{key}" in ended.stdout
    assert "hunter2" not in ended.stdout

"""The options of `wraith-tun`, in each way that they may be given."""

from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from wraith_tun.options import OPTIONS, parse


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as end:
        parse(argv)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_nothing_given_means_the_whole_system_through_the_usual_port() -> None:
    options = parse([])
    assert options.socks5 == ("127.0.0.1", 1080)
    assert [str(own) for own in options.networks] == ["198.18.0.1/15", "fd57:7261:6974:6800::1/64"]
    assert (options.dns, options.udp, options.tun_name) == ("virtual", "proxy", "wraith0")
    assert (options.bypass, options.bypass_uid, options.route) == ([], [], [])
    assert not any([options.unshare, options.kill_switch, options.restore, options.command])


def test_each_may_be_given() -> None:
    words = """--socks5 [::1]:9 --tun-name t1 --tun-addr 10.9.0.1/16 --dns off --udp reject
        --bypass 192.0.2.7 --bypass 2001:db8::/32 --bypass GW.example --bypass-uid 7
        --route 10.0.0.0/8 --route fd00::/8 --kill-switch"""
    options = parse(words.split())
    assert options.socks5 == ("::1", 9)
    assert options.networks[0] == ip_interface("10.9.0.1/16")
    assert options.networks[1].version == 6
    assert options.bypass == [ip_network("192.0.2.7"), ip_network("2001:db8::/32"), "gw.example"]
    assert options.bypass_uid == [7]
    assert options.route == [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
    assert options.kill_switch


def test_a_command_keeps_its_own_options() -> None:
    words = ["git", "log", "--", "--unshare", "file"]
    assert parse(["--unshare", "--", *words]).command == words
    assert parse(["--unshare"]).command == []


def test_the_environment_says_what_the_arguments_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRAITH_TUN_SOCKS5", "127.0.0.1:7")
    monkeypatch.setenv("WRAITH_TUN_BYPASS", "192.0.2.1 gw.example")
    monkeypatch.setenv("WRAITH_TUN_KILL_SWITCH", "yes")
    options = parse([])
    assert options.socks5 == ("127.0.0.1", 7)
    assert options.bypass == [ip_network("192.0.2.1"), "gw.example"]
    assert options.kill_switch
    again = parse(["--socks5", "127.0.0.1:8", "--bypass", "192.0.2.2"])
    assert again.socks5 == ("127.0.0.1", 8)
    assert again.bypass == [ip_network("192.0.2.2")]


class TestCredentials:
    def test_stand_in_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "auth").write_text("user:pass:word\n")
        assert parse(["--socks5-auth", f"@{tmp_path}/auth"]).socks5_auth == "user:pass:word"

    def test_or_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WRAITH_TUN_SOCKS5_AUTH", "user:secret")
        assert parse([]).socks5_auth == "user:secret"

    def test_but_not_where_everybody_can_read_them(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = refused(capsys, "--socks5-auth", "user:secret")
        assert "takes @FILE" in said
        assert "secret" not in said

    def test_that_are_none_are_refused_without_being_shown(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        (tmp_path / "auth").write_text("secret")
        said = refused(capsys, "--socks5-auth", f"@{tmp_path}/auth")
        assert "USER:PASS" in said
        assert "secret" not in said


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--socks5 127.0.0.1", "--socks5"),
        ("--socks5 proxy.example:1080", "--socks5"),
        ("--socks5 127.0.0.1:70000", "70000"),
        ("--tun-name sixteen-letters-", "15 characters"),
        ("--tun-name a/b", "15 characters"),
        ("--tun-name tun%d", "15 characters"),
        ("--tun-addr 10.0.0.1/30", "/22"),
        ("--tun-addr fd00::1/126", "/120"),
        ("--tun-addr nonsense", "--tun-addr"),
        ("--tun-addr 10.9.0.0/16", "first addresses"),
        ("--tun-addr 10.9.9.9/16", "first addresses"),
        ("--dns maybe", "virtual or off"),
        ("--udp maybe", "proxy or reject"),
        ("--bypass 10.0.0.0/99", "--bypass"),
        ("--bypass 300.0.0.1", "--bypass"),
        ("--bypass-uid bob", "--bypass-uid"),
        ("--route 10.0.0.1/8", "--route"),
        ("--unshare --bypass 10.0.0.1", "no --bypass"),
        ("--unshare --kill-switch", "no --kill-switch"),
        ("-- curl", "needs --unshare"),
        ("curl", "needs --unshare"),
        ("--socks5 @/nowhere/at/all", "No such file"),
        ("--unknown", "unrecognized"),
    ],
)
def test_what_cannot_be_used_is_named(
    capsys: pytest.CaptureFixture[str], argv: str, words: str
) -> None:
    assert words in refused(capsys, *argv.split())


def test_help_names_every_option_and_its_default_and_version_says_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [name for name, *_ in OPTIONS]
    defaults = ["127.0.0.1:1080]", "wraith0]", "virtual]", "proxy]"]
    for option, words in (("--help", [*names, *defaults]), ("--version", ["."])):
        with pytest.raises(SystemExit) as end:
            parse([option])
        assert end.value.code == 0
        said = capsys.readouterr().out
        assert all(word in said for word in words)

"""What the command line and the environment say."""

import argparse
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

WHAT = "All traffic of this machine, or of one command, through a SOCKS5 server."


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not 0 < int(port) < 65536:
        raise ValueError(f"{port} is no port")
    return str(ip_address(host.strip("[]").replace("localhost", "127.0.0.1"))), int(port)


def _secret(text: str) -> str:
    user, colon, password = text.partition(":")
    if not colon or not 0 < len(user.encode()) < 256 or not len(password.encode()) < 256:
        raise ValueError("USER:PASS is meant, each of at most 255 bytes")
    return text


def _place(text: str) -> IPv4Network | IPv6Network | str:
    """A network; or a name, which is looked up later."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        if "/" in text or ":" in text or text[-1:].isdigit():
            raise
        return text.lower().rstrip(".")


OPTIONS: list[tuple[str, str, Callable[[str], Any], Any, str]] = [
    ("--socks5", "ADDR:PORT", _endpoint, "127.0.0.1:1080", "the SOCKS5 server"),
    ("--socks5-auth", "@FILE", _secret, None, "a file with its USER:PASS"),
    ("--tun-name", "NAME", str, "wraith0", "the device"),
    ("--tun-addr", "CIDR", ip_interface, [], "the device's networks, one for each version of IP"),
    ("--dns", "virtual|off", str, "virtual", "whether DNS is answered here"),
    ("--udp", "proxy|reject", str, "proxy", "what becomes of UDP"),
    ("--bypass", "CIDR|HOST", _place, [], "what goes round the tunnel"),
    ("--bypass-uid", "UID", int, [], "who goes round the tunnel"),
    ("--route", "CIDR", ip_network, [], "go through the tunnel to these only"),
    ("--kill-switch", "", bool, False, "after a crash, nothing goes out at all"),
    ("--unshare", "", bool, False, "run COMMAND, or your shell, in a network of its own"),
    ("--restore", "", bool, False, "remove what a killed run has left"),
]
"""Name, what it takes, how that is read, what it is by default, what it is for."""

OWN = ("198.18.0.1/15", "fd57:7261:6974:6800::1/64")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the options; what is not given may stand in the environment, as `WRAITH_TUN_SOCKS5`.

    A value `@FILE` stands in that file. Ends the program with code 2 on what cannot be used.
    """
    parser = argparse.ArgumentParser("wraith-tun", description=WHAT, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=version("wraith-tunnel"))
    for name, metavar, kind, default, text in OPTIONS:
        if kind is bool:
            parser.add_argument(name, action="store_true", help=text, default=None)
        else:
            action = "append" if default == [] else "store"
            text += f" [default: {default}]" if default else ""
            parser.add_argument(name, metavar=metavar, action=action, help=text)
    parser.add_argument("command", metavar="-- COMMAND", nargs="*", help="with --unshare")
    end = argv.index("--") if "--" in argv else len(argv)
    options = parser.parse_args(argv[:end])
    options.command += argv[end + 1 :]
    if not (options.socks5_auth or "@").startswith("@"):
        parser.error("--socks5-auth takes @FILE: everybody can read a command line")
    for name, _, kind, default, _ in OPTIONS:
        try:
            key = name[2:].replace("-", "_")
            setattr(options, key, _understood(getattr(options, key), key, kind, default))
        except (OSError, ValueError) as error:
            parser.error(f"{name}: {error}")
    if complaint := _complaint(options):
        parser.error(complaint)
    return options


def _understood(given: Any, key: str, kind: Callable[[str], Any], default: Any) -> Any:
    said = os.environ.get(f"WRAITH_TUN_{key.upper()}")
    if kind is bool:
        return given or (said or "").lower() in ("1", "true", "yes", "on")
    if default == []:
        return [_read(text, kind) for text in given or (said or "").split()]
    text = given or said or default
    return _read(text, kind) if text else text


def _read(text: str, kind: Callable[[str], Any]) -> Any:
    return kind(Path(text[1:]).read_text().strip() if text.startswith("@") else text)


def _complaint(options: argparse.Namespace) -> str:
    """What does not go together, or an empty text; fills in the device's networks."""
    own = {each.version: each for each in (*map(ip_interface, OWN), *options.tun_addr)}
    options.networks = [own[4], own[6]]
    if len(options.tun_name.encode()) > 15 or set("/:% \t\n") & set(options.tun_name):
        return "--tun-name takes at most 15 characters, and none of / : % and spaces"
    if not all(0 < int(each.ip) - int(each.network[0]) < 255 for each in options.networks):
        return "--tun-addr needs one of the first addresses of its network, as 10.9.0.1/16"
    if own[4].network.prefixlen > 22 or own[6].network.prefixlen > 120:
        return "--tun-addr needs a network of /22 or larger, in IPv6 of /120 or larger"
    if options.dns not in ("virtual", "off") or options.udp not in ("proxy", "reject"):
        return "--dns is virtual or off, --udp is proxy or reject"
    if options.unshare and (options.bypass or options.bypass_uid or options.kill_switch):
        return "with --unshare nothing can go round the tunnel: no --bypass, no --kill-switch"
    if options.command and not options.unshare:
        return "a command needs --unshare; without it the whole system is meant"
    return ""

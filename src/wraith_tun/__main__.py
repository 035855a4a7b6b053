"""`wraith-tun`: a look for the SOCKS5 server, and then one of the two ways of running."""

import asyncio
import os
import resource
import secrets
import signal
import socket
import sys
from argparse import Namespace
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import NoReturn

from wraith_tun import namespace, system
from wraith_tun.device_linux import Device
from wraith_tun.dns import Names
from wraith_tun.engine import Engine
from wraith_tun.errors import CannotStart
from wraith_tun.options import parse
from wraith_tun.to_socks5 import NotTaken, Socks5

DESCRIPTORS = 600
"""Descriptors that are not for connections, which need two each: most are for UDP."""


def main() -> NoReturn:
    """The console script."""
    options = parse(sys.argv[1:])
    try:
        if sys.platform != "linux":
            raise CannotStart(
                "it works on Linux only; elsewhere, point programs at the SOCKS5 port"
            )
        if options.restore:
            system.restore()
            sys.exit(0)
        host, port = options.socks5
        socks5 = Socks5(host, port, options.socks5_auth)
        asyncio.run(_look_for(socks5))
        sys.exit((_one_command if options.unshare else _whole_system)(options, socks5))
    except CannotStart as error:
        sys.exit(f"wraith-tun: {error}")


async def _look_for(socks5: Socks5) -> None:
    at = f"{socks5.host} port {socks5.port}"
    try:
        async with asyncio.timeout(10):
            (await socks5.greet()).close()
    except NotTaken as error:
        raise CannotStart(f"the SOCKS5 server at {at} cannot be used: {error}") from error
    except (OSError, EOFError) as error:
        remedy = "start `wraith connect`, or name another with --socks5"
        raise CannotStart(f"no SOCKS5 server answers at {at}; {remedy}") from error


def _one_command(options: Namespace, socks5: Socks5) -> int:
    os.environ.pop("WRAITH_TUN_SOCKS5_AUTH", None)  # not for the command
    command = options.command or [os.environ.get("SHELL", "/bin/sh")]
    routes = options.route or system.EVERYTHING
    dns = options.dns == "virtual"
    child, device, go = namespace.start(
        command, options.tun_name, options.networks, routes, virtual_dns=dns
    )
    watch = os.pidfd_open(child)

    def ended(engine: Engine) -> None:
        asyncio.get_running_loop().remove_reader(watch)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        engine.end(code if code >= 0 else 128 - code)

    def begin(engine: Engine) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(watch, ended, engine)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal tells the command, too
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, os.kill, child, number)
        go.send(b"!")

    return asyncio.run(_serve(options, socks5, {}, device, begin))


def _whole_system(options: Namespace, socks5: Socks5) -> int:
    names = {host: _addresses(host) for host in options.bypass if isinstance(host, str)}
    bypass = [each for each in options.bypass if not isinstance(each, str)]
    bypass += [ip_network(address) for found in names.values() for address in found]
    found, servers = system.connections(), set()
    if ip_address(socks5.host).is_loopback:
        servers = system.servers_of(socks5.port, found)
    else:
        bypass.append(ip_network(socks5.host))
    if not servers and not bypass and not options.bypass_uid:
        print(
            "wraith-tun: nobody can see where the SOCKS5 server connects to; name that address "
            "with --bypass, or the tunnel goes in circles",
            file=sys.stderr,
        )
    plan = system.Plan(
        bypass,
        servers,
        options.bypass_uid,
        options.route or system.EVERYTHING,
        options.dns == "virtual",
        options.kill_switch,
    )

    def engine(device: Device, ready: int) -> int:
        def begin(engine: Engine) -> None:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, engine.end, 0)
            os.write(ready, b"!")

        return asyncio.run(_serve(options, socks5, names, device, begin))

    return system.run(plan, options.tun_name, options.networks, found, engine)


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CannotStart(f"--bypass {host}: no such name; give its address instead") from error
    return [str(entry[4][0]) for entry in found]


async def _serve(
    options: Namespace,
    socks5: Socks5,
    names: dict[str, list[str]],
    device: Device,
    begin: Callable[[Engine], None],
) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_defect)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    network = options.networks[0].network
    engine = Engine(
        device,
        options.networks,
        socks5,
        Names(network, names, secrets.randbelow(network.num_addresses)),
        virtual_dns=options.dns == "virtual",
        udp=options.udp == "proxy",
        limit=max(most - DESCRIPTORS, 100) // 2,
    )
    begin(engine)
    return await engine.over


def _defect(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Say what nobody caught by its kind only: the rest may hold a destination."""
    kind = type(context.get("exception")).__name__
    print(f"wraith-tun: internal error ({kind}); please report it", file=sys.stderr)


if __name__ == "__main__":
    main()

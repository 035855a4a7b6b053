"""`wraith-tun`: a look for the SOCKS5 server, and then one of the two ways of running."""

import socket
import sys
from argparse import Namespace
from ipaddress import ip_network
from typing import NoReturn

from wraith_tun.errors import CannotStart
from wraith_tun.options import parse


def main() -> NoReturn:
    """The console script."""
    options = parse(sys.argv[1:])
    try:
        sys.exit(_run(options))
    except CannotStart as error:
        sys.exit(f"wraith-tun: {error}")


def _run(options: Namespace) -> int:
    if sys.platform != "linux":
        raise CannotStart("it works on Linux only; elsewhere, point programs at the SOCKS5 port")
    from wraith_tun import namespace, socks5, system  # they need Linux to be imported at all

    if options.restore:
        system.restore()
        return 0
    host, port = options.socks5
    options.server = socks5.Socks5(host, port, options.socks5_auth)
    options.server.look_for()
    options.names = {host: _addresses(host) for host in options.bypass if isinstance(host, str)}
    options.bypass = [each for each in options.bypass if not isinstance(each, str)]
    options.bypass += [ip_network(each) for found in options.names.values() for each in found]
    return namespace.run(options) if options.unshare else system.run(options)


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CannotStart(f"--bypass {host}: no such name; give its address instead") from error
    return [str(entry[4][0]) for entry in found]


if __name__ == "__main__":
    main()

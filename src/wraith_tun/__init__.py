"""Everything through the tunnel: packets of a TUN device become connections of a SOCKS5 server.

A program of its own. It knows nothing of SSH and imports nothing of `wraith`, and nothing but the
standard library, so that what is privileged can be read in an afternoon. Start with `engine`:

    packets, flows, dns     what a packet is, whose it is, and which name it means; pure
    engine, relay           the loop that reads the device, and the bytes of one connection
    loop, socks5, udp       what waits for what, and the way out
    device_linux, netlink   the device, addresses, routes, rules
    namespace, system       the two ways of running: one command, or the whole machine
"""

"""SOCKS5 (RFC 1928) with user names and passwords (RFC 1929): the messages and both sides."""

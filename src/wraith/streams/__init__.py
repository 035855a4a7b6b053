"""One duplex of bytes, and what can be done with it.

A stream is an `asyncio.Transport`: write, write_eof, pause and resume reading, close, abort. What
reads it is an `asyncio.Protocol`. Sockets, SSH channels, proxied and in-memory connections all look
alike from here; `wraith.testing.conformance` states what each of them promises.
"""

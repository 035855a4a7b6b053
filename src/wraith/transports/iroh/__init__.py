"""Peer to peer over QUIC, by the id of an endpoint instead of an address (extra: `iroh`).

    kind.py        what the options make of all this
    endpoint.py    one socket and one identity for all sessions of a client or a server
    connecting.py  the client's side: a peer's id, address or ticket
    accepting.py   the server's side: handshakes of strangers, bounded in number and time
    stream.py      the two halves of a QUIC stream as one `asyncio.Transport`
    outbox.py      what waits to be sent
    calls.py       reading and writing by the binding's own methods
    shortcuts.py   the same without its detours, by private names that are checked first
    binding.py     loads the binding, and says what its errors mean
    key.py         the secret key of an endpoint, on disk

Nothing here is imported, and the binding not loaded, before the transport is used.
"""

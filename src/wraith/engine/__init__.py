"""What a program in another language drives: the Node package's engine.

The other program (the host) starts `wraith engine` as its child and holds one end of a control
channel. Over that it asks for streams and servers; each stream is a Unix socket of its own, so the
bytes of one never wait behind those of another.

    frames     the messages of the control channel; pure
    settings   the host's options, turned into `ConnectOptions` and `ServeOptions`
    failures   errors, as the host is told of them
    bridge     one channel joined to one socket of the host
    streams    the streams of one engine, from the first request to the last byte
    engine     the control channel, and what the host asks for
"""

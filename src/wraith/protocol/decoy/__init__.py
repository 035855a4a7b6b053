"""What a stranger is told: an HTTP/1.x server that answers as nginx does where every path is 404.

The behaviour is nginx 1.22's (Debian 12) with `server_tokens off` and `location / { return 404; }`,
learnt from its documentation and by watching it; `interop/stealth` holds the two side by side.
Nothing here looks for a probe: each module is a part of how that server reads, decides and answers.

    tables.py    bytes to states: the request line and the header lines, as they trickle in
    request.py   what the lines mean, and which status they deserve
    bodies.py    request bodies, which are counted and thrown away
    buffers.py   how much of a head is kept, and when it is too much
    pages.py     the answers, byte for byte
    machine.py   the connection: requests in turn, keep-alive, lingering, time-outs
"""

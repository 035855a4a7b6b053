"""Is it nginx? A battery of probes, put to a real nginx and to Wraith, compared byte for byte.

wire.py            one connection under full control: TLS by hand over a plain socket
probe.py           what a probe is, how it is run, and what is seen of the other side
http_probes.py     requests, well-formed and not; bodies; keep-alive; endings; time-outs
tls_probes.py      versions, ciphers, names, protocols, tickets, broken records, plain text
first_bytes.py     what other programs say first, cut in every way
nginx.py           the oracle, configured as Debian's with `location / { return 404; }`
compare.py         both sides in parallel, and the table of what differs
"""

"""Yes or no, and how long: every decision of Wraith that needs no network.

- `identity` says who may come in, from what `authorized_keys`, `keys` and `revoked_keys` read.
- `access` and `forwarding` say where they may go: the server's rules, and the limits of a key.
- `limits` says how many connections, how often, and who has to wait outside.
- `known_hosts` says whether a server is the one it was; `reconnect` whether to try again.

Nothing here waits, opens anything or looks at a clock: time and chance are passed in. What OpenSSH
has a format or a rule for is done as OpenSSH does it, and the docstrings name the manual page.
"""

"""Stories about Wraith among strangers.

Every counterpart here is the real program: OpenSSH's client and server, curl, git, nc, ncat,
proxychains4, pip, PySocks, httpx, ssh-audit. They run as throw-away processes on loopback, with
throw-away keys, and each story reads as what somebody did and what came of it.

A tunnel has two ends, and each end can be played by `wraith` or by `openssh`; a `Pair` says by
whom. The same story runs for each pair that holds Wraith. The pair openssh-openssh is the oracle:
it proves the stories themselves. One small story always runs with it; all of them do with

    INTEROP_PAIRS=openssh-openssh pytest interop

`scripts/install-peers` installs the programs on Debian. A story whose program is missing is
skipped and names it; with CI=true it fails instead.
"""

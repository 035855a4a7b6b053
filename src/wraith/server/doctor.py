"""`wraith doctor serve`: whether the server would start, and what an operator should know of it.

No key is made and no port stays bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wraith.errors import ListenError, WraithError
from wraith.server.identity_store import IdentityStore
from wraith.server.options import ServeOptions
from wraith.ssh.keys import load_private_key
from wraith.state.folder import state_dir
from wraith.streams.listening import try_to_bind
from wraith.values.address import HostPort
from wraith.values.finding import Finding, fail, ok, warn

ENOUGH_DESCRIPTORS = 4096


def examine(options: ServeOptions) -> Iterator[Finding]:
    """Go through what the server needs on its start."""
    yield _examine_host_key(options)
    yield _examine_identities(options)
    yield from _examine_listeners(options)
    yield _examine_rules(options)
    yield from _examine_descriptors()


def _examine_host_key(options: ServeOptions) -> Finding:
    if isinstance(options.key, bytes):
        return ok("host-key", "it is given in memory")
    path = Path(options.key).expanduser() if options.key else state_dir() / "host_ed25519"
    try:
        if not path.exists():
            return ok("host-key", f"{path} will be made on the first start")
        if path.stat().st_mode & 0o077:
            return warn("host-key", f"others may read {path}", f"chmod 600 {path}")
        key = load_private_key(path.read_bytes(), name=str(path))
    except OSError as error:
        reason = (error.strerror or "it failed").lower()
        return fail("host-key", WraithError(f"cannot read {path}: {reason}"))
    except WraithError as error:
        return fail("host-key", error)
    return ok("host-key", f"{key.public.fingerprint} in {path}")


def _examine_identities(options: ServeOptions) -> Finding:
    store = IdentityStore(options)
    try:
        store.load()
    except WraithError as error:
        return fail("authorized-keys", error)
    return ok("authorized-keys", "they can be read; lines that cannot are named above, if any")


def _examine_listeners(options: ServeOptions) -> Iterator[Finding]:
    for address in options.listen_addresses():
        if address.scheme not in ("tcp", "tls"):
            yield ok("listen", f"{address} is not tried: it needs its network")
            continue
        try:
            try_to_bind(HostPort(address.host, address.port))
        except ListenError as error:
            hint = error.hint or "choose another port, for example --listen 0.0.0.0:2222"
            yield fail("listen", ListenError(error.message, hint=hint))
        else:
            yield ok("listen", f"{address} is free")


def _examine_rules(options: ServeOptions) -> Finding:
    count = len(options.rules)
    if count:
        return ok(
            "rules", f"{count} rule{'' if count == 1 else 's'}, the first that matches decides"
        )
    return warn(
        "rules",
        "there are none: keys reach this machine's loopback and its private networks",
        "where something trusts loopback, begin with --rule 'deny loopback'",
    )


def _examine_descriptors() -> Iterator[Finding]:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= allowed < ENOUGH_DESCRIPTORS:
        hint = f"ulimit -n {min(65536, most) if most > 0 else 65536}, or LimitNOFILE= of systemd"
        yield warn("descriptors", f"{allowed} may be open: about as many connections", hint)
    else:
        yield ok("descriptors", f"{allowed} may be open")

"""A certificate that is obtained and renewed by itself (extra: acme).

What is kept lies in `<state>/acme/<authority>`, mode 0700: the account with its key, and the
certificate with its key in one file. While there is no certificate yet, every handshake fails; the
server runs, and tries again. A renewed certificate takes the old one's place for new connections,
and those that exist do not notice. A renewal that fails leaves the old one in place.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from cryptography import x509

from wraith.errors import IdentityError, UsageError, WraithError
from wraith.policy.renewal import LOOK_EVERY, Lifetime, next_look, retry_delay
from wraith.state.files import replace_private
from wraith.state.folder import make_state_dir
from wraith.streams.log_line import log_event
from wraith.streams.tasks import TaskSet
from wraith.transports.acme_authority import HTTP_01, TLS_ALPN_01, Authority, Order, OrderFailed
from wraith.transports.acme_challenges import AlpnChallenges, HttpChallenges
from wraith.transports.acme_options import AcmeOptions
from wraith.transports.base import ServeSettings
from wraith.transports.certificates import CertificateSource, server_context

_log = logging.getLogger("wraith.server")

T = TypeVar("T")


class Audience(Protocol):
    """Other processes, which show what this one obtains, and answer challenges in its place."""

    async def challenged(self, identifier: str, key_authorization: str) -> None:
        """A challenge is pending. Returns when they can answer it, or after a while."""
        ...

    def settled(self) -> None:
        """Nothing is pending any more."""
        ...

    def obtained(self) -> None:
        """There is another certificate, in the file where it is kept."""
        ...


class AcmeCertificate:
    """The certificate of one server, and the task that sees to it; shared by its TLS addresses.

    `now` returns seconds since the epoch; `make_context` makes the context that a certificate is
    loaded into.
    """

    def __init__(
        self,
        options: AcmeOptions,
        now: Callable[[], float] = time.time,
        make_context: Callable[[], ssl.SSLContext] = server_context,
    ) -> None:
        self._options = options
        self._now = now
        self.source = CertificateSource(make_context)
        self._alpn = AlpnChallenges()
        self._tasks = TaskSet("acme")
        self._users = 0
        self._authority: Authority | None = None
        self._failures = 0
        self._hurry = asyncio.Event()
        self._follows = False
        self.audience: Audience | None = None

    def __repr__(self) -> str:
        return f"<AcmeCertificate {' '.join(self._options.domains)} failures={self._failures}>"

    @property
    def name(self) -> str:
        """The first name that it is for, or will be."""
        return self.source.name or self._options.domains[0]

    def choose(self, first: bytes) -> ssl.SSLContext | None:
        """How to answer a client, by its first bytes; None while they do not say enough."""
        return self._alpn.choose(first, self.source.context)

    # Life

    async def start(self) -> None:
        """Show what was kept, and begin to look after it; called for each address that listens.

        Raises `IdentityError` where nothing can be kept, and `ListenError` where the port for
        challenges cannot be had.
        """
        self._users += 1
        if self._users > 1:
            return
        try:
            self._folder = _make_folder(self._options.directory)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise IdentityError(f"cannot keep a certificate by ACME: {reason}") from error
        self.show_kept()
        if self._follows:
            return
        await self._try_http()
        self._tasks.spawn(self._look_after(), "look after the certificate")

    def reload(self, settings: ServeSettings) -> None:
        """Go by other options, and look at once; what is bad is logged and changes nothing."""
        try:
            options = AcmeOptions.of(settings)
            if options is None:
                raise UsageError("to leave ACME, start the server anew")
            self._folder = _make_folder(options.directory)
        except (UsageError, OSError) as error:
            log_event(_log, logging.ERROR, "certificate not reloaded", reason=str(error))
            return
        self._options, self._authority, self._failures = options, None, 0
        if self._follows:
            self.show_kept()
        self._hurry.set()

    async def close(self) -> None:
        """End; called as often as `start`."""
        self._users -= 1
        if not self._users:
            await self._tasks.close()

    # As one of several processes

    def follow(self) -> None:
        """Only show what another process obtains, and answer what that one is asked."""
        self._follows = True

    def challenged(self, identifier: str, key_authorization: str) -> None:
        """A challenge is pending, and may come here."""
        self._alpn.add(identifier, key_authorization, self._folder)

    def settled(self) -> None:
        """Nothing is pending any more."""
        self._alpn.clear()

    async def _try_http(self) -> None:
        """A port that cannot be had is told now, and not at the first renewal."""
        if self._options.http is not None:
            challenges = HttpChallenges(self._options.http)
            await challenges.open()
            challenges.close()

    @property
    def _path(self) -> Path:
        return self._folder / "certificate.pem"

    def show_kept(self) -> None:
        """Show what is in the file, if it can be."""
        if not self._path.exists():
            return
        try:
            self.source.replace(self._path)
        except IdentityError as error:
            log_event(_log, logging.WARNING, "certificate not usable", reason=error.message)

    # Renewal

    async def _look_after(self) -> None:
        while True:
            self._hurry.clear()
            try:
                wait = await self._look()
                self._failures = 0
            except WraithError as error:
                wait = self._failed(error.message, "")
            except OrderFailed as error:
                wait = self._failed(error.message, error.problem)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), wait)

    async def _look(self) -> float:
        """Obtain or renew what is due; seconds until the next look."""
        due = await self._due()
        if due <= self._now():
            await self._obtain()
            due = await self._due()
            if due <= self._now():  # an authority that is never content would keep us at it
                return LOOK_EVERY
        return next_look(self._now(), due)

    async def _due(self) -> float:
        """When the certificate is to be renewed: now, where it is not for all our names."""
        leaf = self.source.leaf
        if leaf is None or names_of(leaf) != set(self._options.domains):
            return self._now()
        life = Lifetime(leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp())
        return life.due(await self._suggested())

    async def _suggested(self) -> float | None:
        """What the authority suggests; an authority that cannot say decides nothing."""
        chain = self._path.read_bytes()
        try:
            authority = await self._logged_in()
            return await _in_thread(lambda: authority.suggested_renewal(chain))
        except OrderFailed as error:
            log_event(_log, logging.DEBUG, "no renewal information", reason=error.message)
            return None

    def _failed(self, reason: str, problem: str) -> float:
        self._failures += 1
        self._authority = None  # it may have forgotten us, or moved
        wait = retry_delay(self._failures, problem)
        log_event(
            _log,
            logging.ERROR,
            "certificate not obtained",
            reason=reason,
            problem=problem or "-",
            retry_in=f"{wait:.0f}",
        )
        return wait

    async def _logged_in(self) -> Authority:
        if self._authority is None:
            options, folder = self._options, self._folder

            def log_in() -> Authority:
                authority = Authority(options.directory, folder, options.ca)
                authority.log_in(options.email)
                return authority

            self._authority = await _in_thread(log_in)
        return self._authority

    async def _obtain(self) -> None:
        """One order, from its beginning to the certificate that new connections see."""
        authority = await self._logged_in()
        names = list(self._options.domains)
        order = await _in_thread(lambda: authority.order(names))
        async with self._answering(order):
            chain = await _in_thread(order.finish)
        try:
            replace_private(self._path, chain)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise IdentityError(f"cannot write {self._path}: {reason}") from error
        self.source.replace(self._path)
        log_event(_log, logging.INFO, "certificate obtained", pin=self.source.pin)
        if self.audience is not None:
            self.audience.obtained()

    @contextlib.asynccontextmanager
    async def _answering(self, order: Order) -> AsyncIterator[None]:
        """While inside, the authority finds what it looks for."""
        http = self._options.http
        challenges = order.challenges(TLS_ALPN_01 if http is None else HTTP_01)
        port = HttpChallenges(http) if http is not None else None
        try:
            if port is not None:
                await port.open()
            for challenge in challenges:
                if port is not None:
                    port.add(challenge.token, challenge.key_authorization)
                else:
                    await self._show(challenge.identifier, challenge.key_authorization)
            for challenge in challenges:
                await _in_thread(functools.partial(order.answer, challenge))
            yield
        finally:
            self._alpn.clear()
            if self.audience is not None:
                self.audience.settled()
            if port is not None:
                port.close()

    async def _show(self, identifier: str, key_authorization: str) -> None:
        self._alpn.add(identifier, key_authorization, self._folder)
        if self.audience is not None:
            await self.audience.challenged(identifier, key_authorization)


def names_of(certificate: x509.Certificate) -> set[str]:
    """The names and addresses that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return set()
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return {*map(str.lower, found.get_values_for_type(x509.DNSName)), *addresses}


def _make_folder(directory: str) -> Path:
    """Where things of this authority are kept: another authority has another account."""
    digest = hashlib.sha256(directory.encode()).hexdigest()[:8]
    folder = make_state_dir() / "acme" / f"{urlsplit(directory).hostname}-{digest}"
    for path in (folder.parent, folder):
        path.mkdir(exist_ok=True, mode=0o700)
    return folder


async def _in_thread(work: Callable[[], T]) -> T:
    """The result of `work`, which blocks.

    Its thread is nobody's: a server that stops does not wait for an authority that is slow.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="acme", daemon=True).start()
    return await done

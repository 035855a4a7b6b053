"""What the operator is told about the upstream proxy: when it fails, how, and when it is back.

WARNING upstream proxy fails reason="cannot reach the proxy socks5://127.0.0.1:1080: …"
INFO upstream proxy works proxy=socks5://127.0.0.1:1080
"""

from __future__ import annotations

import logging

from wraith.errors import ProxyError
from wraith.streams.log_line import log_event
from wraith.values.proxy_url import ProxyUrl

_log = logging.getLogger("wraith.server")


class ProxyWatch:
    """Hears how each connection went; one line a change, however many channels fail."""

    def __init__(self, proxy: ProxyUrl) -> None:
        self._proxy = proxy
        self._fault: str | None = None

    def __repr__(self) -> str:
        return f"<ProxyWatch {self._proxy} {'fails' if self._fault else 'works'}>"

    def note(self, error: ProxyError | None) -> None:
        """The proxy did its work, or failed in this way."""
        fault = error.message if error is not None else None
        if fault == self._fault:
            return
        self._fault = fault
        if error is None:
            log_event(_log, logging.INFO, "upstream proxy works", proxy=self._proxy)
        else:
            log_event(_log, logging.WARNING, "upstream proxy fails", reason=fault)

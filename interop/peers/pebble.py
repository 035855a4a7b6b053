"""`pebble`, the ACME test server of Let's Encrypt, and its DNS, for one story."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.request
from pathlib import Path

from interop.peers.process import wait_until
from interop.peers.roles import Address, free_port
from interop.peers.stage import Stage
from interop.peers.tools import require_tool

REFUSED = "refused.test"
"""A name for which it never issues."""


class Pebble:
    """It validates every name at 127.0.0.1, on the ports that the story serves.

    It refuses nonces, never waits before it looks, and does not trust an earlier validation.
    """

    def __init__(self, stage: Stage, nonces_refused: int = 5) -> None:
        self._stage, self._nonces_refused = stage, nonces_refused
        self._home = stage.home("pebble")
        self.tls_port, self.http_port = free_port(), free_port()
        self._address, self._management = free_port(), free_port()
        self._dns, dns_management = free_port(), free_port()
        self._make_certificate()
        names = stage.process(
            [
                require_tool("pebble-challtestsrv"),
                *("-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""),
                *("-dns01", f"127.0.0.1:{self._dns}"),
                *("-management", f"127.0.0.1:{dns_management}"),
                *("-http01", "", "-https01", "", "-tlsalpn01", ""),
            ]
        )
        names.wait_for_log(lambda log: "Starting" in log)
        self.start()

    def start(self) -> None:
        """Start, or start again; it forgets everything in between."""
        config = self._home / "pebble.json"
        config.write_text(json.dumps({"pebble": self._config()}))
        self.process = self._stage.process(
            [require_tool("pebble"), "-config", config, "-dnsserver", f"127.0.0.1:{self._dns}"],
            PEBBLE_VA_NOSLEEP="1",
            PEBBLE_WFE_NONCEREJECT=str(self._nonces_refused),
            PEBBLE_AUTHZREUSE="0",
        )
        self.process.wait_for_log(lambda log: "ACME directory available" in log)
        wait_until(self._answers, 10, "pebble answers")

    def _config(self) -> dict[str, object]:
        return {
            "listenAddress": f"127.0.0.1:{self._address}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(self.ca),
            "privateKey": str(self._home / "key.pem"),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "domainBlocklist": [REFUSED],
        }

    def _make_certificate(self) -> None:
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        files = ["-keyout", str(self._home / "key.pem"), "-out", str(self.ca)]
        subject = ["-subj", "/CN=localhost", "-addext", names]
        command = [str(require_tool("openssl")), "req", "-x509", *kind, *files, *subject]
        subprocess.run(command, check=True, capture_output=True)

    @property
    def ca(self) -> Path:
        """Who vouches for pebble itself."""
        return self._home / "cert.pem"

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self._address}/dir"

    @property
    def where(self) -> Address:
        """Where it looks for TLS-ALPN-01."""
        return Address("127.0.0.1", self.tls_port)

    def root(self) -> Path:
        """Who vouches for the certificates that it issues."""
        path = self._home / "root.pem"
        path.write_bytes(self._ask(f"https://127.0.0.1:{self._management}/roots/0"))
        return path

    def _answers(self) -> bool:
        try:
            return b"newOrder" in self._ask(self.directory)
        except OSError:
            return False

    def _ask(self, url: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            return bytes(answer.read())

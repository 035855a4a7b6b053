"""The oracle: Debian's nginx with `location / { return 404; }`, on a port of this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from interop.peers.process import Process, wait_until
from interop.peers.tools import clean_environment, require_tool
from interop.stealth.wire import reachable

# The `ssl_` lines are those of Debian's nginx.conf; all others are nginx's own defaults.
CONFIGURATION = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 768; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server_tokens off;
    ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers on;
    server {{
        listen 127.0.0.1:{port} ssl{options};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{ return 404; }}
    }}
}}
"""


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate and its key; RSA, whose signatures all have the same length."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = [
        *(str(require_tool("openssl")), "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
        *("-keyout", str(key), "-out", str(certificate), "-days", "2"),
        *("-subj", "/CN=example.com", "-addext", "subjectAltName=DNS:example.com,IP:127.0.0.1"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


class Nginx:
    """A running nginx; `options` go behind `listen … ssl`."""

    def __init__(
        self, folder: Path, port: int, certificate: tuple[Path, Path], options: str = ""
    ) -> None:
        folder.mkdir()
        self.port = port
        self.error_log = folder / "error.log"
        configuration = folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                folder=folder,
                port=port,
                certificate=certificate[0],
                key=certificate[1],
                options=options,
            )
        )
        command: list[str | Path] = [
            require_tool("nginx"),
            "-c",
            configuration,
            "-e",
            self.error_log,
        ]
        self._process = Process(command, folder / "nginx.out", clean_environment(folder))
        wait_until(lambda: reachable(port) or not self._process.running, 10, "nginx listens")
        assert self._process.running, self._process.log

    def stop(self) -> None:
        self._process.kill()

"""The facts of a TLS connection, as `wraith doctor` tells them."""

from __future__ import annotations

import asyncio
import datetime as dt

from cryptography import x509

from wraith.values.finding import Finding, ok, warn

SOON = 14
"""Days before the end of a certificate from which it is told."""


def examine_tls(stream: asyncio.BaseTransport, *, insecure: bool) -> Finding:
    """What the connection is made of, and how long its certificate lasts."""
    tls = stream.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True)
    facts = [str(tls.version()), str((tls.cipher() or ["-"])[0])]
    if not der:
        return warn("tls", f"{', '.join(facts)}; no certificate was shown")
    certificate = x509.load_der_x509_certificate(der)
    ends = certificate.not_valid_after_utc
    left = (ends - dt.datetime.now(dt.UTC)).days
    facts.append(f"certificate until {ends:%Y-%m-%d}")
    text = ", ".join(facts)
    if insecure:
        hint = "leave out --insecure, with --tls-pin or --tls-ca where the roots do not know it"
        return warn("tls", f"{text}; it was not verified", hint)
    if left < SOON:
        return warn("tls", f"{text}: {left} days left", "renew it on the server")
    return ok("tls", text)

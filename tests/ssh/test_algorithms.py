"""Which algorithms we ask for, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from wraith.ssh import algorithms


@pytest.mark.parametrize(
    ("facts", "leads"),
    [
        ("flags\t\t: fpu aes sse2\n", "aes128-gcm"),
        ("Features\t: fp asimd aes\n", "aes128-gcm"),
        ("flags\t\t: fpu sse2\n", "chacha20"),
        ("processor: 0\n", "aes128-gcm"),
        (None, "aes128-gcm"),
    ],
)
def test_the_cipher_that_the_processor_helps_with_leads(
    facts: str | None, leads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_path: Path, **_how: str) -> str:
        if facts is None:
            raise OSError
        return facts

    monkeypatch.setattr(Path, "read_text", read)
    algorithms.ciphers.cache_clear()
    try:
        offered = algorithms.ciphers()
    finally:
        algorithms.ciphers.cache_clear()
    assert offered[0].startswith(leads)
    assert len(offered) == 3


def test_the_host_keys_on_record_lead() -> None:
    assert algorithms.host_keys_led_by([]) == algorithms.HOST_KEYS
    led = algorithms.host_keys_led_by(["ssh-rsa", "ssh-dss"])
    assert led[:2] == ["rsa-sha2-512", "rsa-sha2-256"]
    assert sorted(led) == sorted(algorithms.HOST_KEYS)

"""One event, one line."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.streams.log_line import log_event, quote, render


def test_plain_values_stand_bare() -> None:
    line = render("connection opened", {"remote_addr": "2001:db8::1", "transport": "tcp"})
    assert line == "connection opened remote_addr=2001:db8::1 transport=tcp"


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("root result=accept", '"root result=accept"'),
        ("root\nINFO auth attempt", '"root\\nINFO auth attempt"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("", '""'),
        ("ré\x1b[31m", '"r\\u00e9\\u001b[31m"'),
        ("a=b", '"a=b"'),
    ],
)
def test_no_value_can_forge_a_field_or_a_line(value: str, quoted: str) -> None:
    assert quote(value) == quoted


@given(st.text())
def test_a_line_stays_one_line(value: str) -> None:
    line = render("event", {"user": value})
    assert len(line.splitlines()) == 1
    assert line.isascii()
    assert line.isprintable()


def test_the_fields_travel_with_the_record(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_event(logging.getLogger("wraith.test"), logging.INFO, "it happened", times=3)
    (record,) = caplog.records
    assert record.getMessage() == "it happened times=3"
    assert vars(record)["fields"] == {"times": 3}

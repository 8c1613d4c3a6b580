"""Spans as people type them: the same in the code of an app and in the forms of the page."""

import pytest
from taskslot.app.schedules import span_ms
from taskslot.spans import span_of, typed_span
from taskslot.web.show.form_values import read_span


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("250ms", 250),
        ("10s", 10_000),
        ("5min", 300_000),
        ("1h30m", 5_400_000),
        ("2 H", 7_200_000),
        ("1d", 86_400_000),
    ],
)
def test_a_span_is_read_in_the_same_way_everywhere(text, ms):
    """Its parts are added up. What is written can be read back."""
    assert span_of(text) == span_ms(text) == read_span("for", text) == span_of(typed_span(ms)) == ms


@pytest.mark.parametrize("text", ["", "5", "10 minutes", "m", "5m3", "-1s", "1.5h", "0.0s"])
def test_anything_else_is_refused(text):
    """A number needs its unit."""
    assert span_of(text) is None
    with pytest.raises(ValueError, match="10s"):
        span_ms(text)

"""What people type into forms, and values as a form shows them, so that they can be typed back. Pure functions."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

from ...spans import span_of, typed_span
from .texts import legible

# The longest payload that can be edited on the page, in bytes.
MOST_EDITED = 64 * 1024


def read_number(field: str, text: str, low: int, high: int | None = None) -> int | None:
    """A whole number within bounds; None for no text. Raises ValueError."""
    if not text:
        return None
    bounds = f"from {low} to {high}" if high is not None else f"{low} or more"
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError(f"{field} must be a whole number, {bounds}")
    value = int(text)
    if value < low or (high is not None and value > high):
        raise ValueError(f"{field} must be {bounds}")
    return value


def read_span(field: str, text: str) -> int | None:
    """A span as ms; None for no text. Raises ValueError."""
    if not text:
        return None
    if (span := span_of(text)) is None:
        raise ValueError(f"{field} must be a span with its unit, such as 30s, 5m, 2h, 1d or 250ms")
    return span


def written_span(ms: int | None) -> str:
    """A span as `read_span` reads it, without loss: 90s, 5m, 250ms. Empty for none."""
    return "" if ms is None else typed_span(ms)


def read_instant(text: str) -> datetime:
    """An instant in UTC, as a form's field for date and time gives it. Raises ValueError."""
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("at must be a date and a time in UTC, such as 2026-05-04T12:00") from None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def written_instant(text: str) -> str:
    """An instant as a form's field for date and time takes it, in UTC; empty if it is none."""
    try:
        return read_instant(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
    except (ValueError, OverflowError):
        return ""


def digest(payload: bytes | None) -> str:
    """What tells two payloads apart."""
    return hashlib.sha256(payload or b"").hexdigest()[:32]


def editable(payload: bytes | None) -> str | None:
    """A payload as a text that a form can hold; None if it can't, because it is long or has other bytes."""
    if payload is None or len(payload) > MOST_EDITED:
        return None
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if legible(text) == text and "\r" not in text else None


FILTERS: dict[str, Any] = {"editable": editable, "digest": digest, "written_span": written_span}

"""Charts of the last ten minutes or 24 hours, of all queues or of one, from what this process has seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...figures import count, rate, span
from ..http.links import links_of, query_of
from ..live.history import ALL, SERIES, Subject, subject_of
from ..site import site_of

SPANS = {"10m": "10 minutes", "24h": "24 hours"}
# A chart: its title, the series in it with their names, and the unit of its values.
CHARTS = (
    ("Pushed and finished", (("in", "in/s"), ("out", "out/s")), "rate"),
    ("Ready", (("ready", "ready"),), "count"),
    ("Dead", (("dead", "dead"),), "count"),
    ("Wait", (("wait_p95", "wait p95"), ("oldest", "oldest ready")), "ms"),
)
UNITS = {"rate": rate, "count": count, "ms": span}
# The rows of a chart's table, and the most queues in the choice.
TABLE_ROWS, MOST_CHOICES = 20, 300


def page(request: Request) -> Response:
    """The page of the charts. Its script asks for the data."""
    site, fields = site_of(request), query_of(request)
    subject, name = asked(fields), span_of(fields)
    snapshot = site.sampler.snapshot()
    queues = sorted(subject_of(row) for row in snapshot.rows[:MOST_CHOICES])
    return site.page(
        request,
        "charts.html",
        snapshot=snapshot,
        subject=subject,
        of_subject=of_subject,
        span=name,
        spans=SPANS,
        queues=queues,
        charts=CHARTS,
        tables=[table(request, subject, name, series, unit) for _, series, unit in CHARTS],
        marks=[(mark.at * 1000, mark.text) for mark in reversed(site.history.marks())],
        data=links_of(request)("/charts/data", **of_subject(subject), span=name),
    )


def asked(fields: Mapping[str, str]) -> Subject:
    """What the query asks for: a queue, a logical one, or all of them together."""
    return (fields["key"], bool(fields.get("shards"))) if fields.get("key") else ALL


def span_of(fields: Mapping[str, str]) -> str:
    """The span that the query asks for. Raises a 400 for another one."""
    name = fields.get("span", "10m")
    if name not in SPANS:
        raise HTTPException(400, "the parameter span must be 10m or 24h")
    return name


def of_subject(subject: Subject) -> dict[str, Any]:
    """The query that asks for it. Any number of shards names the logical queue."""
    key, is_logical = subject
    return {"key": key or None, "shards": 1 if is_logical else None}


def table(
    request: Request, subject: Subject, name: str, series: Any, unit: str
) -> list[tuple[int, list[str]]]:
    """A chart for those who can't see it: an instant in ms and a text for each series, the newest first."""
    times, values = site_of(request).history.read(name, subject, [one for one, _ in series])
    step = max(1, len(times) // TABLE_ROWS)
    found = []
    for at in range(len(times) - 1, -1, -step):
        texts = [texted(values[one][at], unit) for one, _ in series]
        if any(text != "–" for text in texts):
            found.append((times[at] * 1000, texts))
    return found


def texted(value: float, unit: str) -> str:
    """A value for people."""
    return "–" if math.isnan(value) else UNITS[unit](value)


def data(request: Request) -> Response:
    """The samples as JSON: times in s, a list for each series with null where nothing is known, and the marks."""
    site, fields = site_of(request), query_of(request)
    name = span_of(fields)
    site.sampler.snapshot()
    times, values = site.history.read(name, asked(fields), SERIES)
    series = {
        one: [None if math.isnan(value) else round(value, 3) for value in line]
        for one, line in values.items()
    }
    marks = [{"at": mark.at, "text": mark.text} for mark in site.history.marks(times[0] if times else 0)]
    return JSONResponse({"times": times, "series": series, "marks": marks})


routes = [Route("/charts", page), Route("/charts/data", data)]

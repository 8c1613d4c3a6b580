"""The start: all queues, those that need a person first, and the shards of one logical queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...aggregate import total
from ...keys import key_bytes
from ...overview import Row, Severity, rows
from ...overview.columns import BY_NAME, COLUMNS
from ...overview.notes import left_out
from ...overview.rows import logical_queues
from ...overview.tones import OF_SEVERITY
from ...printable import printable
from ..http.links import links_of, number_of, query_of
from ..live.history import subject_of
from ..live.sampler import MOST_QUEUES, Snapshot
from ..show.sparkline import sparkline
from ..site import Part, site_of

# The rows of a page.
ROWS = 100


# The orders that one can choose beside those of the columns, and which of them rise: A to Z, the most urgent first.
OTHERS = ("queue", "attention")
RISING = {*OTHERS, *(column.name for column in COLUMNS if not column.is_number)}


@dataclass(frozen=True)
class TableQuery:
    """What somebody wants to see: the order, a part of the names, the shards of a queue, and which page of rows."""

    sort: str = "attention"
    is_reversed: bool = False
    name: str = ""
    of: str = ""
    page: int = 1

    @classmethod
    def read(cls, request: Request) -> TableQuery:
        """Read the query. An unknown order is the usual one."""
        fields = query_of(request)
        sort = fields.get("sort", "")
        return cls(
            sort if sort in (*OTHERS, *BY_NAME) else "attention",
            fields.get("dir") == "back",
            fields.get("q", "")[:200],
            fields.get("of", ""),
            number_of(fields, "page", 1, 1, 10_000),
        )

    def query(self, **other: Any) -> dict[str, Any]:
        """The query that says the same, with some of it changed. The first page and the usual order are left out."""
        values: dict[str, Any] = {
            "sort": self.sort if self.sort != "attention" else None,
            "dir": "back" if self.is_reversed else None,
            "q": self.name or None,
            "of": self.of or None,
            "page": self.page if self.page > 1 else None,
        }
        return {**values, **other}

    def sorted_by(self, name: str) -> dict[str, Any]:
        """The query of a column's heading. A second click turns the order round."""
        turned = self.sort == name and not self.is_reversed
        sort = name if name != "attention" else None
        return self.query(sort=sort, dir="back" if turned else None, page=None)

    def direction(self, name: str) -> str:
        """The value of `aria-sort` for a column's heading."""
        if name != self.sort:
            return "none"
        return "ascending" if (name in RISING) != self.is_reversed else "descending"

    def chosen(self, found: Sequence[Row]) -> list[Row]:
        """The rows with that name, in that order. What is equal stays in the order of what needs a person."""
        wanted = printable(self.name).lower()
        some = [row for row in found if not wanted or wanted in printable(row.queue).lower()]
        if self.sort == "attention":
            return some[::-1] if self.is_reversed else some
        return sorted(some, key=self._value, reverse=(self.sort in RISING) == self.is_reversed)

    def _value(self, row: Row) -> Any:
        """What the rows are sorted by."""
        return row.queue.lower() if self.sort == "queue" else BY_NAME[self.sort].value(row.info)


def page(request: Request) -> Response:
    """The table of queues."""
    site, table = site_of(request), TableQuery.read(request)
    snapshot = site.sampler.snapshot()
    live = links_of(request)("/live", view="queues", **table.query())
    return site.page(request, "queues.html", live=live, **template_values(request, snapshot, table))


def parts(request: Request, snapshot: Snapshot) -> dict[str, Part]:
    """The parts of the table that change."""
    values = template_values(request, snapshot, TableQuery.read(request))
    render = site_of(request).renderer(request, "queues.html", **values)
    names = ("totals", "notes", "pager", "urgent")
    each: dict[str, Part] = {name: render(name) for name in names}
    return {"rows": {row_id(row): render("row", row=row) for row in values["rows"]}, **each}


def template_values(request: Request, snapshot: Snapshot, table: TableQuery) -> dict[str, Any]:
    """The values of the template."""
    history = site_of(request).history
    found = snapshot.rows if not table.of else shards_of(snapshot, table.of)
    chosen = table.chosen(found)
    pages = max(1, -(-len(chosen) // ROWS))
    at = min(table.page, pages)

    def spark(row: Row, *names: str) -> Any:
        return sparkline(
            f"{' and '.join(names)} in the last 10 minutes", *history.recent(subject_of(row), *names)
        )

    return {
        "snapshot": snapshot,
        "table": table,
        "columns": COLUMNS,
        "rows": chosen[(at - 1) * ROWS : at * ROWS],
        "found": len(chosen),
        "all_found": len(found),
        "at": at,
        "pages": pages,
        "total": total([row.info for row in chosen]),
        "urgent": sum(1 for row in found if any(one.severity >= Severity.LOOK for one in row.concerns)),
        "notes": left_out(snapshot.seen, MOST_QUEUES),
        "spark": spark,
        "row_id": row_id,
        "of_queue": lambda row: snapshot.queue_of(row).query,
        "Severity": Severity,
        "tone_of": OF_SEVERITY,
    }


def row_id(row: Row) -> str:
    """The id of a queue's row in HTML, for any name. A logical queue can have the name of another one's key."""
    return ("s" if row.shards else "q") + blake2b(key_bytes(row.queue), digest_size=9).hexdigest()


def shards_of(snapshot: Snapshot, queue: str) -> list[Row]:
    """A row for each shard of a logical queue."""
    keys = logical_queues(snapshot.seen.infos).get(queue, set())
    return rows({key: snapshot.seen.infos[key] for key in keys}, shards_apart=True)


live = {"queues": parts}
routes = [Route("/", page)]

"""The page of a queue: its figures, its tasks by state, groups, workers, schedules, batches and settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ...aggregate import total
from ...errors import TaskslotError
from ...overview import concerns, words_of
from ...overview.tones import OF_SEVERITY, of_dead
from ...replies import Info, State
from ..http.failures import meaning
from ..http.links import links_of, query_of
from ..http.queue_of import gone, lens_of, shared
from ..live.sampler import Snapshot
from ..queue.lens import ROWS, Lens, Place, read_place, searched_for
from ..queue.listing import ORDERS, range_in_words, read_listing
from ..queue.settings import values
from ..queue.task_filter import STATES
from ..show.payloads import first_line, preview, shown
from ..site import site_of

R = TypeVar("R")

SECTIONS = ("groups", "workers", "schedules", "batches", "settings")
# Rows of the summary that the page shows otherwise: as tabs, and as what needs a person.
SHOWN_ELSEWHERE = ("now", "held by", "paused", "broken")


class PageReader:
    """Reads the parts of a page. What this user may not read is said where it would be; the rest is shown."""

    def __init__(self, request: Request) -> None:
        self.site = site_of(request)
        self.refused: list[TaskslotError] = []
        self.worked = False

    def of(self, read: Callable[[], R]) -> tuple[R | None, str]:
        """What a function reads, and an empty text; or None, and why it was refused."""
        try:
            found = read()
        except TaskslotError as error:
            self.refused.append(error)
            return None, meaning(self.site, error)[1]
        self.worked = True
        return found, ""

    def finish(self) -> None:
        """Raise the first refusal if there is nothing to show."""
        if self.refused and not self.worked:
            raise self.refused[0]


def page(request: Request) -> Response:
    """A queue, with one of its tabs."""
    query, lens, reader = query_of(request), lens_of(request), PageReader(request)
    info, trouble = reader.of(lens.info)
    if info is None and not trouble:
        text = f"There is no queue {lens.name} now. It was deleted, or nothing has been pushed to it yet."
        return gone(request, None, "There is no such queue", text)
    section = query.get("section", "")
    tab = section or query.get("state", "") or "ready"
    common = {
        **shared(request, lens),
        "info": info,
        "trouble": trouble,
        "tab": tab,
        "live": links_of(request)("/live", view="queue", **lens.queue.query, tab=tab),
        **figures(info),
    }
    if section not in ("", *SECTIONS):
        raise HTTPException(400, f"The section must be one of {', '.join(SECTIONS)}.")
    name, own = (
        section_of(section, lens, reader, query, info) if section else tasks(lens, reader, query, info)
    )
    reader.finish()
    return reader.site.page(request, name, **common, **own)


def figures(info: Info | None) -> dict[str, Any]:
    """What the top of the page shows of a queue."""
    tones = {"tone_of": OF_SEVERITY, "tone_of_dead": of_dead}
    if info is None:
        return {"summary": [], "concerns": (), "counts": {}, **tones}
    rows = [row for row in words_of(info) if row[0] not in SHOWN_ELSEWHERE]
    counts: dict[str, int | None] = {state: getattr(info, state) for state in STATES}
    counts |= {"groups": info.groups, "batches": info.batches_open + info.batches_closed}
    return {"summary": rows, "concerns": concerns(info), "counts": counts, **tones}


def tasks(
    lens: Lens, reader: PageReader, query: dict[str, str], info: Info | None
) -> tuple[str, dict[str, Any]]:
    """The list of the tasks in a state."""
    try:
        listing = read_listing(query, lens.shards)
    except ValueError as error:
        raise HTTPException(400, f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    walked, refusal = reader.of(lambda: lens.tasks(listing.filter, listing.place, listing.newest))
    state = listing.filter.state
    in_all, searched = number_in(info, (state,)), number_in(info, searched_for(state))
    own: dict[str, Any] = {
        "state": state,
        "listing": listing,
        "filter": listing.filter,
        "orders": ORDERS[state],
        "refusal": refusal,
        "rows": walked.rows if walked else [],
        "range": range_in_words(listing, walked) if walked else "",
        "after": listing.after(walked) if walked else None,
        "looked": listing.looked(walked, searched) if walked else 0,
        "in_all": in_all,
        "searched": searched,
        "is_first": listing.place == Place(),
        "matching": None if listing.filter.is_search else in_all,
        "most_rows": ROWS,
        "preview": preview,
        "first_line": first_line,
    }
    return "queue/tasks.html", own


def number_in(info: Info | None, states: Sequence[State]) -> int:
    """How many tasks are in these states."""
    return sum(getattr(info, state) for state in states) if info is not None else 0


def section_of(
    section: str, lens: Lens, reader: PageReader, query: dict[str, str], info: Info | None
) -> tuple[str, dict[str, Any]]:
    """One of the other tabs."""
    try:
        place = read_place(query.get("at", ""), lens.shards)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    own: dict[str, Any] = {"is_first": place == Place()}
    if section == "groups":
        own["walked"], own["refusal"] = reader.of(lambda: lens.groups(place))
    elif section == "batches":
        own["walked"], own["refusal"] = reader.of(lambda: lens.batches(place))
    elif section == "workers":
        own["workers"], own["refusal"] = reader.of(lens.workers)
    elif section == "schedules":
        own["schedules"], own["refusal"] = reader.of(lens.schedules)
        own |= {"shown": shown, "preview": preview}
    else:
        found, own["refusal"] = reader.of(lens.settings)
        own["settings"] = found
        own["values"] = values(found, info) if found is not None else []
    return f"queue/{section}.html", own


def find(request: Request) -> Response:
    """Go to the task with an id, a handle or a unique token."""
    lens, wanted = lens_of(request), query_of(request).get("id", "")
    link = links_of(request)
    if not wanted.strip():
        return RedirectResponse(link("/queue", **lens.queue.query), 303)
    found = lens.find(wanted)
    if not found:
        text = f"No task of {lens.name} has this id, or holds this unique token: {wanted[:200]}"
        return gone(request, lens, "No such task", text)
    if len(found) > 1:
        return site_of(request).page(
            request, "found.html", **shared(request, lens), found=found, preview=preview
        )
    return RedirectResponse(link("/task", **lens.queue.query, id=found[0].id), 303)


def parts(request: Request, snapshot: Snapshot) -> dict[str, str]:
    """What is live: the figures and the counts of the tabs. The lists stay, so that nothing moves while one reads."""
    site, lens = site_of(request), lens_of(request)
    infos = [snapshot.seen.infos[key] for key in lens.keys if key in snapshot.seen.infos]
    info = total(infos)
    if info is None:
        return {}
    values = {**shared(request, lens), "tab": query_of(request).get("tab", ""), **figures(info)}
    return {
        name: site.part(request, "queue.html", name, **values) for name in ("figures", "concerns", "tabs")
    }


live = {"queue": parts}
routes = [Route("/queue", page), Route("/queue/find", find)]

"""A request to change something: which queue it is about, its fields, who wants it, and what is said afterwards.

`guard` has checked the rights, the session's token and the origin of every request that comes here. Keys and names that
clients chose are in the query, because a form's field can't hold bytes that are not UTF-8. What a person typed is in
the form.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...clients import is_denied
from ...commands import Command
from ...errors import TaskslotError
from ...printable import printable
from ..dead.scans import look_anew
from ..http.failures import is_away, without_right
from ..http.links import Links, links_of, needed, query_of
from ..http.queue_of import PageWire, lens_of
from ..pages import queue, task
from ..queue.lens import Lens
from ..show.drafts import MARK, Draft
from ..show.form_values import digest, read_number, read_span
from ..site import Site, Tone, address_of, form_of, here, site_of, visitor_of

R = TypeVar("R")

log = logging.getLogger("taskslot.web.audit")

# Fields whose labels on the page are other words.
LABELS = {"delay": "due in", "per": "in each", "ttl": "time to live", "retain": "keep results"}
LOST = "The server did not answer. Look whether it was done before you do it again."


@dataclass(frozen=True)
class ChangeRequest:
    """A request that changes something. Errors of its methods are ValueErrors, whose text is for the person."""

    request: Request

    @cached_property
    def site(self) -> Site:
        """The site."""
        return site_of(self.request)

    @cached_property
    def query(self) -> dict[str, str]:
        """What the link says."""
        return query_of(self.request)

    @cached_property
    def fields(self) -> dict[str, str]:
        """What the person chose."""
        return form_of(self.request)

    @cached_property
    def lens(self) -> Lens:
        """The queue. Its commands are sent once: a run of a schedule, sent again, would be two."""
        wire = self.site.kept("wire of changes", lambda: PageWire(self.site, patience_ms=0))
        return Lens(wire, lens_of(self.request).queue)

    @property
    def link(self) -> Links:
        """Makes links."""
        return links_of(self.request)

    @property
    def who(self) -> str:
        """The person, for the log: the name of the session or the header, else the address."""
        return who(self.request)

    def name(self, parameter: str) -> str:
        """A name in the link: of a group, a schedule, a batch, a task."""
        return needed(self.query, parameter)

    def typed(self, field: str) -> str:
        """A text that a person typed, without spaces around it."""
        return self.fields.get(field, "").strip()

    def number(self, field: str, low: int, high: int | None = None) -> int | None:
        """A whole number within bounds; None if the field is empty."""
        return read_number(LABELS.get(field, field), self.typed(field), low, high)

    def span(self, field: str) -> int | None:
        """A span as ms, typed as `30s`, `1h 30m` or `250ms`; None if the field is empty."""
        return read_span(LABELS.get(field, field), self.typed(field))

    def payload(self) -> bytes:
        """The payload in the form. Browsers send each line end of a text field as CR LF."""
        return self.fields["payload"].replace("\r\n", "\n").encode("utf-8", "surrogateescape")

    def new_payload(self, old: bytes | None) -> bytes | None:
        """The payload in the form; None if it has the old one or none. Raises ValueError if somebody changed it."""
        if "payload" not in self.fields or (payload := self.payload()) == old:
            return None
        if self.fields.get("payload_was") != digest(old):
            raise ValueError("somebody has changed the payload meanwhile: load the page again")
        return payload

    def run(self, make: Callable[[str], Command[R]]) -> list[R]:
        """Send a command to each key of the queue, and return the replies.

        If one of them fails, the error says how many shards have been changed by then.
        """
        replies: list[R] = []
        for key in self.lens.keys:
            try:
                replies.append(self.lens.run(make(key)))
            except Exception as error:
                if replies:
                    error.add_note(
                        f"{len(replies)} of {len(self.lens.keys)} shards were changed before that."
                    )
                raise
        return replies

    def changed(self, what: str) -> None:
        """Write who changed what into the log, and have the page look at the queues at once."""
        log.info("%r on %r: %s", self.who, self.lens.name, printable(what))
        look_anew(self.site, self.lens.keys)

    # ---- where to go afterwards

    @property
    def of_queue(self) -> dict[str, object]:
        """The query of the queue's page: of the logical one, if the link says that its shard is part of one."""
        if "logical" in self.query:
            return {"key": self.query["logical"], "shards": self.query.get("of_shards")}
        return {**self.lens.queue.query}

    def to_queue(self, said: str, tone: Tone = "done", **query: object) -> Response:
        """Back to the page of the queue."""
        return self.site.go(self.request, self.link("/queue", **self.of_queue, **query), said, tone=tone)

    def to_task(self, task: str, said: str, tone: Tone = "done") -> Response:
        """Back to the page of a task."""
        return self.site.go(
            self.request, self.link("/task", **self.lens.queue.query, id=task), said, tone=tone
        )

    def back(self, said: str, tone: Tone = "done") -> Response:
        """Back to where the request came from: the task if it is about one, else the queue's tab."""
        if "id" in self.query:
            return self.to_task(self.query["id"], said, tone=tone)
        return self.to_queue(said, tone=tone, section=self.query.get("section"))

    def refused(self, reason: str) -> Response:
        """The same form again, as it was filled, with the reason; where there is none, back with the reason."""
        if "id" in self.query:
            page, query = task.page, {**self.lens.queue.query, "id": self.query["id"]}
        else:
            page, query = queue.page, {**self.of_queue, "section": self.query.get("section")}
        scope = {
            **self.request.scope,
            "method": "GET",
            "query_string": Links()("", **query)[1:].encode("ascii"),
            "taskslot.draft": Draft(self.link.root + here(self.request), self.fields, reason),
        }
        answer = page(Request(scope))
        if MARK.encode() not in answer.body:
            return self.back(reason, "failed")
        answer.status_code = 422
        return answer


def who(request: Request) -> str:
    """The person who sent a request, for the log."""
    visitor = visitor_of(request)
    kind = "a program" if visitor.by_token else "somebody"
    return visitor.name or f"{kind} at {address_of(request) or 'an unknown address'}"


def change(path: str, endpoint: Callable[[ChangeRequest], Response]) -> Route:
    """A route that changes something. Bad input and refusals of the server are said on the page one came from."""

    @wraps(endpoint)
    def posted(request: Request) -> Response:
        asked = ChangeRequest(request)
        try:
            return endpoint(asked)
        except (ValueError, TaskslotError) as error:
            return asked.refused(refusal(error))
        except HTTPException:
            raise
        except Exception as error:
            if not is_away(asked.site, error):
                raise
            raise HTTPException(503, " ".join([LOST, *notes(error)])) from error

    return Route(path, posted, methods=["POST"])


def refusal(error: Exception) -> str:
    """What is said about input that is wrong, or that the server refuses."""
    text = str(error)
    said = without_right(text) if is_denied(error) else f"Nothing was changed: {text}"
    if extra := notes(error):
        said = " ".join([f"The server refused this: {text}", *extra])
    return said


def notes(error: BaseException) -> list[str]:
    """What was added to an error."""
    return [str(note) for note in getattr(error, "__notes__", [])]

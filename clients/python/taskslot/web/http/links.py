"""Links of the page, and what is read from them. A key or an id is a query parameter of percent-encoded bytes.

A key can hold any byte. In Python it is a `str` with surrogates for the bytes that are not UTF-8, which `Queue` and the
commands take back to the same bytes. It never goes into a form's field, because HTML can't hold such bytes: the form's
`action` has it in its query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from starlette.exceptions import HTTPException
from starlette.requests import Request

from ...keys import key_bytes

# The most parameters of a query or fields of a form that are read.
MOST_FIELDS = 5000


@dataclass(frozen=True)
class Links:
    """Makes links below the path at which the page is mounted: `links("/queue", key="mail", state="dead")`."""

    root: str = ""

    def __call__(self, path: str, /, **query: object) -> str:
        """The link to a page. A parameter that is None is left out."""
        words = [f"{encoded(name)}={encoded(value)}" for name, value in query.items() if value is not None]
        return self.root + path + ("?" + "&".join(words) if words else "")


def links_of(request: Request) -> Links:
    """The links for a request: below its root path, whether that is a mount or a proxy's prefix."""
    return Links(str(request.scope.get("root_path", "")).rstrip("/"))


def encoded(value: object) -> str:
    """A value of a query as percent-encoded bytes. Surrogates become the bytes that they stand for."""
    return quote(value if isinstance(value, bytes) else key_bytes(str(value)), safe="")


def decoded(data: bytes) -> dict[str, str]:
    """The parameters of a query or the fields of a form. Of several with one name, the last counts."""
    try:
        return dict(decoded_all(data))
    except ValueError:
        raise HTTPException(400, "too many fields") from None


def decoded_all(data: bytes) -> list[tuple[str, str]]:
    """As `decoded`, with all values of a name. Raises ValueError if there are too many."""
    text = data.decode("ascii", "surrogateescape")
    return parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=MOST_FIELDS)


def safe_path(text: str, default: str = "/") -> str:
    """A path below this page to go back to, such as `here(request)` gave: never one of another site."""
    is_safe = text.startswith("/") and text[1:2] not in ("/", "\\") and text.isascii() and text.isprintable()
    return text if is_safe else default


def back_of(request: Request, fields: Mapping[str, str], default: str = "/") -> str:
    """The link to where the form's field `back` says, a path below this page; otherwise to `default`."""
    return links_of(request).root + safe_path(fields.get("back", ""), default)


def query_of(request: Request) -> dict[str, str]:
    """The parameters of a request's query."""
    return decoded(request.scope["query_string"])


def needed(fields: Mapping[str, str], name: str) -> str:
    """A parameter that must be there. Raises a 400."""
    if not fields.get(name):
        raise HTTPException(400, f"the parameter {name} is missing")
    return fields[name]


def number_of(fields: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A whole number within bounds. Raises a 400 for anything else."""
    text = fields.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20):
        raise HTTPException(400, f"the parameter {name} must be a number")
    if not low <= int(text) <= high:
        raise HTTPException(400, f"the parameter {name} must be from {low} to {high}")
    return int(text)

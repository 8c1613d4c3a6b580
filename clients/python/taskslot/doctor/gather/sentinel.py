"""A service as the first Sentinel that replies sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...clients import Client
from ..facts import Sentinel
from .questions import Questions, text_of


def sentinel_of(questions: Questions) -> Sentinel | None:
    """The service; None without Sentinel."""
    kind = questions.kind
    answer, error, away = None, "", []
    for one in kind.sentinels:
        try:
            if answer is None:
                answer = fields_of(one.execute_command("SENTINEL", "MASTER", kind.service))
                error = quorum_error(kind, one)
            else:
                one.ping()
        except Exception as failure:
            if not kind.is_away(failure):
                raise
            away.append(Client(one).place)
    if answer is None:
        return None
    others, quorum, down_after_ms = (
        int(answer[name]) for name in ("num-other-sentinels", "quorum", "down-after-milliseconds")
    )
    flags = frozenset(str(answer["flags"]).split(","))
    return Sentinel(kind.service, others + 1, quorum, flags, down_after_ms, away, error)


def quorum_error(kind: Client, sentinel: Any) -> str:
    """What a Sentinel says if there are too few of them for a failover; empty if there are not."""
    try:
        sentinel.execute_command("SENTINEL", "CKQUORUM", kind.service)
    except kind.errors.ResponseError as error:
        return " ".join(str(error).split())
    return ""


def fields_of(reply: Any) -> Mapping[str, str]:
    """The fields of a Sentinel's reply, which is a list in RESP2. Clients read some of them already."""
    items = reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=True)
    return {text_of(name): joined(value) for name, value in items}


def joined(value: Any) -> str:
    """A value as the server wrote it: clients make sets of flags."""
    if isinstance(value, set | frozenset | list):
        return ",".join(map(text_of, value))
    return text_of(value) if isinstance(value, bytes) else str(value)

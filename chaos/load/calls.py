"""Makes a history of what clients sent and were answered: `chaos/history.py` from `wire.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chaos.fields import check_fields
from chaos.load import wire
from chaos.load.words import (
    GROUP,
    Asked,
    Words,
    answer,
    claim,
    handles,
    next_,
    push_options,
    settings,
    some,
    uid_of,
    uids,
)

Line = dict[str, Any]
# Commands that only look, and that no rule needs.
READS = {"LEN", "LIST", "INFO", "SHARDS", "HELP"}


def translate(path: Path) -> Path:
    """Write the history of one process beside its file, and return where. Without a file there is nothing to do."""
    out = path.with_suffix(".jsonl")
    client = path.name.removesuffix(wire.SUFFIX)
    with open(out, "w") as file:
        for line in history_lines(client, wire.lines(path)):
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    return out


def history_lines(process: str, lines: list[Line]) -> Iterator[Line]:
    """The lines of a history for the lines of one process."""
    begun: dict[int, tuple[str, str, list[str]]] = {}
    for line in lines:
        if "closed" in line:
            yield {"line": "closed", "client": f"{process}/{line['k']}", "at": line["t"]}
        elif "w" in line:
            made = begin(process, line)
            if made is not None:
                begun[line["n"]] = (made["client"], made["call"], line["w"])
                yield made
        elif line["n"] in begun:
            client, call, words = begun.pop(line["n"])
            yield end(client, call, words, line)


def begin(process: str, line: Line) -> Line | None:
    """The beginning of a call; None for one that only looks."""
    name, *words = line["w"]
    verb = name.upper().removeprefix("TASK.")
    if verb in READS or not words:
        return None
    call, asked = read(verb, words)
    queue = "" if call == "wait" else words[0]
    check_fields(call, "asked", asked)
    return {
        "line": "begin",
        "client": f"{process}/{line['k']}",
        "n": line["n"],
        "call": call,
        "queue": queue,
        "began": line["t"],
        "connection": line["o"],
        "asked": asked,
    }


def end(client: str, call: str, words: list[str], line: Line) -> Line:
    """The end of a call."""
    made: Line = {"line": "end", "client": client, "n": line["n"], "ended": line["t"]}
    if "r" in line:
        found = replied(call, words, line["r"])
        check_fields(call, "answer", found)
        return made | {"outcome": "ok", "answer": found}
    error = line.get("x") or line.get("u") or ""
    # These can end a wait, a cluster's when its slot is elsewhere; what NEXT has acked before it counts.
    ends_wait = ("UNBLOCKED", "MOVED", "CLUSTERDOWN") if call == "next" else ("UNBLOCKED",)
    is_refused = "x" in line and not error.startswith(ends_wait)
    return made | {"outcome": "refused" if is_refused else "unknown", "error": error}


# ---- what was asked


def read(verb: str, words: list[str]) -> tuple[str, Asked]:
    """The kind of a call, and what it asks."""
    rest = Words(words[1:])
    if verb in ASKS:
        return ASKS[verb](rest, words)
    return "other", {"words": " ".join([verb, *words])[:300]}


def mclaim(rest: Words, words: list[str]) -> tuple[str, Asked]:
    """MCLAIM names more queues first."""
    rest.next()
    queues = [words[0], *rest.count(int(rest.next()))]
    return "claim", claim(rest, {"queues": queues})


def batch(rest: Words, words: list[str]) -> tuple[str, Asked]:
    """The verbs of BATCH."""
    what, name = rest.next().lower(), rest.next()
    return "batch", push_options(rest, {"what": what, "name": name})


def result(rest: Words, words: list[str]) -> tuple[str, Asked]:
    """RESULT of an id, or of the task with a token."""
    found = some(rest)
    asked = {"unique": found["unique"]} if "unique" in found else {"id": found["ids"][0]}
    if rest:
        rest.next()
        asked["block_ms"] = int(rest.next())
    return "result", asked


def config(rest: Words, words: list[str]) -> tuple[str, Asked]:
    """CONFIG SET. A RESET is some other change."""
    if rest.next().upper() != "SET":
        return "other", {"words": " ".join(["CONFIG", *words])}
    return "config", {"settings": settings(rest.rest())}


def group(rest: Words, words: list[str]) -> tuple[str, Asked]:
    """GROUP SET and DEL."""
    what = rest.next().upper()
    asked: Asked = {"group": rest.next()} | ({"del": True} if what == "DEL" else {})
    while rest.options(GROUP, asked):
        pass
    return "group", asked


ASKS: dict[str, Callable[[Words, list[str]], tuple[str, Asked]]] = {
    "PUSH": lambda rest, words: ("push", push_options(rest, {"uids": uids([rest.next()])})),
    "MPUSH": lambda rest, words: ("push", push_options(rest, {})),
    "CLAIM": lambda rest, words: ("claim", claim(rest, {})),
    "MCLAIM": mclaim,
    "ACK": lambda rest, words: ("ack", answer(rest)),
    "NEXT": lambda rest, words: ("next", next_(rest)),
    "FAIL": lambda rest, words: ("fail", answer(rest)),
    "REQUEUE": lambda rest, words: ("requeue", answer(rest)),
    "EXTEND": lambda rest, words: ("extend", answer(rest)),
    "GET": lambda rest, words: ("get", {"id": rest.next()}),
    "CANCEL": lambda rest, words: ("cancel", some(rest)),
    "BATCH": batch,
    "RESULT": result,
    # WAIT names no queue: it is about all that its connection wrote.
    "WAIT": lambda rest, words: ("wait", {"block_ms": int(rest.next())}),
    "CONFIG": config,
    "GROUP": group,
}


# ---- what was answered


def replied(call: str, words: list[str], reply: Any) -> Asked:
    """What a reply says."""
    if call == "push":
        return pushed(reply, is_several="MPUSH" in words[0].upper())
    if call == "claim":
        return claimed(words, reply)
    if call == "next":
        return {"codes": listed(reply[0]), "tasks": tasks(words, reply[1])}
    if call == "ack" and "PUSH" in map(str.upper, words[3:]) and isinstance(reply, list) and is_one(words):
        code, task, *new = reply
        return {"codes": [code], "ids": [task] if task else []} | ({"new": bool(new[0])} if new else {})
    if call in ("ack", "fail", "requeue", "extend", "cancel"):
        return {"codes": listed(reply)}
    if call == "result":
        state, value = reply if isinstance(reply, list) else ("pending" if reply is None else "unknown", None)
        return {"state": state, "value": value}
    if call == "batch":
        return batched(words[2].upper(), reply)
    if call == "wait":
        return {"replicas": reply}
    if call == "get":
        return {"task": reply}
    return {"reply": reply} if call == "other" else {}


def pushed(reply: Any, is_several: bool) -> Asked:
    """The ids of a push, and with UNIQUE whether the task is new."""
    if is_several:
        return {"ids": reply}
    if isinstance(reply, list):
        return {"ids": [reply[0]], "new": bool(reply[1])}
    return {"ids": [reply]}


def claimed(words: list[str], reply: Any) -> Asked:
    """The tasks of a claim, and of MCLAIM also their queue."""
    if "MCLAIM" not in words[0].upper():
        return {"tasks": tasks(words, reply)}
    if not reply:
        return {"tasks": []}
    return {"queue": reply[0], "tasks": tasks(words, reply[1])}


def tasks(words: list[str], reply: Any) -> list[Asked]:
    """The tasks in a reply, each with what is known of it."""
    name = "id" if "NOACK" in map(str.upper, words) else "handle"
    return [one_task(name, task) for task in reply or []]


def one_task(name: str, task: list[Any]) -> Asked:
    """One task of a reply, with what WITHMETA adds."""
    made: Asked = {"uid": uid_of(task[1]), name: task[0], "attempt": task[2]}
    if len(task) < 4:
        return made
    meta = dict(zip(task[3][::2], task[3][1::2], strict=True))
    made |= {
        field: meta[field]
        for field in ("failures", "stalls", "priority", "group")
        if meta.get(field) is not None
    }
    counts = {field.removeprefix("batch-"): meta[field] for field in meta if field.startswith("batch-")}
    return made | ({"batch": counts} if counts else {})


def batched(what: str, reply: Any) -> Asked:
    """What OPEN, CLOSE, DEL and INFO answer."""
    if what == "OPEN":
        return {"ids": [reply[0]], "new": bool(reply[1])}
    if what == "INFO":
        return {"counts": dict(zip(reply[::2], reply[1::2], strict=True)) if reply else None}
    return {"closed" if what == "CLOSE" else "deleted": reply}


def listed(reply: Any) -> list[Any]:
    """The answers to handles: one, or several."""
    return reply if isinstance(reply, list) else [reply]


def is_one(words: list[str]) -> bool:
    """Whether an answer is for one handle."""
    return len(handles(Words(words[2:]))) == 1 and words[2].upper() != "HANDLES"

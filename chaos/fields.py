"""What each kind of call asks and is answered: the fields of `asked` and `answer` in a history.

Names are those of the commands' options in lower case; spans and instants have their unit. What is not given is left
out. A field that is not listed here is an error, so that a misspelt one is noticed.

A *uid* is the name of a piece of work: the load writes it into the payload. Each task has its own. A push that is sent
again with the same REQUEST token has the same uid and is a call of its own; any other push has a new uid.

`push` (PUSH and MPUSH)
    uids        the uid of each payload: one for PUSH
    delay_ms, at_ms, priority, attempts, lease_ms, group, ttl_ms, retain_ms
    unique      the token of UNIQUE; until_start (true), for_ms, keep (true), replace (true), postpone (true)
    batch       the name of a batch; names are unique in the run
    after       the list of ids to wait for; on_dead: wait, run, drop
    request     the token of REQUEST
    answer: ids, one for each uid; with UNIQUE also new: whether it is a new task (the 1 or 0 of the reply)

`claim` (CLAIM and MCLAIM)
    count, block_ms (0: no limit; left out: no BLOCK), gather_ms, lease_ms, group, worker, request
    tied, noack     true
    queues          MCLAIM: all keys in their order; `queue` of the call is the first
    answer: tasks, a list in the order of the reply, empty if there was none. Each task has
        uid         from the payload; null if it has none
        handle      or, with NOACK, id
        attempt     the number of deliveries
        and, with WITHMETA, if you like: failures, stalls, priority, group, batch (its counts as
        {"tasks": 3, "done": 2, "dead": 1, "cancelled": 0, "expired": 0, "purged": 0})
    MCLAIM: also queue, the key that had them

`ack`
    handles     one, or several for HANDLES
    result      the text; retain_ms
    push        ACK … PUSH: what `push` asks (uids has one uid)
    answer: codes, one for each handle: 1, 0, -2. A single handle that is STALE is outcome `refused` with the error.
        With PUSH: also ids and new, as for `push`; ids is empty if nothing was pushed

`next`
    all of `ack` but push, and all of `claim`
    answer: codes, and what `claim` answers

`fail`      handles, delay_ms, dead (true), error; answer: codes (ms until it is ready, -1 dead, 0, -2)
`requeue`   handles, delay_ms, back (true); answer: codes (1, 0, -2)
`extend`    handles, lease_ms, progress; answer: codes (the deadline in Unix ms, 0, -2, -3)

`result`
    id, block_ms; unique instead of id
    answer: state (done, dead, cancelled, expired, purged; `pending` for nil, `unknown` for 0), value (text or null)

`batch`
    what        open, close, info, del
    name        unique in the run
    open: uids (one, of the callback) and the options of `push`; batch is the outer one
    answer: open: ids and new. close: closed (1 or 0). del: deleted. info: counts, or null
`get`       id or unique; answer: task, with what you like
`cancel`    ids or unique; answer: codes (1, 2, 0)
`retry`     ids, unique, or count (and group); answer: moved, the number
`set`       ids or unique, and delay_ms, at_ms, priority, group, uids (the new payload's); answer: codes
`purge`     ids, or state (and older_ms, count); answer: purged, the number
`pause`     group, in, out, for_ms; `resume`: the same
`config`    settings, as {"attempts": 3}
`group`     group, and weight, concurrency, rate, per_ms, ordered; or del (true)
`cron`      name, uids (of its payload: its tasks share it), every_ms, expression; del or run (true)
`wait`      WAIT, on the connection of the pushes before it: block_ms; answer: replicas, which have them
`other`     anything else that changes a queue; words: the command, for people
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

PUSH = set(
    "uids delay_ms at_ms priority attempts lease_ms group ttl_ms retain_ms unique until_start for_ms keep replace "
    "postpone batch after on_dead request".split()
)
CLAIM = set("count bytes block_ms gather_ms lease_ms group worker request tied noack queues withmeta".split())
ACK = {"handles", "result", "retain_ms"}
PUSHED = {"ids", "new"}
CLAIMED = {"tasks", "queue"}

ASKED: dict[str, set[str]] = {
    "push": PUSH,
    "claim": CLAIM,
    "ack": ACK | {"push"},
    "next": ACK | CLAIM,
    "fail": {"handles", "delay_ms", "dead", "error", "progress"},
    "requeue": {"handles", "delay_ms", "back", "progress"},
    "extend": {"handles", "lease_ms", "progress"},
    "result": {"id", "unique", "block_ms"},
    "batch": PUSH | {"what", "name"},
    "get": {"id", "unique", "handle"},
    "cancel": {"ids", "unique"},
    "retry": {"ids", "unique", "count", "group"},
    "set": {"ids", "unique", "delay_ms", "at_ms", "priority", "group", "uids"},
    "purge": {"ids", "state", "older_ms", "count"},
    "pause": {"group", "in", "out", "for_ms"},
    "resume": {"group", "in", "out"},
    "config": {"settings"},
    "group": {"group", "weight", "concurrency", "rate", "per_ms", "ordered", "del"},
    "cron": {"name", "uids", "every_ms", "expression", "del", "run"},
    "wait": {"block_ms"},
    "other": {"words"},
}
ANSWER: dict[str, set[str]] = {
    "push": PUSHED,
    "claim": CLAIMED,
    "ack": {"codes"} | PUSHED,
    "next": {"codes"} | CLAIMED,
    "fail": {"codes"},
    "requeue": {"codes"},
    "extend": {"codes"},
    "result": {"state", "value"},
    "batch": PUSHED | {"closed", "deleted", "counts"},
    "get": {"task"},
    "cancel": {"codes"},
    "retry": {"moved"},
    "set": {"codes"},
    "purge": {"purged"},
    "pause": set(),
    "resume": set(),
    "config": set(),
    "group": {"deleted"},
    "cron": {"new", "deleted", "ids"},
    "wait": {"replicas"},
    "other": {"reply"},
}
TABLES = {"asked": ASKED, "answer": ANSWER}


def check_fields(call: str, part: Literal["asked", "answer"], given: Mapping[str, Any]) -> None:
    """Raise ValueError if there is no such call, or if it has no such fields."""
    known = TABLES[part].get(call)
    if known is None:
        raise ValueError(f"unknown call {call!r}")
    if unknown := set(given) - known:
        raise ValueError(f"{part} of {call!r} has no field {', '.join(map(repr, sorted(unknown)))}")

"""What clients sent and were answered becomes a history."""

from __future__ import annotations

import json

import pytest

from chaos.fields import ASKED
from chaos.history import read
from chaos.load.calls import history_lines, translate

NO_REPLY = object()


def history_of(*words: object, reply: object = NO_REPLY) -> tuple[dict, dict]:
    """The two lines of one call."""
    lines = [
        {"n": 1, "k": 2, "o": 3, "t": 10.0, "w": [str(word) for word in words]},
        {"n": 1, "t": 10.5, **({"u": "TimeoutError"} if reply is NO_REPLY else {"r": reply})},
    ]
    begin, end = history_lines("py-1", lines)
    return begin, end


CALLS = [
    (
        ("TASK.PUSH", "q", "uid:p:1", "DELAY", 5, "UNIQUE", "t", "UNTIL", "START", "REQUEST", "r"),
        ["7-0", 1],
        ("push", {"uids": ["uid:p:1"], "delay_ms": 5, "unique": "t", "until_start": True, "request": "r"}),
        {"ids": ["7-0"], "new": True},
    ),
    (
        (
            "TASK.PUSH",
            "q",
            '{"task":"work","args":["uid:p:2"]}',
            "UNIQUE",
            "t",
            "FOR",
            9,
            "KEEP",
            "AFTER",
            1,
            "7-0",
        ),
        ["7-0", 0],
        ("push", {"uids": ["uid:p:2"], "unique": "t", "for_ms": 9, "keep": True, "after": ["7-0"]}),
        {"ids": ["7-0"], "new": False},
    ),
    (
        ("TASK.MPUSH", "q", "GROUP", "g", "TASKS", 2, "uid:p:1", "uid:p:2"),
        ["7-0", "7-1"],
        ("push", {"group": "g", "uids": ["uid:p:1", "uid:p:2"]}),
        {"ids": ["7-0", "7-1"]},
    ),
    (
        ("TASK.CLAIM", "q", "COUNT", 2, "BLOCK", 400, "WORKER", "w", "TIED", "WITHMETA"),
        [["7-0@9-aa", "uid:p:1", 1, ["lease", 9, "failures", 0, "batch-tasks", 3]]],
        ("claim", {"count": 2, "block_ms": 400, "worker": "w", "tied": True, "withmeta": True}),
        {
            "tasks": [
                {"uid": "uid:p:1", "handle": "7-0@9-aa", "attempt": 1, "failures": 0, "batch": {"tasks": 3}}
            ]
        },
    ),
    (
        ("TASK.CLAIM", "q", "NOACK"),
        [["7-0", "uid:p:1", 1]],
        ("claim", {"noack": True}),
        {"tasks": [{"uid": "uid:p:1", "id": "7-0", "attempt": 1}]},
    ),
    (
        ("TASK.MCLAIM", "q", "KEYS", 1, "s", "LEASE", 100),
        ["s", [["7-0@9-aa", "uid:p:1", 2]]],
        ("claim", {"queues": ["q", "s"], "lease_ms": 100}),
        {"queue": "s", "tasks": [{"uid": "uid:p:1", "handle": "7-0@9-aa", "attempt": 2}]},
    ),
    (("TASK.MCLAIM", "q", "KEYS", 1, "s"), [], ("claim", {"queues": ["q", "s"]}), {"tasks": []}),
    (
        ("TASK.ACK", "q", "HANDLES", 2, "a", "b", "RESULT", "done"),
        [1, -2],
        ("ack", {"handles": ["a", "b"], "result": "done"}),
        {"codes": [1, -2]},
    ),
    (
        ("TASK.ACK", "q", "a", "PUSH", "uid:p:3", "REQUEST", "r"),
        [1, "8-0"],
        ("ack", {"handles": ["a"], "push": {"uids": ["uid:p:3"], "request": "r"}}),
        {"codes": [1], "ids": ["8-0"]},
    ),
    (
        ("TASK.ACK", "q", "a", "PUSH", "uid:p:3"),
        [0, None],
        ("ack", {"handles": ["a"], "push": {"uids": ["uid:p:3"]}}),
        {"codes": [0], "ids": []},
    ),
    (
        ("TASK.NEXT", "q", "a", "RESULT", "done", "BLOCK", 5),
        [1, []],
        ("next", {"handles": ["a"], "result": "done", "block_ms": 5}),
        {"codes": [1], "tasks": []},
    ),
    (
        ("TASK.FAIL", "q", "a", "ERROR", "why", "DEAD"),
        -1,
        ("fail", {"handles": ["a"], "error": "why", "dead": True}),
        {"codes": [-1]},
    ),
    (("TASK.REQUEUE", "q", "a", "BACK"), 1, ("requeue", {"handles": ["a"], "back": True}), {"codes": [1]}),
    (
        ("TASK.EXTEND", "q", "a", "LEASE", 5),
        99,
        ("extend", {"handles": ["a"], "lease_ms": 5}),
        {"codes": [99]},
    ),
    (
        ("TASK.RESULT", "q", "7-0", "BLOCK", 5),
        ["done", "x"],
        ("result", {"id": "7-0", "block_ms": 5}),
        {"state": "done", "value": "x"},
    ),
    (("TASK.RESULT", "q", "7-0"), None, ("result", {"id": "7-0"}), {"state": "pending", "value": None}),
    (("TASK.RESULT", "q", "7-0"), 0, ("result", {"id": "7-0"}), {"state": "unknown", "value": None}),
    (
        ("TASK.BATCH", "q", "OPEN", "b", "PRIORITY", 2, "PAYLOAD", "uid:p:4"),
        ["7-0", 1],
        ("batch", {"what": "open", "name": "b", "priority": 2, "uids": ["uid:p:4"]}),
        {"ids": ["7-0"], "new": True},
    ),
    (("TASK.BATCH", "q", "CLOSE", "b"), 1, ("batch", {"what": "close", "name": "b"}), {"closed": 1}),
    (
        ("TASK.CONFIG", "q", "SET", "attempts", 3, "backoff", "fixed"),
        "OK",
        ("config", {"settings": {"attempts": 3, "backoff": "fixed"}}),
        {},
    ),
    (
        ("TASK.GROUP", "q", "SET", "g", "RATE", 5, "PER", 10, "ORDERED", "YES"),
        "OK",
        ("group", {"group": "g", "rate": 5, "per_ms": 10, "ordered": True}),
        {},
    ),
    (
        ("TASK.CANCEL", "q", "IDS", 2, "7-0", "7-1"),
        [1, 0],
        ("cancel", {"ids": ["7-0", "7-1"]}),
        {"codes": [1, 0]},
    ),
]


@pytest.mark.parametrize(("words", "reply", "asked", "answer"), CALLS)
def test_a_command_and_its_reply_become_a_call(words, reply, asked, answer):
    """Its fields are those of the history."""
    begin, end = history_of(*words, reply=reply)
    assert (begin["call"], begin["asked"]) == asked
    assert begin["call"] in ASKED
    assert (begin["client"], begin["connection"], begin["began"]) == ("py-1/2", 3, 10.0)
    assert (end["outcome"], end["answer"], end["ended"]) == ("ok", answer, 10.5)


def test_a_call_without_an_answer_is_unknown():
    """So is one whose wait the server has ended; most other errors say that nothing was done."""
    assert history_of("TASK.PUSH", "q", "uid:p:1")[1]["outcome"] == "unknown"
    line = {"n": 1, "k": 1, "o": 1, "t": 1.0, "w": ["TASK.NEXT", "q", "a", "BLOCK", "0"]}
    for error, outcome in (
        ("UNBLOCKED force", "unknown"),
        ("STALE the lease", "refused"),
        ("MOVED 1 x", "unknown"),
    ):
        _, end = history_lines("py-1", [line, {"n": 1, "t": 2.0, "x": error}])
        assert (end["outcome"], end["error"]) == (outcome, error)


def test_a_file_of_a_killed_process_is_read(tmp_path):
    """The torn line is left out, and the call that has no second line is unknown for ever."""
    whole = {"n": 1, "k": 1, "o": 1, "t": 1.0, "w": ["TASK.PUSH", "q", "uid:p:1"]}
    closed = {"k": 1, "t": 3.0, "closed": True}
    path = tmp_path / "py-1.wire"
    path.write_text(f"{json.dumps(whole)}\n{json.dumps(closed)}\n" + '{"n": 1, "t": 2.0, "r"')
    translate(path)
    history = read(tmp_path)
    assert [(call.client, call.outcome, call.ended) for call in history.calls] == [
        ("py-1/1", "unknown", float("inf"))
    ]
    assert [(one.client, one.at) for one in history.closed] == [("py-1/1", 3.0)]


@pytest.mark.parametrize(("verb", "outcome"), [("NEXT", "unknown"), ("ACK", "refused")])
def test_a_next_whose_wait_ended_elsewhere_may_have_acked(verb, outcome):
    """A waiting NEXT that gets MOVED at a failover has acked before; an ACK that gets it has not."""
    words = [f"TASK.{verb}", "q", "7-0@10-aaaaaaaa"]
    sent = {"n": 1, "k": 1, "o": 1, "t": 1.0, "w": words}
    _, told = history_lines("w", [sent, {"n": 1, "t": 2.0, "x": "MOVED 7 127.0.0.1:7000"}])
    assert told["outcome"] == outcome

"""What an old primary does until it is demoted may be undone: it is not judged by what its successor did."""

from typing import Any

import pytest

from chaos.history import Call, Fault, Final, History, Permits
from chaos.rules import check

OLD_HANDLE, NEW_HANDLE = "7-0@10-aaaaaaaa", "7-0@99-bbbbbbbb"
# The successor serves from 2 on; the old primary from 3 to 9.
WINDOW = Fault("replaced", "0", 9.0, 9.0, Permits(undoes=(3.0, 9.0)))


def ok(n: int, call: str, began: float, asked: dict[str, Any], answer: dict[str, Any], **fields: Any) -> Call:
    """A call that took a tenth of a second and was answered."""
    client = fields.pop("client", f"c/{n}")
    return Call(client, n, call, "q", began, asked, 1, began + 0.1, "ok", answer, **fields)


def claimed(n: int, began: float, uid: str, handle: str, **more: Any) -> Call:
    """A claim that got one task."""
    task = {"uid": uid, "handle": handle, "attempt": 1, **more}
    return ok(n, "claim", began, {"lease_ms": 60_000}, {"tasks": [task]})


def pushed(n: int, began: float, uid: str, task: str, **options: Any) -> Call:
    """A push that was acknowledged."""
    new = {"new": True} if "unique" in options else {}
    return ok(n, "push", began, {"uids": [uid], **options}, {"ids": [task], **new})


def rules(calls: list[Call], *faults: Fault) -> set[str]:
    """What is found in a history of these calls, of a queue that was emptied."""
    finals = [Final("q", 20.0, True)]
    return {finding.rule for finding in check(History(calls, list(faults), finals=finals))}


STALE = [
    pushed(1, 1.0, "u", "7-0"),
    claimed(2, 2.5, "u", NEW_HANDLE),
    claimed(3, 4.0, "u", OLD_HANDLE),
    ok(4, "ack", 4.5, {"handles": [OLD_HANDLE]}, {"codes": [1]}),
    ok(5, "ack", 5.0, {"handles": [NEW_HANDLE]}, {"codes": [1]}),
]
TOKEN = [
    pushed(1, 2.5, "u1", "7-0", unique="t"),
    pushed(2, 4.0, "u2", "8-0", unique="t"),
    claimed(3, 10.0, "u1", NEW_HANDLE),
    ok(4, "ack", 10.5, {"handles": [NEW_HANDLE]}, {"codes": [1]}),
]
BATCH = [
    ok(1, "batch", 1.0, {"what": "open", "name": "b", "uids": ["u"]}, {"ids": ["7-0"], "new": True}),
    pushed(2, 2.5, "member", "8-0", batch="b"),
    ok(3, "batch", 2.8, {"what": "close", "name": "b"}, {"closed": 1}),
    claimed(4, 4.0, "u", OLD_HANDLE, batch={"tasks": 0}),
    claimed(5, 10.0, "member", "8-0@98-bbbbbbbb"),
    ok(6, "ack", 10.5, {"handles": ["8-0@98-bbbbbbbb"]}, {"codes": [1]}),
    claimed(7, 11.0, "u", NEW_HANDLE, batch={"tasks": 1}),
    ok(8, "ack", 11.5, {"handles": [NEW_HANDLE]}, {"codes": [1]}),
]


@pytest.mark.parametrize(
    ("calls", "rule"), [(STALE, "stale accepted"), (TOKEN, "unique"), (BATCH, "batch too early")]
)
def test_what_a_zombie_does_is_wrong_only_outside_its_window(calls: list[Call], rule: str) -> None:
    """The same calls are sound if those in the window may be an old primary's."""
    assert rule in rules(calls)
    assert rules(calls, WINDOW) == set()


@pytest.mark.parametrize(
    ("replicas", "connection", "found"), [(1, 1, {"confirmed"}), (0, 1, set()), (1, 2, set())]
)
def test_what_wait_confirmed_must_not_be_lost_in_a_window(
    replicas: int, connection: int, found: set[str]
) -> None:
    """It is about the pushes of its own connection, and tells how many replicas have them."""
    push = pushed(1, 4.0, "u", "7-0")
    wait = ok(2, "wait", 4.2, {"block_ms": 300}, {"replicas": replicas}, client=push.client)
    wait.connection = connection
    assert rules([push], WINDOW) == set()
    assert rules([push, wait], WINDOW) == found


def test_what_wait_confirmed_may_be_lost_if_the_primary_came_back_without_it():
    """A power cut that took the end of its file. Outside of the window it may not."""
    push = pushed(1, 4.0, "u", "7-0")
    wait = ok(2, "wait", 4.2, {"block_ms": 300}, {"replicas": 1}, client=push.client)
    came_back = Fault("power cut of the primary", "0", 5.0, 6.0, Permits(undoes=(3.0, 5.0), confirmed=True))
    assert rules([push, wait], came_back) == set()
    later = Fault("power cut of the primary", "0", 5.0, 6.0, Permits(undoes=(4.5, 5.0), confirmed=True))
    assert rules([push, wait], later) == {"confirmed"}

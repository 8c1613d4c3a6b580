"""A call without a reply can take effect after its client gave up."""

from chaos.history import Call, Fault, Final, History, Permits
from chaos.rules import check


def push(call: int, began: float, ended: float, outcome: str, task: str = "") -> Call:
    """A push that is sent with the same token each time."""
    asked = {"uids": ["u"], "request": "u"}
    return Call("a/0", call, "push", "q", began, asked, 1, ended, outcome, {"ids": [task]} if task else {})  # type: ignore[arg-type]


def claim(call: int, began: float, task: str) -> Call:
    """A claim that got the task."""
    given = {"uid": "u", "handle": f"{task}@{call}0-aaaaaaaa", "attempt": 1}
    return Call(
        "b/0", call, "claim", "q", began, {"lease_ms": 1000}, 1, began + 0.1, "ok", {"tasks": [given]}
    )


def history(undoes_until: float) -> History:
    """A primary stands still from 1 to 4, and what it does from then on until some instant is undone at 8."""
    calls = [
        push(1, 1.2, 3.0, "unknown"),
        claim(1, 4.2, "7-0"),
        push(2, 9.0, 9.1, "ok", "9-0"),
        claim(2, 9.2, "9-0"),
        Call("b/0", 3, "ack", "q", 9.5, {"handles": ["9-0@20-aaaaaaaa"]}, 1, 9.6, "ok", {"codes": [1]}),
    ]
    replaced = Fault("replaced", "0", 1.0, 8.0, Permits(undoes=(4.1, undoes_until)))
    return History(calls, [replaced] if undoes_until else [], finals=[Final("q", 20.0, True)])


def test_a_push_that_a_server_finds_when_it_goes_on_can_be_undone() -> None:
    """Its client gave up before. Sent again to the new primary, it makes another task."""
    assert "pushed twice" not in {finding.rule for finding in check(history(8.0))}
    assert "pushed twice" in {finding.rule for finding in check(history(0.0))}

"""The grace after an outage: owed to a lease whose deadline passed meanwhile, and to no other."""

import pytest

from chaos.history import Call, Fault, Final, History
from chaos.rules import check

HANDLE, NEXT = "7-0@10-aaaaaaaa", "7-0@99-bbbbbbbb"
# The server stood still from 2 to 6, so that a lease which ended meanwhile has a grace of four seconds.
OUTAGE = Fault("SIGSTOP", "0", 2.0, 6.0, outage=(2.0, 6.0))


def history(again_at: float, *extends: Call) -> History:
    """A task that is claimed at 1 for two seconds, and again at `again_at`."""
    calls = [
        Call("a/0", 1, "push", "q", 0.5, {"uids": ["u"]}, 1, 0.6, "ok", {"ids": ["7-0"]}),
        claim("b/0", 1.0, 2000, HANDLE, 1),
        *extends,
        claim("c/0", again_at, 60_000, NEXT, 2),
        Call("c/0", 2, "ack", "q", 14.0, {"handles": [NEXT]}, 1, 14.1, "ok", {"codes": [1]}),
    ]
    return History(calls, [OUTAGE], finals=[Final("q", 20.0, True)])


def claim(client: str, began: float, lease_ms: int, handle: str, attempt: int) -> Call:
    """A claim that got the task."""
    task = {"uid": "u", "handle": handle, "attempt": attempt}
    asked = {"lease_ms": lease_ms}
    return Call(client, 1, "claim", "q", began, asked, 1, began + 0.1, "ok", {"tasks": [task]})


def extend(outcome: str, lease_ms: int) -> Call:
    """The holder's call, sent during the outage and given up after it."""
    asked = {"handles": [HANDLE], "lease_ms": lease_ms}
    return Call("b/0", 2, "extend", "q", 4.0, asked, 1, 6.2, outcome)  # type: ignore[arg-type]


@pytest.mark.parametrize(("again_at", "found"), [(7.0, {"no cause"}), (10.5, set())])
def test_a_lease_that_ended_in_an_outage_lasts_for_its_grace(again_at: float, found: set[str]) -> None:
    """It is over after ten seconds, and not before."""
    assert {finding.rule for finding in check(history(again_at))} == found


def test_a_fault_during_a_grace_may_end_it() -> None:
    """The server is killed at 8 and knows of that outage only. Until then the grace lasts."""
    for again_at, found in [(7.0, {"no cause"}), (8.5, set())]:
        faulty = history(again_at)
        faulty.faults.append(Fault("kill -9", "0", 8.0, 8.4, outage=(8.0, 8.4)))
        assert {finding.rule for finding in check(faulty)} == found


def test_an_extend_that_may_have_come_after_the_outage_may_have_taken_the_place_of_the_grace() -> None:
    """It was handled first of all, and gave half a second."""
    assert check(history(7.0, extend("unknown", 500))) == []


def test_an_extend_that_was_refused_takes_no_grace_away() -> None:
    """It changed nothing."""
    refused = extend("refused", 500)
    refused.error = "QFULL"
    assert {finding.rule for finding in check(history(7.0, refused))} == {"no cause"}

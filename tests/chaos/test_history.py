"""The history of a run: what is written is read again, and files that were cut or are wrong are noticed."""

import json
import math
from pathlib import Path

import pytest

from chaos.history import BadHistoryError, Closed, Fault, Final, Journal, Left, Permits, Run, read

HANDLE = "1795773133658-0@1795773133759000-5d6cc72d"


def test_calls_of_several_processes_are_merged_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    """Two files give one history, and each call has both of its lines."""
    with Journal(tmp_path / "a.jsonl") as one, Journal(tmp_path / "b.jsonl") as two:
        push = one.begin("a/0", "push", "mail", 2.0, {"uids": ["u1"], "delay_ms": 5})
        claim = two.begin("b/0", "claim", "mail", 1.0, {"block_ms": 1000}, connection=3)
        two.end(claim, 1.5, "ok", {"tasks": [{"uid": "u1", "handle": HANDLE, "attempt": 1}]})
        one.end(push, 2.5, "refused", error="QFULL the queue has reached max-len")

    claim, push = read(tmp_path).calls

    assert (claim.client, claim.connection, claim.ended, claim.outcome) == ("b/0", 3, 1.5, "ok")
    assert claim.answer["tasks"][0]["handle"] == HANDLE
    assert (push.asked, push.outcome, push.word) == ({"uids": ["u1"], "delay_ms": 5}, "refused", "QFULL")
    assert not push.may_count


def test_a_call_without_its_end_is_unknown(tmp_path: Path) -> None:
    """A worker that was killed after it sent an ack has written only that it would."""
    with Journal(tmp_path / "a.jsonl") as journal:
        journal.begin("a/0", "ack", "mail", 1.0, {"handles": [HANDLE]})

    (call,) = read(tmp_path).calls

    assert (call.outcome, call.ended, call.may_count) == ("unknown", math.inf, True)
    assert call.codes() == [None]


@pytest.mark.parametrize(
    ("end", "codes"),
    [
        ({"outcome": "ok", "answer": {"codes": [1]}}, [1]),
        ({"outcome": "refused", "error": "STALE the lease has ended"}, [-2]),
        ({"outcome": "refused", "error": "CANCELLED cancellation was requested"}, [-3]),
        ({"outcome": "refused", "error": "BROKEN the queue can only be read"}, []),
        ({"outcome": "unknown"}, [None]),
    ],
)
def test_a_reply_to_a_single_handle_has_the_codes_of_a_reply_to_several(
    tmp_path: Path, end: dict, codes: list
) -> None:
    """An error of one handle is the integer that a reply to HANDLES has in its place."""
    lines = [
        {"line": "begin", "client": "a/0", "n": 1, "call": "extend", "queue": "q", "began": 1.0}
        | {"asked": {"handles": [HANDLE]}},
        {"line": "end", "client": "a/0", "n": 1, "ended": 2.0} | end,
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))

    assert read(tmp_path).calls[0].codes() == codes


def test_a_torn_last_line_is_left_out_and_no_other(tmp_path: Path) -> None:
    """A killed process leaves half a line; half a line in the middle is a mistake of the writer."""
    path = tmp_path / "a.jsonl"
    with Journal(path) as journal:
        journal.begin("a/0", "claim", "mail", 1.0, {})
    whole = path.read_bytes()

    path.write_bytes(whole + b'{"line":"end","clie')
    assert [call.outcome for call in read(tmp_path).calls] == ["unknown"]

    path.write_bytes(b'{"line":"beg\n' + whole)
    with pytest.raises(BadHistoryError, match="a.jsonl:1"):
        read(tmp_path)


def test_other_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Faults, the run, and what was left are the same afterwards."""
    records = [
        Fault("kill", "n1", 1.0, 2.0, Permits(undoes=(0.5, 1.0), closes=["*"]), {"signal": 9}),
        Run(7, "valkey-9.1", "always", 0.0, 9.0, 1e12, {"mail": {"attempts": 3}}),
        Left("mail", "5-0", "u1", "dead", deliveries=3),
        Final("mail", 10.0, True, {"acked": 5}),
        Closed("w1", 4.0),
    ]
    with Journal(tmp_path / "a.jsonl") as journal:
        for record in records:
            journal.write(record)

    history = read(tmp_path)

    found = [*history.faults, *history.runs, *history.left, *history.finals, *history.closed]
    assert found == records
    assert history.run.seed == 7


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ({"line": "begin", "call": "push", "asked": {"uid": "u"}}, "no field 'uid'"),
        ({"line": "begin", "call": "pusch", "asked": {}}, "unknown call 'pusch'"),
        ({"line": "begin", "call": "push", "asked": {}, "begun": 1}, "begun"),
        ({"line": "end", "client": "a/0", "n": 3, "ended": 1, "outcome": "ok"}, "never began"),
        ({"line": "task", "queue": "q", "id": "1-0", "uid": None, "state": "dead", "age": 1}, "age"),
        (
            {"line": "fault", "kind": "kill", "node": "n", "began": 1, "ended": 1, "permits": {"undo": 1}},
            "undo",
        ),
    ],
)
def test_a_line_in_another_form_is_refused(tmp_path: Path, line: dict, error: str) -> None:
    """A misspelt field would otherwise make a rule blind."""
    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n")

    with pytest.raises(BadHistoryError, match=error):
        read(tmp_path)


def test_a_writer_is_told_of_a_wrong_field_at_once(tmp_path: Path) -> None:
    """Not only the reader checks the fields."""
    with Journal(tmp_path / "a.jsonl") as journal:
        with pytest.raises(ValueError, match="no field 'block'"):
            journal.begin("a/0", "claim", "mail", 1.0, {"block": 5})
        call = journal.begin("a/0", "claim", "mail", 1.0, {"block_ms": 5})
        with pytest.raises(ValueError, match="no field 'task'"):
            journal.end(call, 2.0, "ok", {"task": []})

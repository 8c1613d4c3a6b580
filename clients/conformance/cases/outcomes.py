"""Outcomes: how the worker reports values, exceptions and bad payloads to the server."""

from __future__ import annotations

import json
from typing import Any

from ..case import case
from ..model import call
from ..stage import Stage

ERROR_BYTES = 4096
VALUES: list[Any] = [0, -1.5, "", "Zoë 🚀 \u2028", True, False, [1, [2, {"a": None}]], {"b": {"c": "d"}}]


@case("results", places=2)
async def results(stage: Stage) -> None:
    """A returned value is sent as JSON, and null without RESULT. Arguments come by place and by name."""
    for value in VALUES:
        (task,) = stage.push(call("echo", value))
        sent = await stage.answer(task, "TASK.ACK")
        check_result(stage, sent.options.get("RESULT"), value)
    (task,) = stage.push(call("echo", None))
    sent = await stage.answer(task, "TASK.ACK")
    stage.check("RESULT" not in sent.options, "an ACK without RESULT for null")
    (task,) = stage.push(call("greet", "Bob", greeting="hi"))
    sent = await stage.answer(task, "TASK.ACK")
    check_result(stage, sent.options.get("RESULT"), "hi Bob")
    (task,) = stage.push(b'{"task": "greet", "args": ["Eve"]}')
    sent = await stage.answer(task, "TASK.ACK", says=" (without kwargs)")
    check_result(stage, sent.options.get("RESULT"), "hello Eve")


def check_result(stage: Stage, result: bytes | None, value: Any) -> None:
    """Check that a result is JSON of a value, in UTF-8."""
    try:
        found = json.loads(result.decode()) if result is not None else None
    except ValueError:
        found = None
    same = found == value and type(found) is type(value) and result is not None
    stage.check(same, f"RESULT {json.dumps(value, ensure_ascii=False)}, not {result!r}")


@case("errors", places=2)
async def errors(stage: Stage) -> None:
    """An exception is FAIL, with `Type: text` as the first line of ERROR; the server decides about retries."""
    (task,) = stage.push(call("fail", "no route to host"))
    sent = await stage.answer(task, "TASK.FAIL")
    first = sent.options.get("ERROR", b"").decode("utf-8", "replace").partition("\n")[0]
    kind, _, text = first.partition(": ")
    right = text == "no route to host" and kind.strip() and " " not in kind
    stage.check(right, f'ERROR with the first line "Type: no route to host", not {first[:80]!r}')
    stage.check(not {"DEAD", "DELAY"} & sent.options.keys(), "a FAIL without DEAD and DELAY")
    (task,) = stage.push(call("fail", "ü" * 9000))
    sent = await stage.answer(task, "TASK.FAIL", says=" (a long text)")
    error = sent.options.get("ERROR", b"")
    stage.check(error, "ERROR")
    stage.check(is_utf8(error), "ERROR in UTF-8, not cut within a character")
    stage.check(len(error) <= ERROR_BYTES, f"ERROR of at most {ERROR_BYTES} bytes, not {len(error)}")


def is_utf8(text: bytes) -> bool:
    """Whether bytes are UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@case("decisions", places=2)
async def decisions(stage: Stage) -> None:
    """A function can say what happens next: FAIL … DEAD, FAIL … DELAY, REQUEUE … DELAY."""
    dead, retried, given = stage.push(
        call("dead", "no address"), call("retry", "busy", 2500), call("give_back", 700)
    )
    sent = await stage.answer(dead, "TASK.FAIL")
    error = sent.options.get("ERROR", b"")
    stage.check("DEAD" in sent.options and b"no address" in error, 'FAIL … DEAD, with "no address" in ERROR')
    sent = await stage.answer(retried, "TASK.FAIL")
    stage.check(sent.options.get("DELAY") == b"2500" and "DEAD" not in sent.options, "FAIL … DELAY 2500")
    sent = await stage.answer(given, "TASK.REQUEUE")
    stage.check(sent.options.get("DELAY") == b"700", "REQUEUE … DELAY 700")


@case("unknown-function")
async def unknown_function(stage: Stage) -> None:
    """A function that the worker does not have is FAIL, not DEAD: another worker may have it."""
    (task,) = stage.push(call("nobody.knows.this", 1))
    sent = await stage.answer(task, "TASK.FAIL")
    stage.check("DEAD" not in sent.options, "a FAIL without DEAD")
    stage.check(b"nobody.knows.this" in sent.options.get("ERROR", b""), "the name of the function in ERROR")
    (task,) = stage.push(call("constructor"))
    await stage.answer(task, "TASK.FAIL", says=", which is no function of the worker")


@case("unreadable-payloads", places=2)
async def unreadable_payloads(stage: Stage) -> None:
    """A payload that is not a call is FAIL … DEAD: no worker can read it."""
    unreadable = [
        b"welcome:bob",
        b"",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'"echo"',
        b"null",
        b'{"args": []}',
        b'{"task": 5}',
        b'{"task": "echo", "args": {"a": 1}}',
        b'{"task": "echo", "kwargs": [1]}',
    ]
    for task in stage.push(*unreadable):
        sent = await stage.answer(task, "TASK.FAIL", says=" (not a call)")
        stage.check("DEAD" in sent.options, f"FAIL … DEAD for the payload {task.payload!r}")
        stage.check(sent.options.get("ERROR"), "an ERROR that names the problem")


@case("unwritable-result")
async def unwritable_result(stage: Stage) -> None:
    """A result that cannot be written as JSON is FAIL … DEAD: the work is done."""
    (task,) = stage.push(call("unwritable"))
    sent = await stage.answer(task, "TASK.FAIL")
    stage.check("DEAD" in sent.options, "FAIL … DEAD")

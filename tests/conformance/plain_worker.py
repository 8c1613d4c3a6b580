"""A small worker, written by docs/worker-protocol.md, for the test of the conformance test: plain_worker.py [MISTAKE].

It is right if it is given no mistake. Each mistake in `MISTAKES` breaks one rule, as a worker in any language could.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from mistakes import MISTAKES
from plain_client import Away, Client, Refusal

MISTAKE = " ".join(sys.argv[1:])
assert not MISTAKE or MISTAKE in MISTAKES, MISTAKE

KEY, NAME = os.environ["TASKSLOT_QUEUE"], f"plain-{uuid.uuid4()}"
PLACES = int(os.environ["TASKSLOT_CONCURRENCY"])
LEASE_MS, GRACE_MS = int(os.environ["TASKSLOT_LEASE_MS"]), int(os.environ["TASKSLOT_GRACE_MS"])
BLOCK_MS = 30_000 if MISTAKE == "waits in claims for 30 s" else 500
PASSING = {
    *("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED"),
    *("MISCONF", "NOREPLICAS", "BUSY"),
}
REST_S = 0.05

url = urlsplit(os.environ["TASKSLOT_URL"])
late_s = 60.0 if MISTAKE.startswith("waits") else BLOCK_MS / 1000 + 2
waiting = Client(url.hostname, url.port, late_s)
talking = waiting if MISTAKE.startswith("claims on the connection") else Client(url.hostname, url.port, 2.0)

lock = threading.Lock()
running: dict[str, Run] = {}  # by handle
counts: Counter[str] = Counter()
stopping = threading.Event()
one_token = str(uuid.uuid4())


class Stopped(Exception):
    """The function was asked to stop."""


class Choice(Exception):
    """A function chose what happens to its task: the command and its options."""


class Run:
    """A task in hand."""

    def __init__(self, handle: str, payload: bytes) -> None:
        self.handle, self.payload = handle, payload
        self.extends_at = time.monotonic() + LEASE_MS / 3000
        self.stop = threading.Event()
        self.is_lost = self.is_over = self.is_given_back = False


# ---- the functions


def sleep(run: Run, ms: float) -> float:
    if run.stop.wait(ms / 1000):
        raise Stopped
    return ms


def stubborn(run: Run, ms: float) -> float:
    time.sleep(ms / 1000)
    return ms


def count(run: Run, name: str) -> int:
    counts[name] += 1
    return counts[name]


def fail(run: Run, text: str) -> None:
    raise ValueError(text)


def choose(*words: object) -> None:
    raise Choice(*words)


FUNCTIONS: dict[str, Any] = {
    "echo": lambda run, value: value,
    "greet": lambda run, name, greeting="hello": f"{greeting} {name}",
    "count": count,
    "fail": fail,
    "dead": lambda run, text: choose("TASK.FAIL", "ERROR", text, "DEAD"),
    "retry": lambda run, text, ms: choose("TASK.FAIL", "ERROR", text, "DELAY", ms),
    "give_back": lambda run, ms: choose("TASK.REQUEUE", "DELAY", ms),
    "sleep": sleep,
    "stubborn": stubborn,
    "unwritable": lambda run: object(),
}


# ---- claims


def claim(free: int) -> list[Any]:
    """Claim, and send it again with its token until there is a reply."""
    token = one_token if MISTAKE == "takes one token for all claims" else str(uuid.uuid4())
    tries = 0
    while not stopping.is_set() or MISTAKE == "claims after SIGTERM":
        if MISTAKE == "takes a new token for each try":
            token = str(uuid.uuid4())
        words = ["COUNT", free, "BLOCK", BLOCK_MS, "LEASE", LEASE_MS, "WORKER", NAME, "REQUEST", token]
        if MISTAKE == "claims with no token":
            words = words[:-2]
        try:
            return waiting.ask("TASK.CLAIM", KEY, *words)
        except Away:
            tries += 1
            if MISTAKE == "ends when a connection breaks" or (
                MISTAKE == "gives up at the third try" and tries == 3
            ):
                raise
            time.sleep(REST_S)
        except Refusal as error:
            if not passes(error):
                raise
            time.sleep(REST_S)
    return []


def passes(error: Refusal) -> bool:
    """Whether an error passes within seconds."""
    if MISTAKE == "claims on after WRONGTYPE" and "WRONGTYPE" in str(error):
        return True
    code = str(error).partition(" ")[0]
    return code in PASSING and f"ends at {code}" != MISTAKE


def work() -> None:
    """Claim and start tasks until the stop."""
    while not stopping.is_set() or MISTAKE == "claims after SIGTERM":
        with lock:
            free = PLACES - len(running)
        if MISTAKE == "claims for all places, free or not":
            free = PLACES
        if free == 0:
            time.sleep(0.005)
            continue
        if MISTAKE == "ends when an idle connection breaks" and waiting.is_broken():
            raise Away("the connection is closed")
        for handle, payload, _ in claim(free):
            begin(handle.decode(), payload)


def begin(handle: str, payload: bytes) -> None:
    """Start a task, or give it back if the worker is stopping."""
    run = Run(handle, payload)
    if stopping.is_set() and MISTAKE != "runs what comes after SIGTERM":
        return answer(run, "TASK.REQUEUE")
    with lock:
        if handle in running:  # a claim that was sent again can bring it again
            return
        running[handle] = run
    if MISTAKE == "runs one task after the other":
        live(run)
    else:
        threading.Thread(target=live, args=[run], daemon=True).start()


# ---- a task


def live(run: Run) -> None:
    """Run a task, and answer for it."""
    words = outcome(run)
    if words and not run.is_given_back:
        if not (run.is_lost and MISTAKE == "drops a result whose lease is over"):
            answer(run, *words)
    run.is_over = True
    with lock:
        running.pop(run.handle, None)


def outcome(run: Run) -> list[Any]:
    """What the worker sends for a task. Nothing if it was stopped because its lease is lost."""
    try:
        call = json.loads(run.payload)
        name, args, kwargs = call["task"], call.get("args", []), call.get("kwargs", {})
        if not (isinstance(name, str) and isinstance(args, list) and isinstance(kwargs, dict)):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError):
        return failed("BadPayload: not a call", MISTAKE != "retries what it cannot read")
    if name not in FUNCTIONS:
        return failed(f"UnknownFunction: {name}", MISTAKE == "kills tasks of unknown functions")
    try:
        value = FUNCTIONS[name](run, *args, **({} if MISTAKE == "drops kwargs" else kwargs))
    except Stopped:
        return [] if run.is_lost else ["TASK.REQUEUE"]
    except Choice as choice:
        return (
            list(choice.args[:-2])
            if MISTAKE == "forgets the delay" and "DELAY" in choice.args
            else list(choice.args)
        )
    except Exception as error:
        return of_error(error)
    if value is None:
        return ["TASK.ACK"]
    try:
        return ["TASK.ACK", "RESULT", str(value) if MISTAKE == "sends results as text" else written(value)]
    except TypeError as error:
        return failed(f"TypeError: {error}", MISTAKE != "retries a result that it cannot write")


def written(value: Any) -> str:
    """A value as JSON."""
    return json.dumps(value, ensure_ascii=False)


def failed(error: str, dead: bool) -> list[Any]:
    """A FAIL, for good or not."""
    return ["TASK.FAIL", "ERROR", error, *(["DEAD"] if dead else [])]


def of_error(error: Exception) -> list[Any]:
    """The FAIL of an exception."""
    text: Any = f"{type(error).__name__}: {error}"
    if MISTAKE == "sends errors without their type":
        text = str(error)
    if MISTAKE != "sends errors as long as they are":
        text = text.encode()[:4095]
    if isinstance(text, bytes) and MISTAKE != "cuts errors within a character":
        text = text.decode("utf-8", "ignore")
    return [
        "TASK.FAIL",
        "ERROR",
        text,
        *(["DELAY", 1000] if MISTAKE == "decides about retries itself" else []),
    ]


def answer(run: Run, *words: Any) -> None:
    """Send an answer until there is a reply."""
    name, *options = words
    if MISTAKE == "needs TASK.NEXT" and name == "TASK.ACK":
        name, options = (
            "TASK.NEXT",
            [*options, "LEASE", LEASE_MS, "WORKER", NAME, "REQUEST", str(uuid.uuid4())],
        )
    while not run.is_given_back:
        try:
            talking.ask(name, KEY, run.handle, *options)
            return
        except Away:
            if MISTAKE in ("drops an ack that had no reply", "drops results when the server is away"):
                return
            if MISTAKE == "fails a task whose ack had no reply":
                name, options = "TASK.FAIL", ["ERROR", "Away: no reply"]
        except Refusal as error:
            if (again := after(error, name, options)) is None:
                return
            name, options = again
        time.sleep(REST_S)


def after(error: Refusal, name: str, options: list[Any]) -> tuple[str, list[Any]] | None:
    """What is sent after an error; None for nothing."""
    text = str(error)
    if text.startswith("STALE"):
        insists = {"acks on after STALE": "TASK.ACK", "fails on after STALE": "TASK.FAIL"}.get(
            MISTAKE
        ) == name
        return (name, options) if insists else None
    if passes(error) or MISTAKE in ("needs TASK.NEXT", "keeps trying a result that is refused"):
        return name, options
    if text.startswith("OOM") and MISTAKE != "fails a task after OOM":
        return name, [*options, "RETAIN", 0]
    return ("TASK.FAIL", ["ERROR", f"Refused: {text}", "DEAD"]) if name == "TASK.ACK" else None


# ---- heartbeats


def extend_leases() -> None:
    """Extend leases at a third of their length."""
    part = 0.97 if MISTAKE == "extends at the end of the lease" else 1 / 3
    while True:
        time.sleep(0.01)
        now = time.monotonic()
        with lock:
            due = [run for run in running.values() if not run.is_over and run.extends_at <= now]
        if MISTAKE == "extends the first lease only":
            due = [run for run in due if run is next(iter(running.values()), None)]
        if (
            not due
            or MISTAKE == "never extends"
            or (stopping.is_set() and MISTAKE.startswith("extends no more after S"))
        ):
            continue
        try:
            replies = talking.ask("TASK.EXTEND", KEY, "HANDLES", len(due), *(run.handle for run in due))
        except (Away, Refusal):
            if MISTAKE == "extends no more after a lost heartbeat":
                return
            continue
        for run, reply in zip(due, replies, strict=True):
            run.extends_at = now + LEASE_MS / 1000 * part
            if reply <= 0:
                over(run, reply)


def over(run: Run, reply: int) -> None:
    """The lease is lost (-2), the task is gone (0) or is to be cancelled (-3)."""
    if (reply, MISTAKE) in [(-2, "extends on after STALE"), (-3, "does not hear of a cancel")]:
        return
    run.is_lost = reply != -3
    run.extends_at = float("inf")
    if not (reply == 0 and MISTAKE == "does not stop a function after 0"):
        run.stop.set()


# ---- the stop


def stop() -> int:
    """Wait for the tasks in hand, and give back the others. Returns the exit status."""
    ends_at = time.monotonic() + GRACE_MS / 1000
    while running and time.monotonic() < ends_at:
        time.sleep(0.01)
    left = list(running.values())
    for run in left:
        run.is_given_back = True
        run.stop.set()
    if left and MISTAKE != "requeues nothing":
        talking.ask("TASK.REQUEUE", KEY, "HANDLES", len(left), *(run.handle for run in left))
    return 1 if left else 0


def main() -> int:
    """Work until SIGTERM."""
    if MISTAKE != "ends at once at SIGTERM":
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    errors: list[Exception] = []

    def claims() -> None:
        try:
            work()
        except (Refusal, Away) as error:
            errors.append(error)

    claiming = threading.Thread(target=claims, daemon=True)
    claiming.start()
    threading.Thread(target=extend_leases, daemon=True).start()
    while not stopping.is_set() and not errors:
        claiming.join(0.05)
    if errors:
        print(f"the server refuses claims: {errors[0]}", flush=True)
        return 1
    claiming.join(BLOCK_MS / 1000 + 4)
    while MISTAKE == "never ends":
        time.sleep(1)
    return stop()


if __name__ == "__main__":
    sys.exit(main())

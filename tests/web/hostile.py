"""A queue in which everything that a client can write is an attack on the page that shows it."""

from __future__ import annotations

from typing import Any

# Markup for a text, for an attribute in either quote, for a template, for a URL; and what no terminal should get.
# The marks tell where a text came from.
ATTACK = """<script>alert(1)</script>"><img src=x onerror=alert(2)>'><svg onload=alert(3)>{{7*7}}${7*7}"""
UNSEEN = "\u202egnp.\u2066\x00\x1b[31m\x07"
# A key with what means something in a URL, and bytes that are not UTF-8.
KEY = b"evil/../?a=1&b=2#c%41%zz +;\"'<script>alert('key')</script>\xff\xfe"


def evil(mark: str) -> bytes:
    """An attack that begins with a mark, at most as long as a name can be."""
    return (f"{mark} {ATTACK}{UNSEEN}".encode() + b"\xff\xc3(")[:256]


def text(mark: str) -> bytes:
    """An attack without the bytes for which the page would show a value as a hex dump."""
    return f"{mark} {ATTACK}\u202egnp.\u2066".encode()


def fill(client: Any, key: bytes = KEY) -> dict[str, str]:
    """Fill a queue with attacks, one task or more in each state. Returns an id for each state."""

    def send(*words: Any) -> Any:
        return client.execute_command(*words)

    header = ("HEADERS", 2, evil("name"), text("value"), b"javascript:alert(4)", b"javascript:alert(5)")
    ids = {}

    def push(state: str, *options: Any) -> None:
        made = send("TASK.PUSH", key, text(f"payload-{state}"), *options)
        # With UNIQUE the reply also says whether the task is new.
        ids[state] = (made[0] if isinstance(made, list) else made).decode()

    def claim() -> bytes:
        ((handle, *_),) = send("TASK.CLAIM", key, "WORKER", evil("worker"), "LEASE", 3_600_000, "BLOCK", 5000)
        return handle

    send("TASK.CONFIG", key, "SET", "errors-kept", 3, "retain", 3_600_000)
    push("dead", "GROUP", evil("group"), "ATTEMPTS", 2, *header)
    for attempt in ("first", "second"):
        send("TASK.FAIL", key, claim(), "DELAY", 0, "ERROR", error(attempt))
    push("done", "UNIQUE", evil("token-done"), *header)
    send("TASK.ACK", key, claim(), "RESULT", text("result"))
    push("leased", "GROUP", evil("group"), "UNIQUE", evil("token"), *header)
    send("TASK.EXTEND", key, claim(), "PROGRESS", text("progress"))
    send("TASK.BATCH", key, "OPEN", evil("batch"), *header, "PAYLOAD", text("callback"))
    push("ready", "BATCH", evil("batch"), "GROUP", evil("group"), *header)
    push("delayed", "DELAY", 3_600_000, "UNIQUE", evil("token-delayed"), *header)
    push("held", "AFTER", 1, ids["ready"], *header)
    send("TASK.PUSH", key, evil("bytes"))
    send("TASK.PUSH", key, b'{"task": "' + b"<script>alert(6)</script>" + b'", "args": ["</script>"]}')
    send("TASK.GROUP", key, "SET", evil("group"), "CONCURRENCY", 5)
    send("TASK.CRON", key, "SET", evil("schedule"), "EVERY", 3_600_000, "PAYLOAD", text("cron"))
    return ids


def error(mark: str) -> bytes:
    """An error with a traceback, as the library writes it."""
    lines = f'\nTraceback (most recent call last):\n  File "<script>alert(7)</script>", line 1, in {ATTACK}\n'
    return evil(f"error-{mark}") + lines.encode()

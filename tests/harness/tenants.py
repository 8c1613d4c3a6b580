"""Pushes and claims tasks of groups, and shows whose turn it was."""

from __future__ import annotations

from harness.talk import Talk


def fill(c: Talk, group: str, count: int, *options: object, key: str = "q", first: int = 1) -> list[bytes]:
    """Push tasks `a1`, `a2` and so on of a group ("" is no group). Returns their ids."""
    of = ["GROUP", group] if group else []
    ids = []
    for start in range(first, first + count, 1000):
        names = [f"{group}{n}" for n in range(start, min(start + 1000, first + count))]
        ids += c("TASK.MPUSH", key, *of, *options, "TASKS", len(names), *names)
    return ids


def names(tasks: list) -> list[str]:
    """The payloads of a claim's reply, as text."""
    assert isinstance(tasks, list), tasks
    return [task[1].decode() for task in tasks]


def claims(c: Talk, count: int, at_once: int = 1, *options: object, key: str = "q") -> list[str]:
    """Claim and ack this many tasks, `at_once` in each claim. Returns their payloads."""
    got = []
    while len(got) < count:
        tasks = c("TASK.CLAIM", key, "COUNT", min(at_once, count - len(got)), *options)
        got += names(tasks)
        assert tasks, f"only {len(got)} tasks"
        assert set(c("TASK.ACK", key, "HANDLES", len(tasks), *[task[0] for task in tasks])) == {1}
    return got


def tenants(got: list[str]) -> str:
    """The groups of the tasks; `-` stands for no group."""
    return "".join(name.rstrip("0123456789") or "-" for name in got)


def groups(c: Talk, key: str = "q") -> dict[bytes, dict]:
    """The groups in TASK.INFO, by name."""
    found = [c.as_map(group) for group in c.map("TASK.INFO", key, "GROUPS")[b"groups"]]
    return {group[b"name"]: group for group in found}

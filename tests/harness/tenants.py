"""Tasks of groups: pushed, claimed, and whose turn it was."""

from __future__ import annotations

from harness.talk import Talk


def fill(c: Talk, group: str, count: int, *options: object, key: str = "q", first: int = 1) -> list[bytes]:
    """Push tasks of a group, or with "" of none: `a1`, `a2` and so on. Their ids."""
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
    """The payloads of so many tasks, claimed and acknowledged, so many at once."""
    got = []
    while len(got) < count:
        tasks = c("TASK.CLAIM", key, "COUNT", min(at_once, count - len(got)), *options)
        got += names(tasks)
        assert tasks, f"only {len(got)} tasks"
        assert set(c("TASK.ACK", key, "HANDLES", len(tasks), *[task[0] for task in tasks])) == {1}
    return got


def tenants(got: list[str]) -> str:
    """Whose tasks they are, `-` for nobody's."""
    return "".join(name.rstrip("0123456789") or "-" for name in got)


def groups(c: Talk, key: str = "q") -> dict[bytes, dict]:
    """What INFO says of the groups, by name."""
    told = [c.as_map(group) for group in c.map("TASK.INFO", key, "GROUPS")[b"groups"]]
    return {group[b"name"]: group for group in told}

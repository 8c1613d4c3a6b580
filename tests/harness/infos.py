"""Made-up replies of TASK.INFO, for tests of what is shown of them."""

from dataclasses import fields

from taskslot.replies import Info, Load

LOAD = Load(1.0, 1.0, 100.0, 1, 1, 0.05, 0, 0, 1, 1)


def info(**values) -> Info:
    """An Info of a queue, with zeros and nothing that needs a person, except for the given values."""
    texts = {"held_by": "", "broken": "", "load": LOAD}
    counts = {item.name: 0 for item in fields(Info) if item.name not in ("more", *texts)}
    return Info(**{**counts, **texts, **values})

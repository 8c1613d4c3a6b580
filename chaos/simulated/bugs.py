"""What can be wrong with the simulated queue, and which rules may find it."""

from __future__ import annotations

# Each bug, and the rules of which at least one must find it.
BUGS: dict[str, tuple[str, ...]] = {
    "never expire": ("stuck",),
    "early expiry": ("no cause", "holder refused"),
    "grace forgotten": ("no cause", "holder refused"),
    "fence of ack": ("stale accepted", "runs after its end", "acked twice"),
    "fence of fail": ("stale accepted", "no cause"),
    "fence of extend": ("stale accepted",),
    "holder refused": ("holder refused",),
    "number twice": ("number twice",),
    "number restarts": ("number not growing", "number twice"),
    "phantom": ("appeared",),
    "lost push": ("lost",),
    "lost requeue": ("lost",),
    "double delivery": ("no cause",),
    "zombie": ("runs after its end", "acked twice"),
    "last in first out": ("order",),
    "priority ignored": ("priority",),
    "delay early": ("too early",),
    "delay never": ("stuck",),
    "retry early": ("retry too early",),
    "expired delivered": ("expired",),
    "unique forgotten": ("unique",),
    "token never free": ("unique",),
    "request ignored": ("pushed twice",),
    "attempt not counted": ("attempt not counted",),
    "above attempts": ("above attempts",),
    "dead too early": ("above attempts",),
    "limit exceeded": ("limit exceeded",),
    "batch twice": ("pushed twice",),
    "batch early": ("batch too early",),
    "batch never": ("batch never complete",),
    "after early": ("after too early",),
    "result mixed up": ("result wrong",),
    "result forgotten": ("result missing",),
    "cancelled runs": ("runs after its end",),
    "wake-up lost": ("not served",),
    "tied forgotten": ("not served",),
    # Half a second is undone by a crash, and no fault says so.
    "undone in silence": ("lost", "runs after its end", "attempt not counted", "no cause", "holder refused"),
}

# These show only at a crash. All others are sought in runs without one, in which liveness is judged, too.
AT_CRASH = {"grace forgotten", "number restarts", "undone in silence"}

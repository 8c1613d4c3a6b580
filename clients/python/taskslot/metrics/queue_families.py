"""What is measured of a queue: one table of gauges, one of totals, and the histograms. Pure.

The words are those of TASK.INFO (docs/observability.md). Rates have no metric, because monitoring systems compute them
from the totals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..replies import Info, Schedule
from .family import Family, Gauge, gauge, known, seconds


def gauges(name: str, help: str, label: str, values: dict[str, Callable[[Info], float]]) -> Gauge[Info]:
    """A gauge with one more label, and a value for each value of that label."""
    family = Family(name, "gauge", help, ("queue", label))
    return Gauge(family, lambda info: [((of,), value(info)) for of, value in values.items()])


GAUGES: tuple[Gauge[Info], ...] = (
    gauges(
        "queue.tasks",
        "Tasks in this state now.",
        "state",
        {
            "ready": lambda info: info.ready,
            "delayed": lambda info: info.delayed,
            "held": lambda info: info.held,
            "leased": lambda info: info.leased,
            "dead": lambda info: info.dead,
            "done": lambda info: info.done,
        },
    ),
    gauge(
        "queue.oldest_ready",
        "How long the oldest ready task has waited; 0 if no task is ready.",
        lambda info: max(0, info.oldest_ready_ms) / 1000,
        "seconds",
    ),
    gauge(
        "queue.next_delayed",
        "How long until the next delayed task is due; absent if none is delayed.",
        lambda info: seconds(info.next_delayed_ms),
        "seconds",
    ),
    gauges(
        "queue.places",
        "Places of workers: busy with a task, or free in a blocked claim.",
        "state",
        {"busy": lambda info: info.load.places_busy, "free": lambda info: info.load.places_free},
    ),
    gauge(
        "queue.places_needed",
        "Places that keep up with what arrives and are busy for 80 % of their time; absent if unknown.",
        lambda info: known(info.load.places_needed),
    ),
    gauge(
        "queue.utilisation",
        "Work that arrives for each place (rho); above 1 the queue grows. Absent if unknown.",
        lambda info: known(info.load.utilisation),
        "ratio",
    ),
    gauge(
        "queue.wait_p95",
        "95th percentile of the time from ready to the claim, in the last minutes; absent if unknown.",
        lambda info: seconds(info.wait_p95_ms),
        "seconds",
    ),
    gauge(
        "queue.run_p95",
        "95th percentile of the time from the claim to the ack, in the last minutes; absent if unknown.",
        lambda info: seconds(info.run_p95_ms),
        "seconds",
    ),
    gauge("queue.blocked_workers", "Claims that wait for a task.", lambda info: info.blocked_workers),
    gauges(
        "queue.held_by",
        "1 if this limit of the queue stops claims now, or the groups of all ready tasks do.",
        "limit",
        {
            "concurrency": lambda info: info.held_by == "concurrency",
            "rate": lambda info: info.held_by == "rate",
            "groups": lambda info: info.held_by == "groups",
        },
    ),
    gauges(
        "queue.paused",
        "1 if pushes (in) or claims (out) are paused.",
        "way",
        {"in": lambda info: info.paused_in != 0, "out": lambda info: info.paused_out != 0},
    ),
    gauge(
        "queue.broken",
        "1 if the queue is BROKEN: it can be read, but not changed.",
        lambda info: info.broken != "",
    ),
    gauges(
        "queue.batches",
        "Batches: open until they are closed, then closed until their callbacks have ended.",
        "state",
        {"open": lambda info: info.batches_open, "closed": lambda info: info.batches_closed},
    ),
    gauge("queue.groups", "Groups that the queue knows.", lambda info: info.groups),
    gauges(
        "queue.groups_held",
        "Groups that are paused, or stopped by a concurrency or a rate of 0 of their own.",
        "by",
        {"pause": lambda info: info.groups_paused, "limit": lambda info: info.groups_stopped},
    ),
    gauge("queue.unique_tokens", "UNIQUE tokens held.", lambda info: info.tokens),
    gauge("queue.data", "What the setting max-bytes bounds.", lambda info: info.bytes, "bytes"),
    gauge("queue.memory", "What the queue takes in memory.", lambda info: info.memory, "bytes"),
)

# Totals that are stored with the queue, and equal on all copies.
TOTALS = {
    "pushed": "Tasks pushed.",
    "claimed": "Deliveries of tasks to workers.",
    "acked": "Tasks finished.",
    "late": "Tasks finished after their deadline; also counted as acked.",
    "failed": "Attempts that failed.",
    "stalled": "Leases that ended without an answer.",
    "requeued": "Tasks given back.",
    "retried": "Tasks made ready by RETRY.",
    "died": "Times a task became dead.",
    "cancelled": "Tasks removed by CANCEL, ONDEAD DROP or BATCH DEL.",
    "purged": "Tasks removed by PURGE.",
    "dropped": "Dead tasks removed by dead-max or dead-ttl.",
    "forgotten": "Done tasks that were kept and are removed.",
    "expired": "Tasks that nobody claimed within their TTL.",
}

# Totals that each node counts for itself, from its start.
NODE_TOTALS = {
    "duplicate": "Requests that were sent again.",
    "found": "Pushes that found their UNIQUE token held.",
    "refused": "Pushes refused because the queue was full or paused.",
}

# Sums over the schedules of a queue.
RUNS = {
    "made": "pushed a task",
    "skipped": "could not push one",
    "missed": "were left out, because they would have been late",
}
RUNS_FAMILY = Family(
    "queue.schedule_runs",
    "counter",
    f"Runs of schedules: those that {', '.join(f'{what} ({name})' for name, what in RUNS.items())}.",
    ("queue", "outcome"),
)
SCHEDULES = Family("queue.schedules", "gauge", "Schedules, by whether they still run.", ("queue", "state"))

WAIT = Family("queue.wait", "histogram", "Time from ready to the claim.", ("queue",), "seconds")
RUN = Family(
    "queue.run",
    "histogram",
    "Time from the claim to the ack, of tasks finished in time.",
    ("queue",),
    "seconds",
)


def total_family(name: str, help: str) -> Family:
    """The counter of a total of queues."""
    return Family(f"queue.{name}", "counter", help, ("queue",))


TOTAL_FAMILIES = tuple(total_family(name, help) for name, help in TOTALS.items())
NODE_TOTAL_FAMILIES = tuple(total_family(name, help) for name, help in NODE_TOTALS.items())


def totals_of(info: Info) -> tuple[int, ...]:
    """The values of TOTALS."""
    return tuple(getattr(info, name) for name in TOTALS)


def node_totals_of(info: Info) -> tuple[int, ...]:
    """The values of NODE_TOTALS."""
    return tuple(getattr(info, name) for name in NODE_TOTALS)


def runs_of(schedule: Schedule) -> tuple[int, ...]:
    """The values of RUNS."""
    return tuple(getattr(schedule, name) for name in RUNS)


def schedules_by_state(schedules: Sequence[Schedule]) -> dict[str, int]:
    """How many schedules run, and how many are disabled."""
    disabled = sum(schedule.disabled for schedule in schedules)
    return {"active": len(schedules) - disabled, "disabled": disabled}

"""Limits on leases at a time and on claims in a span, of queues and of groups."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from chaos.rules.finding import Finding
from chaos.timeline import RATE, Delivery, Timeline


def limit_exceeded(timeline: Timeline) -> Iterator[Finding]:
    """More leases at a time, or more claims in a span, than a limit allows."""
    for name, deliveries, leases, rate, per_ms in _limited(timeline):
        known = [d for d in deliveries if not timeline.permitted.undone(d.call)]
        if math.isfinite(leases):
            yield from _at_a_time(timeline, name, known, leases)
        if math.isfinite(rate):
            yield from _in_a_span(name, known, rate, per_ms / 1000)


def _limited(timeline: Timeline) -> Iterator[tuple[str, list[Delivery], float, float, float]]:
    """Each queue and group with its deliveries, its limit of leases, its rate, and the span of the rate in ms."""
    limits = timeline.limits
    queues: dict[str, list[Delivery]] = defaultdict(list)
    groups: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
    for delivery in timeline.deliveries:
        if timeline.permitted.upset_at(delivery.queue) <= delivery.high:
            continue
        task = timeline.tasks[delivery.uid]
        queues[delivery.queue].append(delivery)
        if (group := task.options.get("group")) and not any(c.call == "set" for c in task.named):
            groups[delivery.queue, group].append(delivery)
    for queue, found in queues.items():
        per = min(limits.values(queue, "rate-per"))
        yield queue, found, limits.most(queue, "concurrency"), limits.most(queue, "rate"), per
    for (queue, group), found in groups.items():
        options = limits.group_options(queue, group)
        leases, rate = limits.most(queue, "group-concurrency"), limits.most(queue, "group-rate")
        per = min(limits.values(queue, "group-rate-per"))
        if any(each.get("ordered") for each in options) and all("ordered" in each for each in options):
            leases = 1
        elif own := [each["concurrency"] for each in options if "concurrency" in each]:
            leases = math.inf if -1 in own or len(own) < len(options) else max(own)
        if own := [each["rate"] for each in options if "rate" in each]:
            rate = math.inf if -1 in own or len(own) < len(options) else max(own)
            per = min(each.get("per_ms", 1000) for each in options)
        yield f"{queue}, group {group}", found, leases, rate, per


def _at_a_time(timeline: Timeline, name: str, found: list[Delivery], limit: float) -> Iterator[Finding]:
    """Count the leases that must have been held at an instant."""
    steps: list[tuple[float, int, Delivery]] = []
    for delivery in found:
        until = _held_until(timeline, delivery)
        if until > delivery.high:
            steps += [(delivery.high, 1, delivery), (until, -1, delivery)]
    held: dict[int, Delivery] = {}
    for _, step, delivery in sorted(steps, key=lambda each: (each[0], each[1])):
        if step < 0:
            held.pop(id(delivery), None)
            continue
        held[id(delivery)] = delivery
        if len(held) > limit:
            uids = [each.uid for each in held.values()]
            yield Finding(
                "limit exceeded", f"{name}: {len(held)} leases at a time, and {limit:g} are allowed", uids
            )
            return


def _held_until(timeline: Timeline, delivery: Delivery) -> float:
    """The lease must have lasted until then."""
    if delivery.handle is None:
        return -math.inf
    task = timeline.tasks[delivery.uid]
    ends = [timeline.deadline_low(delivery, delivery.high), timeline.gone_at(task)]
    ends += [a.call.began for a in delivery.answers if not a.refused and a.verb != "extend"]
    ends += [c.began for c in task.named if c.may_count and c.call != "result"]
    if delivery.call.asked.get("tied"):
        permitted, client = timeline.permitted, delivery.call.client
        if permitted.closed(client, delivery.began, max(ends[0], delivery.high)):
            return -math.inf
    if timeline.permitted.freed(delivery.queue, delivery.low, ends[0]):
        return -math.inf
    return min(ends)


def _in_a_span(name: str, found: list[Delivery], rate: float, per_s: float) -> Iterator[Finding]:
    """Look for a span in which more claims were made than the burst and the rate allow."""
    best, best_low, best_at = -math.inf, 0.0, 0
    last = -math.inf
    speed = rate / per_s / RATE
    ordered = sorted(found, key=lambda delivery: delivery.low)
    for at, delivery in enumerate(ordered):
        if speed * delivery.low - at > best:
            best, best_low, best_at = speed * delivery.low - at, delivery.low, at
        last = max(last, delivery.high)
        claims = at + 1 - best_at
        if claims > rate + speed * (last - best_low) + 1:
            uids = [each.uid for each in ordered[best_at : at + 1]]
            text = f"{name}: {claims} claims within {last - best_low:.3f} s, and {rate:g} in {per_s:g} s are allowed"
            yield Finding("limit exceeded", text, uids[:20])
            return

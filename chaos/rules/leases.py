"""Lease numbers: never given twice, and growing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from chaos.rules.finding import Finding
from chaos.timeline import Delivery, Timeline


def given_twice(timeline: Timeline) -> Iterator[Finding]:
    """A handle or a lease number was given to two claims."""
    for handle, found in timeline.by_handle.items():
        first = found[0]
        for again in found[1:]:
            token = first.call.asked.get("request")
            if token is None or token != again.call.asked.get("request") or first.uid != again.uid:
                text = f"the handle {handle} was given to {first.call.client} and {again.call.client}"
                yield Finding("number twice", text, [first.uid], [again.call])
    numbers: dict[tuple[str, int], Delivery] = {}
    for delivery in timeline.deliveries:
        if delivery.number is None:
            continue
        before = numbers.setdefault((delivery.queue, delivery.number), delivery)
        if before is not delivery and not _apart(timeline, before, delivery):
            text = f"lease number {delivery.number} of {delivery.queue} was given twice"
            yield Finding("number twice", text, sorted({before.uid, delivery.uid}))


def _apart(timeline: Timeline, one: Delivery, two: Delivery) -> bool:
    """Whether the two are of different queues, or of two primaries at a time and of different tasks."""
    if timeline.permitted.upset_at(one.queue) <= max(one.high, two.high):
        return True
    undone = timeline.permitted.undone(one.call) or timeline.permitted.undone(two.call)
    return one.uid != two.uid and undone is not None


def not_growing(timeline: Timeline) -> Iterator[Finding]:
    """A claim that began after another had ended got a lower lease number of the same queue."""
    queues: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in timeline.deliveries:
        if delivery.number is not None:
            queues[delivery.queue].append(delivery)
    for queue, found in queues.items():
        until = timeline.permitted.upset_at(queue)
        ended = sorted((d for d in found if d.high < until), key=lambda d: d.high)
        highest: Delivery | None = None
        at = 0
        for delivery in sorted(found, key=lambda d: d.began):
            while at < len(ended) and ended[at].high < delivery.began:
                if highest is None or (ended[at].number or 0) > (highest.number or 0):
                    highest = ended[at]
                at += 1
            if highest is None or (delivery.number or 0) > (highest.number or 0) or delivery.high >= until:
                continue
            # An old primary that is cut off goes on with its own, lower numbers; what it does is undone.
            if timeline.permitted.undone(delivery.call) is None or not math.isfinite(delivery.high):
                text = f"{delivery.uid} got lease number {delivery.number}, after {highest.uid} had {highest.number}"
                yield Finding("number not growing", text, sorted({delivery.uid, highest.uid}))

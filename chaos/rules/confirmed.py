"""Pushes that WAIT confirmed: a replica has them, so they survive if that replica takes over."""

from __future__ import annotations

from collections import defaultdict

from chaos.history import Call, History


def confirmed(history: History) -> set[tuple[str, int]]:
    """The client and number of each acknowledged push that a WAIT on its connection has confirmed.

    WAIT tells how many replicas have all that the connection wrote before. Loads use it only where each primary has
    one replica of its own, which is the one that takes over.
    """
    found: set[tuple[str, int]] = set()
    written: dict[tuple[str, int], list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.call == "push" and call.ok:
            written[call.client, call.connection].append(call)
        elif call.call == "wait" and call.ok and call.answer["replicas"] >= 1:
            found |= {(push.client, push.n) for push in written.pop((call.client, call.connection), [])}
    return found

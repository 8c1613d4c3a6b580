"""Connections of workers: that they stay open while nothing is sent, and that there are enough."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import Severity
from ..facts import Facts, Node
from ..finding import Finding, set_to

# Redis' own default. A worker whose machine is gone is noticed after about this time.
LONGEST_KEEPALIVE_S = 300
MANY_CLIENTS = 0.8
# A worker that reads slowly can have a reply of 16 MiB waiting.
SMALLEST_BUFFER = 64 * 1024 * 1024


def check(facts: Facts) -> Iterator[Finding]:
    """Each server."""
    for node in facts.nodes:
        yield from of_silence(node)
        yield from of_number(node)
        yield from of_buffers(node)
        yield from of_events(node)


def of_silence(node: Node) -> Iterator[Finding]:
    """Connections that are closed too early, or never."""
    if node.setting_number("timeout"):
        yield Finding(
            Severity.ACT,
            "timeout",
            node.address,
            f"timeout is {node.setting_number('timeout')} s",
            "the server closes the connections of workers that are busy, which also ends TIED leases",
            set_to("timeout", "0"),
        )
    keepalive = node.setting_number("tcp-keepalive")
    if keepalive is not None and not 0 < keepalive <= LONGEST_KEEPALIVE_S:
        yield Finding(
            Severity.LOOK,
            "tcp-keepalive",
            node.address,
            f"tcp-keepalive is {keepalive}",
            "a worker whose machine is gone is not noticed",
            set_to("tcp-keepalive", "60"),
        )


def of_number(node: Node) -> Iterator[Finding]:
    """A server that will soon refuse connections."""
    most = node.setting_number("maxclients") or node.info_number("maxclients")
    now = node.info_number("connected_clients")
    if most and now is not None and now > most * MANY_CLIENTS:
        yield Finding(
            Severity.ACT,
            "maxclients",
            node.address,
            f"{now} of {most} connections are in use",
            "each blocked worker keeps one; beyond the limit new ones are refused",
            set_to("maxclients", str(most * 2)) + "; raise the limit of open files too",
        )


def of_buffers(node: Node) -> Iterator[Finding]:
    """Clients that are cut off while they read a large reply."""
    limit = node.buffer_limit("normal")
    if limit is not None and 0 < min(one or SMALLEST_BUFFER for one in limit[:2]) < SMALLEST_BUFFER:
        yield Finding(
            Severity.LOOK,
            "client-output-buffer-limit-normal",
            node.address,
            "client-output-buffer-limit cuts off clients with less than 64 MiB waiting",
            "one reply with tasks can have 16 MiB, and a pipeline several",
            set_to("client-output-buffer-limit", '"normal 0 0 0"'),
        )


def of_events(node: Node) -> Iterator[Finding]:
    """Events that cost time for each change of a task."""
    events = node.setting("notify-keyspace-events") or ""
    if set(events) & {"K", "E"} and set(events) & {"A", "d"}:
        yield Finding(
            Severity.KNOW,
            "notify-keyspace-events",
            node.address,
            f"notify-keyspace-events is {events}",
            "each change of a task sends events, which takes time; workers do not need them",
            "if nobody subscribes: " + set_to("notify-keyspace-events", '""'),
        )

"""Asks the servers for the facts, with the rights of the user who asks. Nothing is changed on them."""

from __future__ import annotations

from typing import Any

from ... import __version__
from ...clients import AS_BYTES
from ...overview import Nodes
from ...overview.notes import left_out, refusals
from ..facts import Facts
from .cluster import cluster_of
from .host import host_of
from .questions import Questions
from .sentinel import sentinel_of
from .servers import node_of

# How long a server can take to reply before it counts as away.
PATIENCE_S = 3.0
# The most queues whose state is read.
MOST_QUEUES = 2000


def gather(client: Any) -> Facts:
    """All facts. Raises the client's error if no server replies, and for a wrong password."""
    with Nodes(client, MOST_QUEUES, PATIENCE_S, sections=["everything"], needs_module=False) as nodes:
        seen = nodes.look()
        if not seen.nodes:
            # Nobody replies: the error of one says why.
            client.execute_command("PING", **AS_BYTES)
        questions = Questions(client)
        found = [node_of(questions, info, nodes.client_of(info.address)) for info in seen.nodes]
        cluster = cluster_of(questions, found, nodes)
    away = [*seen.away, *(one for one in questions.away if one not in seen.away)]
    # That SCAN is refused is a part of what the look left out, and that the module lacks is a finding.
    others = {asked: why for asked, why in seen.refused.items() if asked[0] not in ("SCAN", "TASK.HELP")}
    return Facts(
        [node for node in found if node.address not in away],
        __version__,
        away,
        seen,
        cluster,
        sentinel_of(questions),
        host_of(found),
        [*left_out(seen, MOST_QUEUES), *refusals({**others, **questions.refused})],
    )

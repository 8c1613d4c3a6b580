"""A cluster as one of its nodes sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...clients import AS_BYTES
from ...overview import Nodes
from ..facts import Cluster, Node
from .questions import Questions, text_of


def cluster_of(questions: Questions, nodes: Sequence[Node], asked: Nodes) -> Cluster | None:
    """The cluster as the first primary that replies sees it."""
    if not any(node.field("cluster_enabled") == 1 for node in nodes) and not questions.kind.is_cluster:
        return None
    for node in nodes:
        client = asked.client_of(node.address)
        if client is not None and node.info.is_primary and node.address not in questions.away:
            info, members = (say(questions, client, word, node.address) for word in ("INFO", "NODES"))
            if node.address not in questions.away:
                fields = dict(line.split(":", 1) for line in info.split() if ":" in line)
                return Cluster(fields, failed_in(members))
    return None


def say(questions: Questions, client: Any, word: str, address: str) -> str:
    """The text that a server replies to CLUSTER and a word; empty if it refuses."""
    answer = questions.ask(
        f"CLUSTER {word}", address, lambda: client.execute_command("CLUSTER", word, **AS_BYTES)
    )
    return "" if answer is None else text_of(answer)


def failed_in(members: str) -> list[str]:
    """The addresses of the nodes that CLUSTER NODES calls failed."""
    found = []
    for line in members.splitlines():
        words = line.split()
        if len(words) > 2 and "fail" in words[2].split(","):
            found.append(words[1].partition("@")[0])
    return found

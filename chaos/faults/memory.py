"""The server has no memory left for writes."""

from __future__ import annotations

from chaos.injector import injector
from chaos.stage import Stage


@injector("OOM")
def full(stage: Stage) -> None:
    """`maxmemory` is below what is used: pushes are refused, workers go on."""
    node, server = stage.any_primary()
    with stage.fault("OOM", node), server.client() as client:
        client.config_set("maxmemory", max(1, client.info("memory")["used_memory"] // 2))
        stage.wait(stage.random.uniform(0.3, 1.5))
        client.config_set("maxmemory", 0)

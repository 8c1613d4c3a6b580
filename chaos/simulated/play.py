"""One run of the simulated queue: its scene becomes a history."""

from __future__ import annotations

from chaos.history import History
from chaos.simulated.bugs import BUGS
from chaos.simulated.clients import cast
from chaos.simulated.world import Scene, World


def simulate(scene: Scene) -> History:
    """The history of this scene."""
    if scene.bug and scene.bug not in BUGS:
        raise ValueError(f"unknown bug {scene.bug!r}")
    if scene.bug == "undone in silence":
        scene.undone_s, scene.declared = 0.5, False
    world = World(scene)
    return world.run(cast(world))

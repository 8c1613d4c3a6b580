"""Profiles for wrong builds: those of every run, one that loads all queues again and again, and one for workers that
wait.
"""

from __future__ import annotations

from functools import partial

from chaos.faults import process
from chaos.load.plan import IDLE, PLAIN
from chaos.profiles import PROFILES as COMMON
from chaos.profiles.profile import Profile
from chaos.topologies.single import Single

RELOADS = Profile(
    "reloads",
    "`DEBUG RELOAD`, and nothing else",
    partial(Single, appendfsync="always"),
    {process.reload: 1.0},
    gap_s=(1.0, 3.0),
)
# A wake-up that is lost heals with the next push. Here one comes each second and a half, to each of two queues.
WAITING = Profile(
    "waiting",
    "no fault, and few tasks, so that workers wait for them",
    partial(Single, appendfsync="everysec"),
    {},
    load={"kinds": (PLAIN, IDLE), "tags": ("a", "b"), "rate": 70, "weights": {PLAIN: 5, IDLE: 0.1}},
)
PROFILES = {**COMMON, RELOADS.name: RELOADS, WAITING.name: WAITING}

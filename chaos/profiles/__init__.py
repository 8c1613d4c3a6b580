"""All profiles by name: those of one server in single.py, those of several nodes in files named after the topology."""

from __future__ import annotations

from chaos.profiles import single
from chaos.profiles.profile import Profile

PROFILES: dict[str, Profile] = {profile.name: profile for profile in single.PROFILES}

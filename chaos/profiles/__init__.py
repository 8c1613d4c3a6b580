"""All profiles by name: those of one server in single.py, those of several nodes in several.py,
and those without faults in calm.py.
"""

from __future__ import annotations

from chaos.profiles import calm, several, single
from chaos.profiles.profile import Profile

PROFILES: dict[str, Profile] = {
    profile.name: profile for profile in (*single.PROFILES, *several.PROFILES, *calm.PROFILES)
}

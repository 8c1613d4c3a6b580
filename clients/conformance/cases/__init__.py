"""The cases, by what they are about. The longest begin first."""

from . import answers, away, claims, heartbeats, outcomes, real, stops

__all__ = ["answers", "away", "claims", "heartbeats", "outcomes", "real", "stops"]

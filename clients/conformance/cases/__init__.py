"""The cases, by what they are about."""

from . import answers, claims, heartbeats, outages, outcomes, real, stops

__all__ = ["answers", "claims", "heartbeats", "outages", "outcomes", "real", "stops"]

"""The cases, by what they are about."""

from . import answers, claims, heartbeats, outages, outcomes, stops

__all__ = ["answers", "claims", "heartbeats", "outages", "outcomes", "stops"]

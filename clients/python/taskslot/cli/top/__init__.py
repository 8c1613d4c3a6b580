"""`taskslot top`: a live table of all queues of one node, of a cluster's primaries, or of Sentinel's primary."""

from .command import register

__all__ = ["register"]

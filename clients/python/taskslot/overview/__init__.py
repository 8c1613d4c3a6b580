"""An overview of all queues of a server or cluster, for `taskslot top`, the web page and the metrics.

`nodes` finds the queues of all primaries and reads them, `rows` makes one row of all shards of a logical queue.
"""

from .nodes import Nodes, Seen
from .rows import Row, rows

__all__ = ["Nodes", "Row", "Seen", "rows"]

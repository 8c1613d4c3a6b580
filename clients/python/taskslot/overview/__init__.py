"""An overview of all queues of a server or cluster, for `taskslot top`, the web page and the metrics.

`nodes` finds the servers and the queues of all primaries and reads them: `with Nodes(client, limit=1000) as nodes`,
then `nodes.look()` as often as one likes, which returns a `Seen`. `rows` makes one row of all shards of a logical
queue. `attention` says what of it needs a person, `words` what its figures are.
"""

from .attention import Concern, Severity, concerns, node_concerns
from .node_info import NodeInfo, Replica
from .nodes import Nodes
from .rows import Row, rows
from .seen import Seen
from .words import words_of

__all__ = [
    "Concern", "NodeInfo", "Nodes", "Replica", "Row", "Seen", "Severity", "concerns", "node_concerns", "rows",
    "words_of",
]  # fmt: skip

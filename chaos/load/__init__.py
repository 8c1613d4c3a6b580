"""The load of a run: producers and workers as processes of their own, and what comes after them.

    load = Load(topology.addresses(), seed, folder, {"rate": 300})
    load.start()          # prepares the queues, starts all processes; returns once tasks are pushed and acked
    ...                   # faults; load.kill_worker() is one of them
    load.stop()           # faults are off: all processes end
    finals = load.drain() # everything is claimed and acked; what is left is written to the history
    load.settings, load.groups   # for the Run of the history

All calls are in `folder/*.jsonl` then, as `chaos.history.read` wants them. `load.problems()` names what must not happen
to a client.
"""

from chaos.load.load import Load
from chaos.load.plan import Options

__all__ = ["Load", "Options"]

"""Workers: functions that are run for the tasks of a queue.

`worker` has `Worker`, functions by name and the signals that end it; `runner` is one run of it: claim, run, answer;
`leases` keeps what runs; `context` is what a function can ask about its task; `outcomes` is how a task ends; `loops`
and `threads` are where functions run.
"""

from .context import TaskContext, current
from .outcomes import Fail, GiveBack
from .worker import Worker

__all__ = ["Fail", "GiveBack", "TaskContext", "Worker", "current"]

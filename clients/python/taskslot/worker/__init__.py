"""Workers: functions that are run for the tasks of a queue.

`worker` has `Worker`, functions by name and the signals that end it. `runner` is one run of it, from start to stop:
`claimer` claims for the free `places`, `executor` runs functions on `threads` and `loops`, `leases` extends what they
hold, `answers` sends their `outcomes`, again after `retries`. `context` is what a function can ask about its task.
"""

from .context import TaskContext, current
from .outcomes import Fail, GiveBack
from .worker import Worker

__all__ = ["Fail", "GiveBack", "TaskContext", "Worker", "current"]

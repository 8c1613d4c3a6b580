"""Workers: they run functions for the tasks of a queue.

`worker` has the class `Worker`, which registers functions and handles signals. `runner` is one run of a worker, from
start to stop. In it, `claimer` claims tasks for the free `places` and runs short ones, `executor` runs functions on
`threads` and `loops`, `leases` extends the leases of running tasks, and `answers` sends their `outcomes`, with the
rests of `retries`.
`context` is what a function can learn about its task. `keeper` gives `leases` to programs that claim tasks themselves.
"""

from .context import TaskContext, current
from .keeper import LeaseKeeper
from .outcomes import Fail, GiveBack
from .worker import Worker

__all__ = ["Fail", "GiveBack", "LeaseKeeper", "TaskContext", "Worker", "current"]

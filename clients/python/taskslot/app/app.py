"""The class `App`: registers functions with their policy, and makes queues, workers and schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack, overload

from .._async.queue import AsyncQueue
from .._async.sharded import AsyncShardedQueue
from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..codecs import JSON, Codec
from ..commands import CallbackOptions, FlowOptions, refuse_unknown
from ..flows import Flow
from ..middleware import Middleware
from ..worker.functions import AnyFunction, name_of, registered
from ..worker.hooks import Hooks
from ..worker.policy import Policy, PolicyOptions
from ..worker.worker import Worker
from .connections import Connections, Shards
from .deployment import DeploysAtStart
from .flows import AppBatch, apush_flow, push_flow
from .schedules import AppSchedule, Catchup, Deployed, DeployFailed, by_queue, check_cron, reconcile, span_ms
from .task import AppStep, AppTask, PushPolicy

P = ParamSpec("P")
R = TypeVar("R")


class TaskPolicy(PushPolicy, PolicyOptions, total=False):
    """All that a function of an app can say about its tasks."""


class App:
    """Functions with their policy, the queues they are pushed into, and the workers that run them.

        app = taskslot.App("redis://127.0.0.1:6379")

        @app.task(queue="mail", attempts=5)
        def send(to: str) -> str: ...

        send.push("bob")        # in a web server; `await send.apush("bob")` in asyncio
        app.worker().run()      # in a worker process

    The parameters:

    - `client`: a sync client of redis-py or valkey-py (a single server, Sentinel, a cluster), or a URL. Asyncio clients
      are made from it, one for each event loop. Nothing connects before it is used.
    - `name`: the name in front of the app's schedules. An app with schedules needs one, which no other app that shares
      a queue with it has: a deploy removes the schedules of this name that are not in its own code.
    - `prefix`: what the keys of all queues begin with.
    - `codec`: writes and reads payloads and results.
    - `shards`: the number of shards of all queues, or of those that a map names.
    - `patience_ms`: how long a call keeps trying while the server is away. Then it raises the client's own error.
    - `middleware`: what is called around each task and at each push, see `Middleware`.
    """

    def __init__(
        self,
        client: Any,
        *,
        name: str | None = None,
        prefix: str = "",
        codec: Codec = JSON,
        shards: Shards = None,
        patience_ms: int = 10_000,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        if name is not None and (not name or ":" in name):
            raise ValueError("the name of an app must not be empty, and has no colon")
        codec.dumps(None)  # raises here if the codec's package is missing
        self.name = name
        self.codec = codec
        self.middleware: list[Middleware] = list(middleware)
        self.tasks: dict[str, AppTask[..., Any]] = {}
        self.schedules: dict[str, AppSchedule] = {}
        self._hooks = Hooks(self.middleware)
        self._connections = Connections(client, prefix, shards, patience_ms)

    # ---- functions

    @overload
    def task(self, function: Callable[P, R], /) -> AppTask[P, R]: ...

    @overload
    def task(
        self,
        function: None = None,
        /,
        *,
        queue: str = ...,
        name: str | None = ...,
        **policy: Unpack[TaskPolicy],
    ) -> Callable[[Callable[P, R]], AppTask[P, R]]: ...

    def task(
        self,
        function: Any = None,
        /,
        *,
        queue: str = "default",
        name: str | None = None,
        **policy: Unpack[TaskPolicy],
    ) -> Any:
        """Register a function, sync or async: `@app.task`, or `@app.task(queue="mail", attempts=5)`.

        - `queue`: the queue that its tasks are pushed into.
        - `name`: its name in payloads. The default is `module.function`, which changes if the function moves.
        - `attempts`: how many failures make the task dead, instead of the queue's setting; -1 for no limit.
        - `backoff`: ms until the next attempt, `(first, most)` for one that doubles, or a function that gets the number
          of the failure (1 for the first) and returns ms. Without it, the queue's backoff applies.
        - `retry_for`: exceptions that are tried again. All others make the task dead.
        - `dead_for`: exceptions that make the task dead, also if `retry_for` has them.
        - `timeout_ms`: how long the function may run. An async function is cancelled then. A sync one is asked to stop
          (`taskslot.current()`): the attempt fails with "timed out after … ms" if its `check()` raises that; if the
          function returns, early or late, the task is done.
        - `unique`: a token, or a function that makes it from arguments: `unique=lambda user: f"digest:{user}"`. While a
          task holds the token, pushes with it add nothing.
        - `group`: the group (tenant), or a function that makes it from arguments.
        - `priority`: -128 to 127, higher is claimed first.
        - `retain_ms`: how long a finished task and its result are kept; a minute if neither this nor the queue says it.

        Options of a push take precedence: `send.options(attempts=1).push(…)`. Raises ValueError if the name is already
        registered, and TypeError for unknown options.
        """
        if isinstance(function, str):
            raise TypeError(f"write @app.task(name={function!r})")
        push, of_worker = parted(policy)

        def register(function: Callable[P, R]) -> AppTask[P, R]:
            if isinstance(function, AppTask):
                raise TypeError(
                    f"{function.name} is a task already: write @app.cron and @app.every above @app.task"
                )
            made = AppTask(
                *(function, name or name_of(function), queue, self._connections, self.codec, self._hooks),
                *(of_worker, push),
            )
            return registered(made, self.tasks)  # type: ignore[arg-type]

        return register if function is None else register(function)

    # ---- queues

    def queue(self, name: str = "default") -> Queue | ShardedQueue:
        """The sync queue of this name, always the same object. The app closes it."""
        return self._connections.queue(name)

    def aqueue(self, name: str = "default") -> AsyncQueue | AsyncShardedQueue:
        """The asyncio queue of this name for the running event loop. Raises RuntimeError if there is none."""
        return self._connections.aqueue(name)

    @property
    def queues(self) -> list[str]:
        """The names of the queues that the app's functions are pushed into, in the order of the functions."""
        return list(dict.fromkeys(task.queue for task in self.tasks.values()))

    # ---- flows and batches

    def push_flow(self, flow: Flow, **options: Unpack[FlowOptions]) -> Any:
        """Push a flow of the app's functions: `app.push_flow(chain(fetch.step(url), resize.step()))`.

        All must be in one queue. Returns the tasks in the shape of the flow, each with its `result`. See
        `Queue.push_flow`.
        """
        return push_flow(self._connections, flow, options)

    async def apush_flow(self, flow: Flow, **options: Unpack[FlowOptions]) -> Any:
        """`push_flow` for asyncio."""
        return await apush_flow(self._connections, flow, options)

    def batch(self, name: str, callback: AppStep, **options: Unpack[CallbackOptions]) -> AppBatch:
        """A batch of the app's functions, as a context manager: `with app.batch("import-7", report.step()) as batch:`.

        It is opened with this callback, in whose queue it is, and closed at the end of the block; see `Queue.batch`.
        With `async with`, the batch's methods are `apush`, `apush_many` and `apush_flow`.
        """
        refuse_unknown(options, CallbackOptions)
        return AppBatch(self._connections, name, callback, options)

    # ---- schedules

    def cron(
        self, expression: str, *, tz: str | None = None, name: str | None = None, catchup: Catchup = "one"
    ) -> Callable[[Callable[P, R]], AppTask[P, R]]:
        """Run a function at the times of a cron expression: `@app.cron("30 2 * * *", tz="Europe/Berlin")`.

        Write it above `@app.task`, or above a function, which it registers. The function must not need arguments.
        `tz` is an IANA name, UTC by default. `catchup="none"` skips runs that were missed in an outage; by default
        one run stands for all of them. The schedule's name is the app's and the function's, `app:shop.report`; with
        `name`, it is that instead of the function's, which a function with two schedules needs.

        The schedule is on the server after `deploy`, which a worker calls at its start. Raises ValueError if the app
        has no name.
        """
        check_cron(expression)
        return self._scheduled(name, {"cron": expression, "tz": tz, "catchup": catchup})

    def every(
        self, span: int | str, *, name: str | None = None, catchup: Catchup = "one"
    ) -> Callable[[Callable[P, R]], AppTask[P, R]]:
        """Run a function at an interval, in ms or as "10s", "5m", "2h" or "1d". The rest is as in `cron`."""
        return self._scheduled(name, {"every_ms": span_ms(span), "catchup": catchup})

    def _scheduled(self, name: str | None, when: dict[str, Any]) -> Callable[[Callable[P, R]], AppTask[P, R]]:
        own = self._own_name()

        def register(function: Callable[P, R]) -> AppTask[P, R]:
            made = function if isinstance(function, AppTask) else self.task(function)
            try:
                made.parameters.bound((), {})
            except TypeError:
                raise ValueError(f"{made.name} needs arguments, and a schedule gives it none") from None
            full = f"{own}:{name or made.name}"
            if full in self.schedules:
                raise ValueError(f"there is a schedule {full} already: give this one a name of its own")
            self.schedules[full] = AppSchedule(full, made, **when)
            return made

        return register

    def deploy(self, *, also: Iterable[str] = ()) -> Deployed:
        """Make the app's schedules on the server as they are in the code. Returns the names of what changed.

        New ones are added, changed ones changed, and those that are no longer in the code removed; equal ones keep
        their next time and their counts. Each removal is logged as a warning. Only schedules whose names begin with the
        app's name and a colon are touched.

        It looks at the queues that the app knows: those that its functions name, that it has opened (`queue`,
        `worker`), or that its `shards` name; and at those of `also`. The old queue of a function that has moved may be
        none of them: name it once, or both queues go on to push. Raises ValueError if the app has no name.

        If some can't be set, the others are, and this raises `DeployFailed`, which names them. If the server is away,
        it raises the client's error at once.
        """
        own, done, errors = self._own_name(), Deployed(), dict[str, Exception]()
        known = [*self.queues, *self._connections.known(), *also]
        for queue, schedules in by_queue(self.schedules.values(), known).items():
            reconcile(self.queue(queue), f"{own}:", schedules, done, errors)
        if errors:
            raise DeployFailed(errors, done)
        return done

    def _own_name(self) -> str:
        """The app's name, with which the names of its schedules begin. Raises ValueError without one."""
        if self.name is None:
            raise ValueError(
                'an app with schedules needs a name of its own, such as App(…, name="shop"): '
                "a deploy removes all schedules of that name which are not in the code"
            )
        return self.name

    # ---- workers

    def worker(
        self,
        queues: Sequence[str] | None = None,
        *,
        concurrency: int = 8,
        name: str | None = None,
        lease_ms: int | None = None,
        grace_ms: int = 25_000,
        tied: bool = False,
        deploy: bool = True,
    ) -> Worker:
        """A worker for the app's functions, see `Worker`.

        `queues` are the names of queues in the order of preference; without it, all that the app's functions name.
        Raises ValueError if there are none. At its start, the worker of an app with a name deploys the app's schedules,
        unless `deploy` is False.
        """
        names = [queues] if isinstance(queues, str) else self.queues if queues is None else list(queues)
        if not names:
            raise ValueError("no function of the app is registered, so there is no queue to work on")
        functions: dict[str, AnyFunction] = self.tasks  # type: ignore[assignment]
        return Worker(
            [self.queue(one) for one in names],
            concurrency=concurrency,
            name=name,
            lease_ms=lease_ms,
            codec=self.codec,
            grace_ms=grace_ms,
            functions=functions,
            middleware=[*self.middleware, *([DeploysAtStart(self.deploy)] if deploy and self.name else [])],
            tied=tied,
        )

    # ---- the end

    def close(self) -> None:
        """Close what the app opened, except for asyncio. A client that it was given stays open."""
        self._connections.close()

    async def aclose(self) -> None:
        """Close what the app opened for the running event loop. A worker that runs here is not affected."""
        await self._connections.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def parted(policy: TaskPolicy) -> tuple[PushPolicy, Policy]:
    """The options of a function's pushes, and its policy in the worker. Raises TypeError for unknown options."""
    known = PushPolicy.__optional_keys__ | PolicyOptions.__optional_keys__
    if unknown := policy.keys() - known:
        raise TypeError(
            f"unknown option {min(unknown)}: the options are queue, name, {', '.join(sorted(known))}"
        )
    push = {key: of for key, of in policy.items() if key in PushPolicy.__optional_keys__ and of is not None}
    of_worker = {key: of for key, of in policy.items() if key in PolicyOptions.__optional_keys__}
    return push, Policy.of(**of_worker)  # type: ignore[return-value, arg-type]

"""A function of an app: how it is pushed, with which options, and how its results are read."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

from ..arguments import several
from ..commands import Payload, PushOptions, ScheduleOptions, TaskOptions, refuse_unknown
from ..flows import Step
from ..worker.functions import Function
from ..worker.hooks import Hooks
from ..worker.policy import Policy
from .connections import Connections
from .pushed import How, Pushed

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# A value, or a function that makes it from the arguments of the call that have its parameters' names.
OfCall = str | Callable[..., str]


class PushPolicy(TypedDict, total=False):
    """What a function says about the push of its tasks."""

    attempts: int  # failures until the task is dead, instead of the queue's setting
    priority: int  # -128 to 127, higher is claimed first
    retain_ms: int  # how long the task is kept with its result once it is done
    unique: OfCall  # the token: while a task holds it, pushes add nothing
    group: OfCall  # the group (tenant), for fairness and limits


class AppPushOptions(PushOptions, total=False):
    """The options of a push of an app's function."""

    queue: str  # another queue than the function's


class AppTask(Function[P, R]):
    """A function of an app. Called directly, it is just the function; `push` has a worker call it.

    @app.task(queue="mail", attempts=5)
    def send(to: str, subject: str = "hello") -> str: ...

    send("bob")                             # here
    send.push("bob").result()               # in a worker
    await send.apush("bob", subject="hi")   # from asyncio
    send.delay(60_000).push("bob")          # in a minute
    send.options(priority=5).push("bob")    # any options of a push
    """

    def __init__(
        self,
        function: Callable[P, R],
        name: str,
        queue: str,
        connections: Connections,
        codec: Any,
        hooks: Hooks,
        policy: Policy,
        options: PushPolicy,
    ) -> None:
        super().__init__(function, name, codec, policy=policy)
        self.queue = queue
        self._connections = connections
        self._hooks = hooks
        self._fixed = cast(PushOptions, {key: of for key, of in options.items() if not callable(of)})
        self._of_call: dict[str, Callable[..., Any]] = {
            key: of for key, of in options.items() if callable(of)
        }
        for option, of in self._of_call.items():
            self._check(option, of)

    def _check(self, option: str, of: Callable[..., Any]) -> None:
        """Raise TypeError if a function that makes an option has parameters that this function doesn't."""
        for one in parameters_of(of):
            if one not in self.parameters.signature.parameters:
                raise TypeError(f"{option} of {self.name} takes {one!r}, which is no argument of {self.name}")

    # ---- pushing

    @overload
    def push(self: AppTask[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Pushed[T]: ...

    @overload
    def push(self, *args: P.args, **kwargs: P.kwargs) -> Pushed[R]: ...

    def push(self, *args: P.args, **kwargs: P.kwargs) -> Pushed[Any]:
        """Push a call of the function. Returns its id, with `result`.

        Raises TypeError if the function doesn't take these arguments, and TypeError or ValueError if one of them can't
        be written; and the errors of `Queue.push`.
        """
        return self._pusher.push(*args, **kwargs)

    @overload
    async def apush(
        self: AppTask[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> Pushed[T]: ...

    @overload
    async def apush(self, *args: P.args, **kwargs: P.kwargs) -> Pushed[R]: ...

    async def apush(self, *args: P.args, **kwargs: P.kwargs) -> Pushed[Any]:
        """`push` for asyncio."""
        return await self._pusher.apush(*args, **kwargs)

    def push_many(self, calls: Iterable[Any], **options: Unpack[TaskOptions]) -> list[Pushed[Any]]:
        """Push many calls, a thousand in one command: `send.push_many([("bob",), ("eve", "hi")])`.

        Each call is a tuple of arguments, or a dict of arguments by their names. Returns what `push` returns for each,
        in the order of the calls. Calls with equal options are pushed together. So if `group` differs from call to
        call, the tasks are in the order of the calls within each group only, and each group is a round trip. Functions
        with `unique` are pushed one by one. If a push fails, those before it are in the queue.
        """
        return self.options(**options).push_many(calls)

    async def apush_many(self, calls: Iterable[Any], **options: Unpack[TaskOptions]) -> list[Pushed[Any]]:
        """`push_many` for asyncio."""
        return await self.options(**options).apush_many(calls)

    def options(self, **options: Unpack[AppPushOptions]) -> Pusher[P, R]:
        """The same function with options of a push: `send.options(delay_ms=2000, priority=5).push("bob")`.

        `queue` is another queue of the app than the function's own. A worker has to be told to work on it, unless it
        is the queue of another function: `app.worker(["mail", "bulk"])`.
        """
        return Pusher(self, {}).options(**options)

    def delay(self, ms: int, *args: Any, **kwargs: Any) -> Pusher[P, R]:
        """The same function, whose tasks are ready this many ms after the push: `send.delay(60_000).push("bob")`."""
        if args or kwargs or isinstance(ms, bool) or not isinstance(ms, int | float):
            short = self.name.rpartition(".")[2]
            raise TypeError(
                f"delay takes the ms to wait: write {short}.push(…) to push now, or {short}.delay(ms).push(…)"
            )
        return Pusher(self, {"delay_ms": round(ms)}, made_by=f"{self.name}.delay({ms})")

    def step(self, *args: P.args, **kwargs: P.kwargs) -> AppStep:
        """A call with the function's options, for flows, batches and `current().then(…)`."""
        return self._pusher.step(*args, **kwargs)

    def pushed(self, task: str) -> Pushed[Any]:
        """A task of this function by its id: `send.pushed(id).result()`."""
        return Pushed.of(task, self.queue, self._how)

    @cached_property
    def _pusher(self) -> Pusher[P, R]:
        return Pusher(self, {})

    @cached_property
    def _how(self) -> How:
        return How(self._connections, self.codec, self.name, self.parameters.result_reader)

    def headers(self, given: PushOptions) -> dict[str, Payload]:
        """The headers of a push, with those that middleware adds."""
        return self._hooks.on_push(self.name, given.get("headers", {}))

    def prepared(
        self, args: Any, kwargs: Any, given: PushOptions, headers: dict[str, Payload]
    ) -> tuple[bytes, PushOptions]:
        """The payload and the options of a push with these arguments and headers."""
        bound = self.parameters.bound(args, kwargs)
        payload = self.payload(args, kwargs)
        options: PushOptions = {**self._fixed, **given}
        for option, of in self._of_call.items():
            if option not in given:
                options[option] = self._made(option, of, bound)  # type: ignore[literal-required]
        if headers:
            options["headers"] = headers
        return payload, options

    def _made(self, option: str, of: Callable[..., Any], bound: inspect.BoundArguments) -> str:
        """What a function makes of the arguments."""
        bound.apply_defaults()
        try:
            value = of(**{name: bound.arguments[name] for name in parameters_of(of)})
        except Exception as error:
            error.add_note(f"This was raised by {option} of {self.name}. Nothing was pushed.")
            raise
        if not isinstance(value, str):
            raise TypeError(f"{option} of {self.name} must return a str, not {type(value).__name__}")
        return value

    def scheduled(self) -> tuple[bytes, ScheduleOptions]:
        """The payload and the options of a schedule's tasks."""
        bound = self.parameters.bound((), {})
        made = {option: self._made(option, of, bound) for option, of in self._of_call.items()}
        return self.payload((), {}), cast(ScheduleOptions, {**self._fixed, **made})

    def keys_of(self, queue: str) -> list[str]:
        """The keys of a queue of the app."""
        return self._connections.queue(queue).keys

    def of(self, made: str, queue: str) -> Pushed[Any]:
        """What a push of this function into a queue returned."""
        return Pushed.of(made, queue, self._how)


class AppStep(Step):
    """A step of a flow that is a call of an app's function."""

    task: AppTask[..., Any]
    queue: str

    def check_key(self, key: str) -> None:
        """Raise ValueError if the function's queue is not in this key."""
        if key not in self.task.keys_of(self.queue):
            raise ValueError(
                f"{self.task.name} is in queue {self.queue}, but the next step of a task goes into its own queue"
            )

    def of(self, made: str) -> Pushed[Any]:
        """The task of this step by its id."""
        return self.task.of(made, self.queue)


class Pusher(Generic[P, R]):
    """A function of an app with options of a push, from `options` and `delay`. It can be used any number of times."""

    def __init__(
        self,
        task: AppTask[P, R],
        options: PushOptions,
        queue: str | None = None,
        made_by: str | None = None,
    ) -> None:
        self._task = task
        if "after" in options:  # an iterator could be read once only
            options = {**options, "after": several(options["after"])}
        self._options = options
        self._queue = task.queue if queue is None else queue
        self._made_by = made_by  # what to warn of if nothing is pushed

    def __del__(self) -> None:
        if getattr(self, "_made_by", None):
            warnings.warn(
                f"{self._made_by} pushes nothing by itself: its push was never called",
                RuntimeWarning,
                stacklevel=2,
            )

    def options(self, **options: Unpack[AppPushOptions]) -> Pusher[P, R]:
        """The same with more options."""
        refuse_unknown(options, AppPushOptions)
        queue = options.pop("queue", self._queue)
        if not isinstance(queue, str):
            raise TypeError(f"queue is the name of a queue, not {type(queue).__name__}")
        made, self._made_by = self._made_by, None
        return Pusher(self._task, cast(PushOptions, {**self._options, **options}), queue, made)

    def delay(self, ms: int) -> Pusher[P, R]:
        """The same with a delay."""
        return self.options(delay_ms=ms)

    @overload
    def push(self: Pusher[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Pushed[T]: ...

    @overload
    def push(self, *args: P.args, **kwargs: P.kwargs) -> Pushed[R]: ...

    def push(self, *args: P.args, **kwargs: P.kwargs) -> Pushed[Any]:
        """Push a call with these options, see `AppTask.push`."""
        payload, options = self._prepared(args, kwargs)
        return self._of(self._task._connections.queue(self._queue).push(payload, **options))

    @overload
    async def apush(
        self: Pusher[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> Pushed[T]: ...

    @overload
    async def apush(self, *args: P.args, **kwargs: P.kwargs) -> Pushed[R]: ...

    async def apush(self, *args: P.args, **kwargs: P.kwargs) -> Pushed[Any]:
        """`push` for asyncio."""
        payload, options = self._prepared(args, kwargs)
        queue = self._task._connections.aqueue(self._queue)
        return self._of(await queue.push(payload, **options))

    def push_many(self, calls: Iterable[Any]) -> list[Pushed[Any]]:
        """Push many calls with these options, see `AppTask.push_many`."""
        queue, made = self._task._connections.queue(self._queue), dict[int, str]()
        for places, payloads, options in together(self._all_prepared(map(arguments_of, calls))):
            if "unique" in options:
                ids = [queue.push(payload, **options) for payload in payloads]
            else:
                ids = queue.push_many(payloads, **cast(TaskOptions, options))  # type: ignore[assignment]
            made.update(zip(places, ids, strict=True))
        return [self._of(made[place]) for place in sorted(made)]

    async def apush_many(self, calls: Iterable[Any]) -> list[Pushed[Any]]:
        """`push_many` for asyncio."""
        queue, made = self._task._connections.aqueue(self._queue), dict[int, str]()
        for places, payloads, options in together(self._all_prepared(map(arguments_of, calls))):
            if "unique" in options:
                ids = [await queue.push(payload, **options) for payload in payloads]
            else:
                ids = await queue.push_many(payloads, **cast(TaskOptions, options))  # type: ignore[assignment]
            made.update(zip(places, ids, strict=True))
        return [self._of(made[place]) for place in sorted(made)]

    def step(self, *args: P.args, **kwargs: P.kwargs) -> AppStep:
        """A call with these options as a step, see `AppTask.step`."""
        payload, options = self._prepared(args, kwargs)
        made = AppStep(payload, options)
        object.__setattr__(made, "task", self._task)
        object.__setattr__(made, "queue", self._queue)
        return made

    def pushed(self, task: str) -> Pushed[Any]:
        """A task of this function in this queue by its id, see `AppTask.pushed`."""
        return self._of(task)

    def _of(self, made: str) -> Pushed[Any]:
        return self._task.of(made, self._queue)

    def _prepared(self, args: Any, kwargs: Any) -> tuple[bytes, PushOptions]:
        return self._all_prepared([(args, kwargs)])[0]

    def _all_prepared(self, calls: Iterable[Any]) -> list[tuple[bytes, PushOptions]]:
        """The payloads and options of calls, which have the same headers, so that they can be sent together."""
        self._made_by = None  # also if there are no calls
        found = list(calls)
        headers = self._task.headers(self._options) if found else {}
        return [self._task.prepared(args, kwargs, self._options, headers) for args, kwargs in found]


Prepared = tuple[list[int], list[bytes], PushOptions]


def together(prepared: Iterable[tuple[bytes, PushOptions]]) -> Iterable[Prepared]:
    """Calls of one `push_many` with equal options together: their places, their payloads, and the options.

    Only what a function makes from the arguments can differ between them.
    """
    found: dict[Any, Prepared] = {}
    for place, (payload, options) in enumerate(prepared):
        key = options.get("unique"), options.get("group")
        places, payloads, _ = found.setdefault(key, ([], [], options))
        places.append(place)
        payloads.append(payload)
    return found.values()


def arguments_of(call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of one call of `push_many`. Raises TypeError for a bare value."""
    if isinstance(call, tuple):
        return call, {}
    if isinstance(call, Mapping):
        return (), dict(call)
    raise TypeError(
        f"each call is a tuple of arguments, such as ({call!r},), or a dict, not {type(call).__name__}"
    )


def parameters_of(of: Callable[..., Any]) -> list[str]:
    """The names of the parameters of a function that makes an option."""
    return [one.name for one in inspect.signature(of).parameters.values()]

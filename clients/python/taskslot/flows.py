"""Flows: tasks that wait for each other, as values that are pushed with `queue.push_flow(flow)`.

    chain(fetch.call(url), group(resize.call(n) for n in range(20)), publish.call())

A flow is made of payloads, of `step(payload, …)` for a payload with options, and of other flows. This file also decides
which tasks are pushed together, and in which order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias, Unpack

from .arguments import MOST, most_at_once, parts
from .commands import Payload, StepOptions, refuse_unknown
from .replies import TaskId

# How long a done task of a flow is kept if others wait for it, unless its options say otherwise: a day. Its result has
# to be there when they run, which is later if another task has to be retried first.
RETAIN_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Step:
    """One task of a flow: its payload and its options."""

    payload: Payload
    options: StepOptions = field(default_factory=StepOptions)

    def check_key(self, key: str) -> None:
        """Raise ValueError if the task can't be in this key, because it belongs to another queue."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Flows of which each begins when the one before it is done."""

    flows: tuple[Flow, ...]


@dataclass(frozen=True, slots=True)
class Parallel:
    """Flows that run side by side."""

    flows: tuple[Flow, ...]


Flow: TypeAlias = Step | Chain | Parallel
# The ids of a flow in its shape: a TaskId for a step, a list for everything else. Its type does not tell which.
FlowIds: TypeAlias = Any


def step(payload: Payload, /, **options: Unpack[StepOptions]) -> Step:
    """A task of a flow with options of its own: `step(resize.call(7), priority=5, attempts=3)`.

    With `delay_ms`, it becomes ready this long after the tasks that it waits for are done.
    """
    refuse_unknown(options, StepOptions)
    return Step(payload, options)


def chain(*flows: Payload | Flow) -> Chain:
    """Flows one after the other: each begins when all tasks at the end of the one before it are done.

    Raises ValueError if there is none.
    """
    return Chain(several_flows(flows, "chain"))


def group(*flows: Payload | Flow | Iterable[Payload | Flow]) -> Parallel:
    """Flows side by side: `group(a, b, c)`, or `group(resize.call(n) for n in range(20))`.

    This is not the option `group` of a push, which names a tenant. Raises ValueError if there is no flow.
    """
    if len(flows) == 1 and isinstance(flows[0], Iterable) and not isinstance(flows[0], bytes | str):
        flows = tuple(flows[0])
    return Parallel(several_flows(flows, "group"))


def chord(header: Parallel | Iterable[Payload | Flow], callback: Payload | Flow) -> Chain:
    """A group and what comes when all of it is done: the chain of the two.

    The callback gets the results of the group (`current().results()`). If a task of the group dies, it waits until that
    task is retried and done, unless its option `on_dead` says otherwise. A batch has a callback that runs in any case.
    """
    return chain(header if isinstance(header, Parallel) else group(header), callback)


def several_flows(flows: Iterable[Any], name: str) -> tuple[Flow, ...]:
    """Payloads and flows as flows. Raises ValueError for none, and TypeError for anything else."""
    found = tuple(as_flow(one) for one in flows)
    if not found:
        raise ValueError(f"{name} needs at least one payload or flow")
    return found


def as_flow(one: Any) -> Flow:
    """A payload as a step; a flow as it is. Raises TypeError."""
    if isinstance(one, bytes | str):
        return Step(one)
    if not isinstance(one, Step | Chain | Parallel):
        name = getattr(one, "__name__", None)
        hint = f": write {name}.call(…)" if name is not None and hasattr(one, "call") else ""
        raise TypeError(
            f"a flow is made of payloads, step(…), chain(…) and group(…), not {type(one).__name__}{hint}"
        )
    return one


# ---- what is pushed together


@dataclass(frozen=True, slots=True)
class Part:
    """Tasks that one command pushes, because they have equal options and wait for the same tasks.

    `places` are their places in the order of the flow, `parents` the places of the tasks that they wait for.
    """

    places: Sequence[int]
    payloads: Sequence[Payload]
    options: StepOptions
    parents: Sequence[int]


@dataclass(slots=True)
class Node:
    """A task of a flow that is being planned."""

    step: Step
    parents: tuple[int, ...]
    is_parent: bool = False
    before: int | None = None  # the place of a task that must be pushed before this one
    level: int = 0  # in which round it is pushed


def planned(flow: Flow, common: Mapping[str, Any], outer: int = 0) -> list[Part]:
    """The commands that push a flow, in order. Raises ValueError if a task would wait for more than 1000 others.

    `common` are the options of steps that don't have their own, and the first steps wait for `outer` other tasks. A
    task is shown the tasks that it waited for in the order of their pushes, so these are pushed in the order of the
    flow.
    """
    nodes: list[Node] = []
    unfold(flow, (), nodes)
    for node in nodes:
        rounds = [nodes[parent].level + 1 for parent in node.parents]
        node.level = max(rounds, default=0)
        if node.before is not None:
            node.level = max(node.level, nodes[node.before].level)
    order = sorted(range(len(nodes)), key=lambda place: nodes[place].level)
    made: list[Part] = []
    for (parents, options), equal in groupby(order, lambda place: like(nodes[place], common)):
        most = most_at_once(len(parents) or outer)
        for places in parts(list(equal), most):
            made.append(Part(places, [nodes[place].step.payload for place in places], options, parents))
    return made


def unfold(flow: Flow, parents: tuple[int, ...], nodes: list[Node]) -> tuple[int, ...]:
    """Append the tasks of a flow that waits for `parents`, in order. Returns the places of those at its end."""
    if isinstance(flow, Step):
        nodes.append(Node(flow, parents))
        return (len(nodes) - 1,)
    if isinstance(flow, Parallel):
        return tuple(place for one in flow.flows for place in unfold(one, parents, nodes))
    ends = unfold(flow.flows[0], parents, nodes)
    for one in flow.flows[1:]:
        if len(ends) > MOST:
            raise ValueError(
                f"a task can wait for at most {MOST} tasks, not {len(ends)}: "
                "push them into a batch, whose callback waits for any number"
            )
        for place, before in zip(ends, (None, *ends), strict=False):
            nodes[place].is_parent, nodes[place].before = True, before
        ends = unfold(one, ends, nodes)
    return ends


def like(node: Node, common: Mapping[str, Any]) -> tuple[tuple[int, ...], StepOptions]:
    """What tasks must have in common so that one command can push them."""
    options: StepOptions = {**common, **node.step.options}  # type: ignore[typeddict-item]
    if node.is_parent:
        options.setdefault("retain_ms", RETAIN_MS)
    return node.parents, options


def shaped(flow: Flow, ids: Iterator[TaskId]) -> FlowIds:
    """The ids of a flow's tasks, which come in its order, in the shape of the flow."""
    return next(ids) if isinstance(flow, Step) else [shaped(one, ids) for one in flow.flows]

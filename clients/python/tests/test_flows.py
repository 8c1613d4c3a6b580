"""Flows as values, and in which commands they are pushed. Without a server."""

import pytest
import redis
from taskslot import Queue, TaskId, Worker, chain, chord, flows, group, step
from taskslot.flows import Chain, Parallel, Step, planned, shaped


def pushed(flow, common=None, outer=0):
    """The commands that push a flow: the payloads of each, and the payloads that they wait for."""
    parts = planned(flows.as_flow(flow), common or {}, outer)
    names = {place: name for part in parts for place, name in zip(part.places, part.payloads, strict=True)}
    return [(list(part.payloads), [names[place] for place in part.parents]) for part in parts]


def options_of(flow, common=None):
    """The options of each task of a flow, by payload."""
    return {name: dict(part.options) for part in planned(flow, common or {}) for name in part.payloads}


def test_a_flow_is_a_value():
    """Equal flows are equal, payloads become steps, and a generator is a list of members."""
    assert chain("a", b"b") == Chain((Step("a"), Step(b"b")))
    assert (
        group("a", "b")
        == group(["a", "b"])
        == group(name for name in "ab")
        == Parallel((Step("a"), Step("b")))
    )
    assert chord(["a", "b"], "c") == chord(group("a", "b"), "c") == chain(group("a", "b"), "c")
    assert step("a", priority=3) == Step("a", {"priority": 3})


def test_each_step_of_a_chain_waits_for_the_one_before():
    """Each is a command, because it needs the id of the one before."""
    assert pushed(chain("a", "b", "c")) == [(["a"], []), (["b"], ["a"]), (["c"], ["b"])]


def test_a_group_is_pushed_with_one_command():
    """Its tasks have equal options. Other options need another command."""
    assert pushed(group("a", "b", "c")) == [(["a", "b", "c"], [])]
    flow = group("a", step("b", priority=1), step("c", priority=1), "d")
    assert pushed(flow) == [(["a"], []), (["b", "c"], []), (["d"], [])]


def test_what_follows_a_group_waits_for_all_of_it():
    """Also if it is a group itself."""
    assert pushed(chain("a", group("b", "c"), group("d", "e"), "f")) == [
        (["a"], []), (["b", "c"], ["a"]), (["d", "e"], ["b", "c"]), (["f"], ["d", "e"]),
    ]  # fmt: skip


def test_chains_of_a_group_are_pushed_round_by_round():
    """Their first steps have nothing to wait for, so they are pushed together."""
    flow = chord([chain(f"a{n}", f"b{n}") for n in range(3)], "c")
    assert pushed(flow) == [
        (["a0", "a1", "a2"], []), (["b0"], ["a0"]), (["b1"], ["a1"]), (["b2"], ["a2"]), (["c"], ["b0", "b1", "b2"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "members",
    [
        [chain("a", "b"), "c"], ["a", chain("b", "c", "d"), "e"], [chain("a", "b", "c"), chain("d", "e"), "f"],
        [chain("a", group("b", chain("c", "d"))), "e"], [chord(["a", chain("b", "c")], "d"), chain("e", "f")],
        [step("a", priority=2), chain("b", step("c", priority=2)), step("d", priority=2)],
    ],
)  # fmt: skip
def test_tasks_that_another_waits_for_are_pushed_in_the_order_of_the_flow(members):
    """The server shows a task its parents by ascending id, so the results come in this order."""
    flow = chain(group(members), "last")
    *before, (last, parents) = pushed(flow)
    order = [name for names, _ in before for name in names]
    ends = [order.index(name) for name in parents]
    assert last == ["last"] and ends == sorted(ends) and parents == sorted(parents)
    assert all(order.index(one) < order.index(names[0]) for names, waits in before for one in waits)


def test_large_groups_are_split_at_the_limits_of_the_server():
    """A command has at most 1000 tasks, and at most 10,000 waits."""
    names = [str(n) for n in range(2500)]
    assert [len(names) for names, _ in pushed(group(names))] == [1000, 1000, 500]
    fan = chain(group(names[:500]), group(names[500:600]))
    assert [len(names) for names, _ in pushed(fan)] == [500, 20, 20, 20, 20, 20]
    assert [len(names) for names, _ in pushed(group(names[:25]), outer=1000)] == [10, 10, 5]


def test_a_task_cannot_wait_for_more_than_a_thousand():
    """The error names the way out. So many at the end of a flow are no problem."""
    many = group(str(n) for n in range(1001))
    with pytest.raises(ValueError, match="at most 1000 tasks, not 1001.*batch"):
        planned(chord(many, "c"), {})
    assert len(pushed(chain("a", many))) == 3


def test_tasks_that_others_wait_for_are_kept_for_a_day():
    """Unless the step or the flow says otherwise. The last task is like any other."""
    flow = chain("a", step("b", retain_ms=5), "c")
    assert options_of(flow) == {"a": {"retain_ms": 86_400_000}, "b": {"retain_ms": 5}, "c": {}}
    assert options_of(flow, {"retain_ms": 9}) == {
        name: {"retain_ms": ms} for name, ms in (("a", 9), ("b", 5), ("c", 9))
    }


def test_a_step_has_its_own_options_and_those_of_the_flow():
    """Its own take precedence. The options that it was made with are not changed."""
    own = step("b", priority=2)
    assert options_of(group("a", own), {"priority": 1, "batch": "x"}) == {
        "a": {"priority": 1, "batch": "x"}, "b": {"priority": 2, "batch": "x"},
    }  # fmt: skip
    assert own.options == {"priority": 2}


def test_ids_come_in_the_shape_of_the_flow():
    """A list for each chain and group, an id for each step."""
    ids = (TaskId(str(n)) for n in range(9))
    assert shaped(chain("a", group("b", chain("c", "d")), "e"), ids) == ["0", ["1", ["2", "3"]], "4"]


@pytest.mark.parametrize("make", [chain, group, lambda: group([]), lambda: chord([], "c")])
def test_a_flow_without_steps_is_refused(make):
    """A generator that is empty would otherwise let what follows it run at once."""
    with pytest.raises(ValueError, match="at least one"):
        make()


def test_what_is_no_payload_is_refused():
    """The error names what a flow is made of. An unknown option is refused too, as that of a push."""
    resize = Worker(Queue(redis.Redis(), "mail")).task("resize")(len)
    for call in (chain, group, lambda one: chord([one], "b"), lambda one: chord("a", one)):
        with pytest.raises(TypeError, match=r"write len.call\(…\)"):
            call(resize)
    with pytest.raises(TypeError, match="not int"):
        chain("a", 7)
    with pytest.raises(TypeError, match="unknown option unique"):
        step("a", unique="x")
    with pytest.raises(TypeError, match="unknown option after"):
        step("a", after=["1-0"])

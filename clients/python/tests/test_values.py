"""Typed values become plain ones in a payload, and are read back by the function's annotations."""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel
from taskslot import JSON, MSGPACK
from taskslot.calls import BadPayload, Call
from taskslot.worker.functions import Function


class Colour(Enum):
    """An enumeration of texts."""

    RED = "red"


class Level(IntEnum):
    """An enumeration of numbers."""

    HIGH = 3


class Point(NamedTuple):
    """A named tuple."""

    x: Decimal
    y: int = 0


class Options(TypedDict, total=False):
    """A map with known keys."""

    until: dt.date


@dataclass
class Node:
    """A dataclass that contains itself."""

    id: UUID
    children: list["Node"] = field(default_factory=list)
    seen: int = field(default=0, init=False)


class Invoice(BaseModel):
    """A model of pydantic."""

    id: UUID
    sum: Decimal


class Strict(BaseModel, extra="forbid"):
    """A model that takes no other keys."""


UserId = NewType("UserId", UUID)
ONE = UUID(int=1)
NOON = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
VALUES = [
    (dt.datetime, NOON),
    (dt.date, dt.date(2026, 11, 27)),
    (dt.time, dt.time(12, 30)),
    (dt.timedelta, dt.timedelta(days=1, microseconds=5)),
    (UUID, ONE),
    (UserId, ONE),
    (Decimal, Decimal("1.10")),
    (bytes, b"\x00\xff"),
    (Path, Path("/a/b")),
    (Colour, Colour.RED),
    (Level, Level.HIGH),
    (Point, Point(Decimal("1.5"))),
    (Options, {"until": dt.date(2026, 1, 1)}),
    (Node, Node(ONE, [Node(UUID(int=2))])),
    (Invoice, Invoice(id=ONE, sum=Decimal("2.50"))),
    (list[Invoice], [Invoice(id=ONE, sum=Decimal(1))]),
    (Sequence[UUID], [ONE]),
    (set[int], {1, 2}),
    (frozenset[Colour], frozenset({Colour.RED})),
    (tuple[int, Decimal], (1, Decimal("0.1"))),
    (tuple[dt.date, ...], (dt.date(2026, 1, 1),)),
    (dict[int, list[dt.date]], {1: [dt.date(2026, 1, 1)]}),
    (Mapping[UUID, str], {ONE: "x"}),
    (Optional[Decimal], None),  # noqa: UP045
    (Decimal | None, Decimal(1)),
    (Annotated[dt.date, "the day"], dt.date(2026, 1, 1)),
    (int | dt.date, dt.date(2026, 1, 1)),
    (int | dt.date, 7),
    (dt.date | str, "no date"),
    (list[str | Decimal], ["1.5"]),
    (Literal["a", "b"], "a"),
    (Any, {"a": [1, None]}),
    (float, 1),
]


def function_of(annotation, result=None):
    """A function with an annotated argument."""

    def f(value, *rest, **more):
        return value

    f.__annotations__ = {"value": annotation, "rest": annotation, "more": annotation, "return": annotation}
    return Function(f, "f", JSON)


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=str)
@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["JSON", "MSGPACK"])
def test_a_value_is_read_back_by_its_annotation(annotation, value, codec):
    """As an argument of each kind, and as a result."""
    function = function_of(annotation)
    function.codec = codec
    for args, kwargs in (
        ((value,), {}),
        ((value, value), {}),
        ((), {"value": value}),
        ((value,), {"more": value}),
    ):
        call = Call.read(function.call(*args, **kwargs), codec)
        assert function.parameters.read(call.args, call.kwargs) == (args, kwargs)
        read = function.run(*call.args, **call.kwargs)
        assert read == value and type(read) is type(value)
    loaded = codec.loads(function.written_result(value, codec))
    reader = function.parameters.result_reader
    assert (loaded if reader is None else reader(loaded)) == value


def test_what_is_written_is_plain_json():
    """Other languages read it."""
    node = function_of(Node).call(Node(ONE))
    assert JSON.loads(node)["args"] == [{"id": str(ONE), "children": []}]
    assert JSON.loads(function_of(bytes).call(b"\xff"))["args"] == ["/w=="]
    assert JSON.loads(function_of(dt.datetime).call(NOON))["args"] == ["2026-11-27T12:00:00+00:00"]
    assert MSGPACK.loads(Function(bytes.decode, "f", MSGPACK).call(b"\xff"))["args"] == [b"\xff"]


@pytest.mark.parametrize(
    ("annotation", "plain", "why"),
    [
        (dt.datetime, "secret", "it is no datetime: ValueError"),
        (dt.datetime, 5, "it is no datetime: TypeError"),
        (UUID, "secret", "it is no UUID"),
        (Decimal, "secret", "it is no Decimal"),
        (bytes, "se*cret", "it is no bytes"),
        (Colour, "secret", "it is no Colour"),
        (list[UUID], "secret", "it is no list"),
        (tuple[UUID, UUID], ["secret"], "it has 1 items, not 2"),
        (dict[int, str], {"secret": ""}, "it is no int"),
        (Node, {"id": "secret"}, "id of Node: it is no UUID"),
        (Node, {}, "it is no Node: TypeError"),
        (Node, ["secret"], "it is no map"),
        (Invoice, {"id": "secret", "sum": 1}, "it is no Invoice: id: Input should be a valid UUID"),
        (int | dt.date, "secret", "it is none of int, date"),
        (set[str], [["secret"]], "it is no set: TypeError"),
    ],
)
def test_what_cannot_be_read_says_which_argument_and_why(annotation, plain, why):
    """Without showing any of the payload."""
    with pytest.raises(BadPayload) as refusal:
        function_of(annotation).run(plain)
    assert "argument 'value' of f can't be read: " + why in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_keys_of_a_payload_are_cut_and_escaped():
    """Pydantic names the key that a model doesn't know."""
    with pytest.raises(BadPayload) as refusal:
        function_of(Strict).run({"\x1b[31m\n" + "x" * 10_000: 1})
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 300


def test_fields_that_a_newer_producer_has_added_are_left_out():
    """A rolling deploy has producers that are newer than workers."""
    assert function_of(Node).run({"id": str(ONE), "colour": "red"}) == Node(ONE)


@pytest.mark.parametrize(("annotation", "value"), [(None, dt.date(2026, 1, 1)), (int, b""), (Node, object())])
def test_what_cannot_be_written_names_the_argument(annotation, value):
    """At the producer, where it can be mended."""
    function = Function(lambda one, two: None, "f", JSON)
    function.function.__annotations__ = {} if annotation is None else {"two": annotation}
    with pytest.raises(TypeError, match="argument 'two' of f can't be written as JSON"):
        function.call(1, value)
    with pytest.raises(TypeError, match="argument 'two' of f can't be written as JSON"):
        function.call(1, two=value)
    with pytest.raises(ValueError, match="argument 'one' of f can't be written as JSON"):
        function.call(float("nan"), 2)


@pytest.mark.parametrize(
    ("annotation", "value", "why"),
    [
        (Node, "secret", "it is no map"),
        (dt.datetime, "secret", "it is no datetime: ValueError"),
        (dt.date, NOON, "it is no date: ValueError"),
        (Invoice, "secret", "it is no Invoice: Input should be "),
        (set[UUID], [5], "it is no UUID: AttributeError"),
        (dict[Colour, int], {"secret": 1}, "it is no Colour: ValueError"),
    ],
)
@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["JSON", "MessagePack"])
def test_arguments_that_the_annotation_cannot_read_are_refused_at_the_push(annotation, value, why, codec):
    """The producer gets the error that the worker would have."""
    function = Function(lambda one, two: None, "f", codec)
    function.function.__annotations__ = {"two": annotation}
    for args, kwargs in (((1, value), {}), ((1,), {"two": value})):
        with pytest.raises(ValueError, match=f"argument 'two' of f can't be read: {why}") as refusal:
            function.call(*args, **kwargs)
        assert "secret" not in str(refusal.value)


def test_annotations_that_cannot_be_evaluated_convert_nothing(caplog):
    """They are often of imports for type checkers only. The log says it; the other arguments are converted."""

    def f(day: dt.date, order: "OnlyForTypeCheckers", broken: "1/0"):  # noqa: F821
        return day, order, broken

    function = Function(f, "f", JSON)
    with caplog.at_level(logging.WARNING, "taskslot"):
        assert function.run("2026-01-01", {"id": 1}, 2) == (dt.date(2026, 1, 1), {"id": 1}, 2)
    assert "the annotation of the argument 'order' of f can't be evaluated" in caplog.text
    assert "'broken'" in caplog.text
    assert JSON.loads(function.call(dt.date(2026, 1, 1), {"id": 1}, 2))["args"] == [
        "2026-01-01",
        {"id": 1},
        2,
    ]


def test_a_function_that_needs_no_reading_is_called_as_it_is():
    """There is no more work for it than before."""

    def f(a, b: int = 0, *, c: list[str] | None = None) -> dict[str, int]:
        return {}

    function = Function(f, "f", JSON)
    assert function.run is f and function.parameters.result_reader is None

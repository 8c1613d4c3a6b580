"""How payloads are written and read, and how functions are registered, without a server."""

import importlib
import json
import runpy
from pathlib import Path

import msgpack
import pytest
import redis
import taskslot
from taskslot import JSON, MSGPACK, AsyncQueue, Queue, Worker
from taskslot.calls import BadPayload, Call
from taskslot.tracebacks import described


@pytest.fixture
def worker():
    """A worker that never runs, because its client has no server."""
    return Worker(Queue(redis.Redis(port=1), "mail"))


def test_a_call_is_plain_json():
    """It looks as a person would write it in redis-cli. Text is UTF-8."""
    made = taskslot.call("mail.send", "bob", 2, subject="hü")
    assert made == '{"task":"mail.send","args":["bob",2],"kwargs":{"subject":"hü"}}'.encode()


def test_a_call_can_be_messagepack():
    """It can contain bytes."""
    made = taskslot.call("mail.send", b"\xff", codec=MSGPACK)
    assert msgpack.unpackb(made) == {"task": "mail.send", "args": [b"\xff"], "kwargs": {}}
    assert Call.read(made, MSGPACK) == Call("mail.send", (b"\xff",), {})


def test_messagepack_without_its_package_says_what_to_install(monkeypatch):
    """It is an optional dependency."""
    real = importlib.import_module

    def without(name, *more):
        if name == "msgpack":
            raise ModuleNotFoundError(name)
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ModuleNotFoundError, match="pip install msgpack"):
        taskslot.call("mail.send", codec=MSGPACK)
    with pytest.raises(ModuleNotFoundError, match="pip install msgpack"):
        Worker(Queue(redis.Redis(port=1), "mail"), codec=MSGPACK)


def test_the_names_of_a_functions_arguments_are_its_own():
    """A function can have an argument named `task`."""
    assert json.loads(taskslot.call("f", task="x"))["kwargs"] == {"task": "x"}


@pytest.mark.parametrize("value", [float("nan"), object(), b"\xff", {1, 2}])
def test_arguments_that_json_cannot_express_are_refused_at_the_push(value):
    """For the worker, it would be too late."""
    with pytest.raises((TypeError, ValueError)):
        taskslot.call("f", value)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xff", b"[]", b"1", b"{}", b'{"task":1}', b'{"task":"f","args":{}}', b'{"task":"f","kwargs":[]}',
        b'{"task":"f","args":null}', b"[" * 100_000, b'{"task":"f"} x',
    ],
)  # fmt: skip
def test_a_payload_that_is_not_a_call_is_refused_and_not_shown(payload):
    """Each error names the problem."""
    with pytest.raises(BadPayload) as refusal:
        Call.read(payload, JSON)
    assert "\\xff" not in str(refusal.value) and len(str(refusal.value)) < 100


def test_kwargs_whose_names_are_not_strings_are_refused():
    """MessagePack can contain that; JSON can't."""
    with pytest.raises(BadPayload, match="names in kwargs"):
        Call.read(msgpack.packb({"task": "f", "kwargs": {1: 2}}), MSGPACK)


def test_args_and_kwargs_can_be_omitted():
    """Payloads are then easy to write by hand."""
    assert Call.read(b'{"task": "f"}', JSON) == Call("f", (), {})


def test_a_registered_function_is_still_a_plain_function(worker):
    """It keeps its name and docstring, and can make a payload to push."""

    @worker.task("mail.send")
    def send(to: str, subject: str = "hello") -> str:
        """Send a mail."""
        return f"{to}: {subject}"

    assert send("bob") == "bob: hello"
    assert (send.__name__, send.__doc__, send.name) == ("send", "Send a mail.", "mail.send")
    assert Call.read(send.call("bob", subject="hi"), JSON) == Call("mail.send", ("bob",), {"subject": "hi"})


def test_a_call_that_the_function_does_not_take_is_refused_at_once(worker):
    """The producer gets the error, not the worker."""

    @worker.task("mail.send")
    def send(to): ...

    for wrong in (lambda: send.call(), lambda: send.call("a", "b"), lambda: send.call(too="a")):
        with pytest.raises(TypeError, match=r"argument"):
            wrong()


def test_a_function_is_registered_under_its_own_name_by_default(worker):
    """The decorator works with and without parentheses."""

    @worker.task
    def one(): ...

    @worker.task()
    def two(): ...

    here = f"{__name__}.test_a_function_is_registered_under_its_own_name_by_default.<locals>"
    assert list(worker.functions) == [f"{here}.one", f"{here}.two"]


def test_functions_of_a_program_have_the_names_that_importers_use(tmp_path, monkeypatch):
    """The name is that of the file, although the module is named __main__."""
    (tmp_path / "jobs.py").write_text(
        "import redis, taskslot\n"
        "worker = taskslot.Worker(taskslot.Queue(redis.Redis(port=1), 'mail'))\n"
        "@worker.task\n"
        "def send(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    as_file = runpy.run_path(str(tmp_path / "jobs.py"), run_name="__main__")
    as_module = runpy.run_module("jobs", run_name="__main__", alter_sys=True)
    imported = vars(importlib.import_module("jobs"))
    assert [names["send"].name for names in (as_file, as_module, imported)] == ["jobs.send"] * 3


def test_a_name_is_given_once(worker):
    """With two functions of one name, it would be unclear which one runs."""
    worker.task("f")(lambda: 1)
    with pytest.raises(ValueError, match="f is already registered"):
        worker.task("f")(lambda: 2)


def test_generators_are_refused(worker):
    """They would never run."""

    def one():
        yield 1

    async def two():
        yield 1

    for function in (one, two):
        with pytest.raises(TypeError, match="generator"):
            worker.task("g")(function)
    assert worker.functions == {}


def test_a_worker_requires_a_sync_queue_and_a_place(worker):
    """The error says what is wrong."""
    with pytest.raises(TypeError, match="not AsyncQueue"):
        Worker(AsyncQueue(redis.asyncio.Redis(), "mail"))
    with pytest.raises(ValueError, match="concurrency"):
        Worker(worker.queue, concurrency=0)
    with pytest.raises(ValueError, match="grace_ms"):
        Worker(worker.queue, grace_ms=-1)
    with pytest.raises(ValueError, match="delay_ms or dead"):
        taskslot.Fail("x", delay_ms=1, dead=True)


def test_current_outside_of_a_task_is_an_error():
    """The error says that no task is running."""
    with pytest.raises(RuntimeError, match="no task runs here"):
        taskslot.current()


def test_the_library_reads_no_pickles():
    """Bytes from a queue must never run code. Only the jobs of RQ are pickles, and those are read without names."""
    package = Path(taskslot.__file__).parent
    for file in set(package.rglob("*.py")) - {package / "migrate/plain.py"}:
        code = compile(file.read_text(), str(file), "exec")
        assert "pickle" not in code.co_names and "marshal" not in code.co_names, file


def test_an_error_can_be_sent_whatever_it_says():
    """Invalid Unicode, as in file names, is escaped. If there is no text, the type is used."""

    class Shy(Exception):
        def __str__(self):
            raise RuntimeError

    assert described(OSError("no\udcff such")) == "OSError: no\\udcff such"
    assert described(Shy()) == "Shy"
    assert len(described(ValueError("x" * 10_000_000))) == 4096

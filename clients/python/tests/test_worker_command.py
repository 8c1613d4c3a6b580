"""`taskslot worker` as a process: its processes, its signals, its log, and a reload while developing."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress

import pytest
import redis
import taskslot
from harness.programs import OF_THIS_TREE, with_ctrl_c
from harness.server import PATIENCE_S, wait_until
from taskslot import Queue
from taskslot.cli import supervisor
from taskslot.cli.supervisor import KILL_S, RESTS_S, Child, Supervisor
from taskslot.cli.watch import Watch

# A project as users have it. A task tells who it is, and waits until the test lets it go on.
TASKS = """
import os
import re
import redis
import taskslot

client = redis.Redis(port={port})
app = taskslot.App(client, name="shop")
other = taskslot.Worker(app.queue("critical"))
VERSION = 1


@app.task(name="waits", queue="default")
def waits():
    client.rpush("came", os.getpid())
    while client.get("go") is None and not taskslot.current().wait(0.01):
        pass
    taskslot.current().check()


@app.task(name="computes", queue="default")
def computes():
    client.rpush("came", os.getpid())
    re.match(r"(a+)+$", "a" * 60 + "b")  # holds the GIL for longer than anyone waits


@app.every("1h")
@app.task(name="tells", queue="critical", retain_ms=60_000)
def tells():
    return [os.getpid(), os.getppid(), VERSION]


@app.task(name="fails", queue="critical", attempts=2, backoff=50)
def fails(secret):
    raise ValueError("no such card")
"""


@pytest.fixture
def project(server, tmp_path):
    """A folder with a package `shop`, whose module `tasks` has an App."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/tasks.py").write_text(TASKS.format(port=server.port))
    return tmp_path


class Command:
    """A running `taskslot worker`, in a process group of its own, whose log is read as it comes."""

    def __init__(self, folder, *words):
        command = [sys.executable, "-m", "taskslot", "worker", *words]
        env = {**os.environ, **OF_THIS_TREE}
        self.process = subprocess.Popen(
            command, env=env, cwd=folder, stderr=subprocess.PIPE, text=True, preexec_fn=own_group
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        self.lines.extend(line.rstrip("\n") for line in iter(self.process.stderr.readline, ""))

    def log(self, text, times=1):
        """Wait until the log has lines with a text, and return the first of them."""
        found = []

        def has_come():
            found[:] = [line for line in self.lines if text in line]
            return len(found) >= times

        try:
            wait_until(has_come, f"{times} × {text!r}")
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *self.lines])) from None
        return found[0]

    def press_ctrl_c(self):
        """Signal the whole process group, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self):
        """Wait for its end, and return its status."""
        status = self.process.wait(2 * PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def own_group():
    """Let the program have a process group, and a Ctrl-C that works."""
    os.setpgid(0, 0)
    with_ctrl_c()


@pytest.fixture
def run(project):
    """Starts `taskslot worker shop.tasks:app` with these options."""
    started = []

    def start_one(*options, target="shop.tasks:app"):
        started.append(Command(project, target, *options))
        return started[-1]

    yield start_one
    for one in started:
        one.__exit__()


@pytest.fixture
def critical(client):
    """The queue of short tasks."""
    with Queue(client, "critical") as queue:
        yield queue


@pytest.fixture
def default(client):
    """The queue of tasks that wait."""
    with Queue(client, "default") as queue:
        yield queue


def tell(critical):
    """The process id of a worker, that of its parent, and the version of its code."""
    done = critical.result(critical.push(taskslot.call("tells")), block_ms=2 * PATIENCE_S * 1000)
    return json.loads(done.value)


def reaches(client, number=1):
    """Wait until this many functions wait; returns their processes."""
    wait_until(lambda: client.llen("came") >= number, "functions run")
    return {int(pid) for pid in client.lrange("came", 0, -1)}


# ---- what is run


def test_one_process_runs_the_app_and_ends_with_sigterm(run, critical):
    """There is no parent. The log has the queues in the order that was asked for."""
    command = run("--queues", "critical,default", "--concurrency", "2", "--name", "w1")
    assert tell(critical)[0] == command.process.pid
    assert "worker w1 works on critical, default with 2 places" in command.log("works on")
    command.process.send_signal(signal.SIGTERM)
    assert command.ended() == 0
    assert "worker w1 is stopping; " in command.log("is stopping")
    assert "worker w1 has stopped" in command.log("has stopped")


def test_schedules_are_deployed_unless_told_not_to(run, critical):
    """At its start the worker makes them as in the code; with --no-deploy it leaves the server as it is."""
    command = run("--no-deploy")
    tell(critical)
    command.process.send_signal(signal.SIGTERM)
    assert command.ended() == 0
    assert critical.schedules() == []
    run()
    wait_until(critical.schedules, "the schedule is on the server")


def test_a_worker_can_be_run_too(run, critical):
    """It has its own queues. Options that are given take precedence over its own."""
    command = run("--name", "w2", "--concurrency", "3", target="shop.tasks:other")
    assert "worker w2 works on critical with 3 places" in command.log("works on")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("shop.tasks", "name the module and the App or Worker in it, as shop.tasks:app, not 'shop.tasks'"),
        ("shop.task:app", "there is no module shop.task in "),
        ("shap:app", "there is no module shap in "),
        ("shop.tasks:ap", "shop.tasks has no ap; it has app, other"),
        ("shop.tasks:VERSION", "shop.tasks:VERSION is neither an App nor a Worker, but of type int; it has"),
        ("shop.broken:app", "shop.broken can't be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("shop.syntax:app", "shop.syntax can't be imported: SyntaxError: "),
        ("shop.imports:app", "shop.imports can't be imported: SyntaxError: "),
    ],
)
def test_a_target_that_cannot_be_loaded_is_one_line(project, target, says):
    """The status is 2. An error in the user's module comes with its traceback, from that module on."""
    (project / "shop/broken.py").write_text("import nowhere\n")
    (project / "shop/syntax.py").write_text("import os\ndef f(:\n")
    (project / "shop/imports.py").write_text("from shop import syntax\n")
    env = {**os.environ, **OF_THIS_TREE}
    done = subprocess.run(
        [sys.executable, "-m", "taskslot", "worker", target],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
    )
    *before, last = done.stderr.splitlines()
    assert done.returncode == 2 and last.startswith(f"taskslot: {says}")
    assert bool(before) == ("can't be imported" in says)
    assert "/taskslot/cli/" not in done.stderr
    if "SyntaxError" in says:
        assert last.endswith("(syntax.py, line 2)")
        assert f'  File "{project}/shop/syntax.py", line 2' in before and "    def f(:" in before
        assert ("from shop import syntax" in done.stderr) == ("imports" in target)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["shop.tasks:other", "--queues", "a"], "--queues is for an App: a Worker has its queues already"),
        (["shop.tasks:app", "--queues", "a,a"], "the queue a is given twice"),
        (["shop.tasks:app", "--queues", ","], "so there is no queue to work on"),
    ],
)
def test_options_that_do_not_fit_are_refused(run, words, says):
    """The status is 2."""
    target, *options = words
    command = run(*options, target=target)
    assert command.ended() == 2
    assert says in command.lines[-1]


def test_a_worker_that_the_server_refuses_ends_with_one_line(run, client):
    """An error that does not pass is no reason for a traceback. The status is 1."""
    client.set("default", "no queue")
    command = run("--queues", "default", "--name", "w1")
    assert command.ended() == 1
    assert re.search(r"error: worker w1 stops: WrongType: .*", command.log("w1 stops"))
    assert not any("Traceback" in line for line in command.lines)


def test_a_queue_that_no_function_names_is_a_warning(run):
    """It may be right, if pushes name it, or mistyped."""
    command = run("--queues", "critical,critcal,x")
    said = "warning: no function of the app names the queue"
    assert command.log(said + " critcal").endswith("they name default, critical: did you mean critical?")
    assert command.log(said + " x").endswith("they name default, critical")
    assert "queue critical;" not in "".join(command.lines)


# ---- the stop


def test_ctrl_c_waits_for_tasks_and_a_second_one_gives_them_back(run, client, default):
    """The first one says so on the screen."""
    command = run("--queues", "default")
    task = default.push(taskslot.call("waits"))
    reaches(client)
    command.press_ctrl_c()
    assert "after at most 25 s; press Ctrl-C again to stop now" in command.log("Ctrl-C")
    assert default.get(task).state == "leased"
    command.press_ctrl_c()
    assert command.ended() == 1
    assert default.get(task).state == "ready"


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM to the parent", "SIGTERM to all"])
def test_one_request_to_stop_is_counted_once(run, client, default, how):
    """A terminal and systemd signal each process of a group. The tasks can finish all the same."""
    command = run("--queues", "default", "--processes", "2", "--concurrency", "1")
    default.push_many([taskslot.call("waits")] * 2)
    assert len(reaches(client, 2)) == 2
    if how == "Ctrl-C":
        command.press_ctrl_c()
    elif how == "SIGTERM to all":
        os.killpg(command.process.pid, signal.SIGTERM)
    else:
        command.process.send_signal(signal.SIGTERM)
    command.log("stopping 2 processes; press Ctrl-C again, or send another signal, to stop at once")
    command.log("task", times=2)
    assert default.info().leased == 2
    client.set("go", 1)
    assert command.ended() == 0
    assert (default.info().acked, default.info().requeued) == (2, 0)


def test_a_second_ctrl_c_stops_all_processes_at_once(run, client, default):
    """Their tasks are given back. The status says so."""
    command = run("--queues", "default", "--processes", "2", "--concurrency", "1")
    default.push_many([taskslot.call("waits")] * 2)
    reaches(client, 2)
    command.press_ctrl_c()
    command.log("stopping 2 processes")
    command.press_ctrl_c()
    assert command.ended() == 1
    assert (default.info().ready, default.info().leased, default.info().requeued) == (2, 0, 2)


@pytest.mark.slow
def test_after_a_second_signal_children_that_can_not_stop_are_killed(run, client, default):
    """One holds the GIL, the other is suspended. The log says so, and their tasks come back."""
    command = run("--queues", "default", "--processes", "2", "--concurrency", "1", "--lease-ms", "1000")
    waits = default.push(taskslot.call("waits"))
    (child,) = reaches(client)
    computes = default.push(taskslot.call("computes"))
    reaches(client, 2)
    os.kill(child, signal.SIGSTOP)
    command.process.send_signal(signal.SIGTERM)
    command.log("stopping 2 processes")
    command.process.send_signal(signal.SIGTERM)
    assert command.ended() == 1
    command.log(f"has not stopped within {KILL_S:g} s, so it is killed", times=2)
    wait_until(lambda: default.info().ready == 2, "their leases have ended")
    assert all(default.get(task).failures == 0 for task in (waits, computes))


@pytest.fixture
def deaf(monkeypatch):
    """A supervisor of a child that does not listen, such as one that still loads its code; it soon loses patience."""
    monkeypatch.setattr(supervisor, "KILL_S", 0.1)
    monkeypatch.setattr(supervisor, "RELOAD_S", 0.1)
    made = Supervisor(["sleep", "600"], 1, None)
    made._look()
    return made


def test_a_child_that_does_not_listen_is_killed(deaf):
    """The status says that it did not end in time."""
    deaf._signals = 2
    deaf._stop()
    assert deaf._status == 1 and not deaf._children[0].runs


def test_a_reload_does_not_wait_for_a_child_that_does_not_listen(deaf):
    """It is killed, and starts again with the new code."""
    before = deaf._children[0]._process.pid
    deaf._reload(["shop.py"])
    assert not is_alive(before)
    deaf._look()
    assert deaf._children[0].runs
    deaf._signals = 2
    deaf._stop()


def test_children_stop_when_their_parent_is_killed(run, client, default):
    """They finish their tasks first."""
    command = run("--queues", "default", "--processes", "2", "--concurrency", "1")
    default.push_many([taskslot.call("waits")] * 2)
    children = reaches(client, 2)
    command.process.kill()
    command.log("is stopping", times=2)
    client.set("go", 1)
    wait_until(lambda: default.info().acked == 2, "the tasks are done")
    wait_until(lambda: not any(map(is_alive, children)), "the children have ended")


def is_alive(pid):
    """Whether a process runs, zombies aside."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ---- the parent


def test_a_child_that_dies_is_started_again(run, client, critical, default):
    """The log says how it ended. The other goes on, and names differ."""
    command = run("--processes", "2", "--concurrency", "1", "--name", "w", "--tied")
    default.push_many([taskslot.call("waits")] * 2)
    children = reaches(client, 2)
    assert command.process.pid not in children
    command.log("works on", times=2)
    os.kill(min(children), signal.SIGKILL)
    assert f"was killed by SIGKILL; starting it again in {RESTS_S[0]:g} s" in command.log("was killed")
    again = reaches(client, 3) - children
    assert len(again) == 1
    command.log("works on", times=3)
    assert {re.search(r"worker (\S+) works", line)[1] for line in command.lines if "works on" in line} == {
        "w-1",
        "w-2",
    }
    client.set("go", 1)
    wait_until(lambda: default.info().acked == 2, "all are done")


def test_a_child_that_dies_again_and_again_rests_longer():
    """The longest rest is half a minute. A change of the code ends it."""
    child = Child(1, ["false"])
    child._began_at = float("inf")
    rests = [child.rest() for _ in range(10)]
    assert rests == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    child.again()
    assert child.starts_at == 0.0 and child.rest() == 0.5


def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch, caplog):
    """If the system has no room for another process, the parent and the others go on."""
    starts = []

    def refuse(*_, **__):
        starts.append(True)
        raise BlockingIOError("no room")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    supervisor = Supervisor(["true"], 1, None)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        supervisor._look()
    assert len(starts) == 1 and len(os.listdir("/proc/self/fd")) == before
    assert "process 1 can't be started, trying again in 0.5 s: no room" in caplog.text


def test_a_target_that_cannot_be_loaded_ends_the_parent(run):
    """To start it again would help only if the code changed."""
    command = run("--processes", "2", target="shop.tasks:ap")
    assert command.ended() == 2
    assert any("shop.tasks has no ap" in line for line in command.lines)


def test_a_task_that_ends_its_process_with_status_2_ends_no_other(run, project, critical, default, client):
    """That is also the status of a target that can't be loaded, but this one was. The log says why it starts again."""
    (project / "shop/tasks.py").open("a").write(
        textwrap.dedent("""
        @app.task(name="exits", queue="critical", unique="exits")
        def exits():
            if client.incr("exits") == 1:
                os._exit(2)
        """)
    )
    command = run("--processes", "2", "--concurrency", "1", "--tied", "--queues", "default,critical")
    default.push(taskslot.call("waits"))
    reaches(client)
    critical.push(taskslot.call("exits"))
    assert "ended with status 2; starting it again in 0.5 s" in command.log("status 2")
    wait_until(lambda: critical.info().acked == 1, "the task has run again")
    client.set("go", 1)
    wait_until(lambda: default.info().acked == 1, "the other process has gone on")
    command.press_ctrl_c()
    assert command.ended() == 0


@pytest.mark.slow
def test_code_that_no_longer_loads_ends_no_process_that_runs(run, project, critical, default, client):
    """A child that dies while new code is copied is tried again, until it loads."""
    command = run("--processes", "2", "--concurrency", "1")
    default.push_many([taskslot.call("waits")] * 2)
    children = reaches(client, 2)
    command.log("works on", times=2)
    file = project / "shop/tasks.py"
    code = file.read_text()
    file.write_text("def f(:")
    os.kill(min(children), signal.SIGKILL)
    command.log("can't load its code any more; starting it again in 1 s")
    file.write_text(code)
    command.log("works on", times=3)
    client.set("go", 1)
    command.press_ctrl_c()
    assert command.ended() == 0


def test_programs_that_a_task_starts_are_no_children(run, project, critical):
    """They don't find the note of the parent in their environment."""
    (project / "shop/tasks.py").open("a").write(
        textwrap.dedent("""
        @app.task(name="environment", queue="critical", retain_ms=60_000)
        def environment():
            return [name for name in os.environ if name.startswith("TASKSLOT_P")]
        """)
    )
    run("--processes", "2")
    done = critical.result(critical.push(taskslot.call("environment")), block_ms=2 * PATIENCE_S * 1000)
    assert done.value == b"[]"


# ---- a reload


@pytest.mark.slow
def test_a_change_of_the_code_starts_the_processes_again(run, project, critical, client, default):
    """A task that runs on is given back and runs again with the new code. An error in the code waits for a change."""
    command = run("--watch", "--concurrency", "2")
    file = project / "shop/tasks.py"
    assert tell(critical)[2] == 1
    default.push(taskslot.call("waits"))
    reaches(client)
    file.write_text(file.read_text().replace("VERSION = 1", "VERSION = 22"))
    command.log("shop/tasks.py changed: starting again")
    reaches(client, 2)
    assert tell(critical)[2] == 22
    client.set("go", 1)
    file.write_text(file.read_text().replace("VERSION = 22", "VERSION ="))
    command.log("can't be started; waiting for a change of the code")
    file.write_text(file.read_text().replace("VERSION =", "VERSION = 333"))
    assert tell(critical)[2] == 333
    command.press_ctrl_c()
    assert command.ended() == 0


def test_only_python_files_of_the_project_are_watched(tmp_path):
    """A change, a new file and one that is removed are noticed; not those in hidden folders or environments."""
    for name in ("shop/tasks.py", ".git/hook.py", "venv/lib/a.py", "node_modules/b.py", "__pycache__/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "venv/pyvenv.cfg").touch()
    watch = Watch(tmp_path)
    assert watch.changes() == []
    for name in ("venv/lib/a.py", ".git/hook.py", "node_modules/b.py", "__pycache__/c.py", "readme.txt"):
        (tmp_path / name).write_text("x = 1")
    assert watch.changes() == []
    (tmp_path / "shop/tasks.py").write_text("x = 1")
    (tmp_path / "shop/more.py").touch()
    assert watch.changes() == ["shop/more.py", "shop/tasks.py"]
    (tmp_path / "shop/more.py").unlink()
    assert watch.changes() == ["shop/more.py"]
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert watch.changes() == []


# ---- the log


def test_the_log_tells_of_starts_ends_and_failures(run, critical):
    """In words for people."""
    command = run("--name", "w1")
    done, failed = (
        critical.push(taskslot.call("tells")),
        critical.push(taskslot.call("fails", "s3cret"), attempts=2),
    )
    command.log("now dead")
    assert re.search(rf"task {done} of critical, tells, done in [\d.]+ ms$", command.log("done in"))
    assert re.search(rf"task {failed} of critical, fails, started$", command.log("fails, started"))
    assert re.search(
        rf"task {failed} of critical, fails, started, attempt 2$", command.log("started, attempt 2")
    )
    lines = [line for line in command.lines if f"{failed} of critical, fails, failed" in line]
    assert re.search(
        r"warning: .* after [\d.]+ ms \(attempt 1 of 2, again in [\d.]+ s\): ValueError: no", lines[0]
    )
    assert re.search(r"warning: .* after [\d.]+ ms \(attempt 2 of 2, now dead\): ValueError: no", lines[1])
    assert not any("s3cret" in line or "/taskslot/worker/" in line for line in command.lines)


def test_the_log_as_json_has_a_line_for_each_event(run, critical):
    """Each has the same fields, and none has the payload."""
    command = run("--log", "json", "--name", "w1")
    done, failed = (
        critical.push(taskslot.call("tells")),
        critical.push(taskslot.call("fails", "s3cret"), attempts=2),
    )
    command.log('"dead"')
    command.process.send_signal(signal.SIGTERM)
    assert command.ended() == 0
    lines = [json.loads(line) for line in command.lines]
    assert {line["worker"] for line in lines} == {"w1"} and {line["pid"] for line in lines} == {
        command.process.pid
    }
    assert not any("s3cret" in line for line in command.lines)
    events = [line for line in lines if "event" in line]
    own = ("event", "name", "queue", "attempt", "attempts", "error")
    of = {
        task: [tuple(line.get(one) for one in own) for line in events if line["task"] == task]
        for task in (done, failed)
    }
    assert of[done] == [
        ("started", "tells", "critical", 1, None, None),
        ("done", "tells", "critical", 1, None, None),
    ]
    assert [(event, attempt, limit) for event, _, _, attempt, limit, _ in of[failed]] == [
        ("started", 1, None),
        ("retry", 1, 2),
        ("started", 2, None),
        ("dead", 2, 2),
    ]
    assert all(line["ms"] >= 0 for line in events if line["event"] != "started")
    retry = next(line for line in events if line["event"] == "retry")
    assert retry["delay_ms"] > 0 and "ValueError: no such card" in retry["error"]
    assert retry["traceback"].splitlines()[1].endswith("in fails")


@pytest.mark.parametrize("returns", [True, False])
def test_a_task_that_a_stop_gives_back_is_requeued_in_the_log(run, project, client, default, returns):
    """Each start has an end, and only one, also if the function then returns as if it were done."""
    if returns:
        tasks = project / "shop/tasks.py"
        tasks.write_text(tasks.read_text().replace("    taskslot.current().check()\n", ""))
    command = run("--log", "json", "--grace-ms", "0")
    task = default.push(taskslot.call("waits"))
    reaches(client)
    command.process.send_signal(signal.SIGTERM)
    assert command.ended() == 1
    events = [line for one in command.lines if "event" in (line := json.loads(one))]
    assert [line["event"] for line in events] == ["started", "requeued"]
    assert (events[1]["task"], events[1]["name"], events[1]["queue"]) == (task, "waits", "default")
    assert events[1]["ms"] > 0


def test_the_log_level_leaves_out_starts_and_ends(run, critical):
    """Failures stay."""
    command = run("--log-level", "warning")
    critical.push(taskslot.call("tells"))
    critical.push(taskslot.call("fails", 1), attempts=2)
    command.log("now dead")
    assert not any("started" in line or "done in" in line or "works on" in line for line in command.lines)


def test_a_server_that_goes_and_comes_back_is_in_the_log(start, project, client, default):
    """The worker runs on, and the task that was running counts once."""
    server = start(port=True, appendonly="yes")
    file = project / "shop/tasks.py"
    file.write_text(TASKS.format(port=server.port).replace("redis.Redis(", "redis.Redis(retry=None, "))
    with Command(project, "shop.tasks:app") as command, redis.Redis(port=server.port) as own:
        queue = Queue(own, "critical")
        assert tell(queue)[0] == command.process.pid
        server.kill9()
        command.log("the server does not answer, trying again until it is back")
        server.start()
        command.log("the server is back after")
        assert tell(queue)[0] == command.process.pid

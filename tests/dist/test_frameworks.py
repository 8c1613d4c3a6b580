"""The benchmark of frameworks: it measures, skips what is missing, gives up on what hangs, and leaves no process."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from harness.programs import OF_THIS_TREE
from harness.server import MODULE, ROOT

PROGRAM = ROOT / "bench/frameworks.py"
DRAINED = {
    "jobs": 1000,
    "runs": 1002,
    "push_seconds": 0.5,
    "push_cpu_us": 61.4,
    "push_commands": 1.0,
    "push_server_us": 3.21,
    "seconds": 0.25,
    "task_cpu_us": 99.6,
    "task_commands": 1.54,
    "task_server_us": 4.56,
}
LATE = {"jobs": 2000, "rate": 199.6, "p50": 0.4, "p99": 1.256, "p99.9": 3.0, "max": 12.5}
RESULT = {
    "run": {
        **dict.fromkeys(["date", "cpu", "cores", "linux", "commit", "server", "allocator"], "known"),
        **{"jobs": 1000, "rate": 200, "seconds": 10, "limit_s": 60.0},
    },
    "frameworks": {
        "fast": {
            "how": "2 × fast",
            "promise": "at most once",
            "versions": {"fast": "1.2"},
            "drain": DRAINED,
            "latency": LATE,
        },
        "away": {"how": "npm", "promise": "at least once", "skipped": "node and npm are not installed"},
        "stuck": {"how": "hangs", "promise": "none", "drain": {"failed": "3 of 1,000 jobs done in 60 s"}},
    },
}


@pytest.fixture
def runs(monkeypatch):
    """The modules of the benchmark that measure and that name the frameworks."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("framework_runs"), importlib.import_module("framework_list")


# A process that only says that it pushed, and a worker that does nothing.
ANSWERS = ("python", "-c", "import sys\nfor _ in sys.stdin: print('{}', flush=True)")
IDLE = ("python", "-c", "import time; time.sleep(600)")


class Here:
    """An environment of a framework: that of the tests, which has all that taskslot needs."""

    def program(self, name):
        """The Python of the tests."""
        return {"python": sys.executable}[name]

    def environment(self):
        """With the jobs and the library of this tree."""
        return {"PYTHONPATH": f"{ROOT / 'bench/frameworks'}:{OF_THIS_TREE['PYTHONPATH']}"}


def run(*args, **environment):
    """Run the program. Returns what it printed."""
    env = {**os.environ, **OF_THIS_TREE, **environment}
    done = subprocess.run(
        [sys.executable, PROGRAM, *map(str, args)], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


def cells(line):
    """The cells of a line of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def of_session(leader):
    """The running processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(leader) and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def test_tables_show_the_figures_of_the_file(tmp_path):
    """--show prints both tables, what was skipped, what failed, and which jobs ran twice."""
    file = tmp_path / "result.json"
    file.write_text(json.dumps(RESULT))
    lines = run("--show", file).splitlines()
    drain, late = [cells(line) for line in lines if line.startswith("| fast")]
    assert drain == ["fast", "1,000", "0.50", "0.25", "4,000", "61", "100", "3.2 + 4.6", "1.0 + 1.5"]
    assert late == ["fast", "0.40", "1.26", "3.00", "12.50", "2,000", "200"]
    assert "- fast: 2 jobs ran twice" in lines
    assert "- away: skipped. node and npm are not installed" in lines
    assert "- stuck: no figures. 3 of 1,000 jobs done in 60 s" in lines
    assert "- fast (fast 1.2): 2 × fast. at most once" in lines


def test_a_framework_without_its_language_is_skipped(tmp_path, server):
    """Without node on PATH, BullMQ is skipped with this reason, in the tables and in the JSON."""
    (tmp_path / "git").symlink_to(shutil.which("git"))
    file = tmp_path / "result.json"
    output = run("--only", "bullmq", "--server", server.installed.path, "--json", file, PATH=str(tmp_path))
    assert "- BullMQ: skipped. node and npm are not installed\n" in output
    found = json.loads(file.read_text())["frameworks"]["BullMQ"]
    assert found["skipped"] == "node and npm are not installed" and "drain" not in found


def test_jobs_of_taskslot_are_pushed_done_and_counted(runs, server):
    """All jobs run, each once, and the commands of pushes and tasks are counted."""
    framework_runs, framework_list = runs
    framework = replace(framework_list.TASKSLOT, home=Here())
    found = framework_runs.drain(framework, server.installed, MODULE, 300, 30)
    assert found["jobs"] == found["runs"] == 300
    assert found["commands"]["push"]["TASK.PUSH"] == 300
    assert "TASK.PUSH" not in found["commands"]["task"]
    assert min(found["push_cpu_us"], found["task_cpu_us"], found["task_server_us"]) > 0


@pytest.mark.slow
def test_jobs_of_taskslot_tell_how_late_they_start(runs, server):
    """Percentiles are of all jobs, in order, and never before the push."""
    framework_runs, framework_list = runs
    framework = replace(framework_list.TASKSLOT, home=Here())
    found = framework_runs.latency(framework, server.installed, MODULE, 100, 1, 30)
    assert found["jobs"] == 100
    assert 0 < found["p50"] <= found["p99"] <= found["p99.9"] <= found["max"]


@pytest.mark.slow
def test_workers_that_do_nothing_are_given_up_and_ended(runs, server):
    """The reason names the limit, and no process of the worker is left, not even one that it started."""
    framework_runs, framework_list = runs
    code = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "print(os.getpid(), flush=True); time.sleep(600)"
    )
    framework = replace(framework_list.TASKSLOT, home=Here(), work=(("python", "-c", code),), push=ANSWERS)
    found = framework_runs.attempt(framework_runs.drain, framework, server.installed, MODULE, 10, 5.0)
    said, _, leader = found["failed"].rpartition(": ")
    assert said == "0 of 10 places at work after 5 s"
    assert of_session(leader) == []


def test_a_worker_that_ends_is_a_failure_with_its_last_words(runs, server):
    """What it printed last is the reason."""
    framework_runs, framework_list = runs
    framework = replace(framework_list.TASKSLOT, home=Here(), work=(("python", "-c", "exit('no broker')"),))
    found = framework_runs.attempt(framework_runs.drain, framework, server.installed, MODULE, 10, 20.0)
    assert found == {"failed": "a process ended with 1: no broker"}


def test_a_process_that_pushes_may_answer_in_parts(runs, server):
    """An answer counts when its line is complete, and what is not an answer is shown."""
    framework_runs, framework_list = runs
    code = (
        "import sys, time\n"
        "for line in sys.stdin:\n"
        "    for part in '{\"pushed\": 1', ', \"odd\": true}', '\\n':\n"
        "        print(part, end='', flush=True)\n"
        "        time.sleep(0.02)\n"
        "    sys.argv.append(line)\n"
        "    if len(sys.argv) > 2: print('no answer', flush=True)\n"
    )
    push = ("python", "-c", code)
    framework = replace(framework_list.TASKSLOT, home=Here(), work=(IDLE,), push=push)
    found = framework_runs.attempt(framework_runs.drain, framework, server.installed, MODULE, 10, 20.0)
    assert found == {"failed": "the pushing process printed b'no answer'"}

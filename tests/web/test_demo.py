"""`make web`: the demo starts, fills its queues, and ends without leaving anything behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
import redis
from harness.server import ROOT, SERVERS, wait_until
from taskslot import Queue


def start(*arguments):
    """Start the demo with its page on a free port. Returns the process and what it said at first."""
    command = [sys.executable, str(ROOT / "examples/web"), "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = ""
    while "Ctrl-C stops everything" not in said:
        line = process.stdout.readline()
        assert line, f"the demo has ended: {said}"
        said += line
    return process, said


def processes_of(parent):
    """The processes that another one has started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def is_there(pid):
    """Whether a process exists."""
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize(
    "cluster", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["server", "cluster"]
)
@pytest.mark.slow
def test_the_demo_runs_and_ends(cluster):
    """Its page answers, tasks die of each kind of error, a batch gets done; Ctrl-C ends all processes."""
    process, said = start("--server", "valkey-9.1", *(["--cluster"] if cluster else []))
    try:
        page = re.search(r"http://\S+", said)[0]
        url = re.search(r"redis://\S+", said)[0]
        assert urllib.request.urlopen(f"{page}/health").status == 200
        client = (redis.RedisCluster if cluster else redis.Redis).from_url(url)
        payments, albums = Queue(client, "payments"), Queue(client, "albums")

        def kinds():
            return {task.error.partition(":")[0] for task in payments.tasks("dead")}

        wait_until(lambda: kinds() == {"KeyError", "TimeoutError", "ValueError"}, "three kinds of error", 60)
        wait_until(lambda: albums.batches()[0].done > 5, "pictures of an album are developed", 60)
        children = processes_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        wait_until(lambda: not any(map(is_there, children)), "all its processes have ended")
    finally:
        process.kill()
        process.wait()
    assert "has ended" not in process.stdout.read()


def test_the_demo_needs_a_server_that_is_there():
    """An unknown name is an error that names those that are installed."""
    command = [sys.executable, str(ROOT / "examples/web"), "--server", "redis-1.0"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert next(iter(SERVERS)) in ended.stderr


@pytest.mark.slow
def test_the_demo_needs_a_port_that_is_free():
    """Otherwise it would show somebody else's page."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        command = [sys.executable, str(ROOT / "examples/web"), "--port", str(other.getsockname()[1])]
        ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "can't listen on" in ended.stderr

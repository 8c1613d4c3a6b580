"""`make demo` as users run it, but shorter: its account, its plot, and its errors for wrong logs."""

import asyncio
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import redis
from harness.programs import OF_THIS_TREE
from harness.server import MODULE, ROOT
from redis.backoff import NoBackoff
from redis.retry import Retry
from taskslot import ShardedQueue

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

DEMO = ROOT / "examples/demo"
# Small enough for a machine that runs other tests at the same time.
SMALL = ["--seconds=10", "--rate=60", "--shards=12", "--workers=3", "--seed=1"]


def run(*command: object) -> subprocess.CompletedProcess:
    """Run a script of the demo without a terminal."""
    env = {**os.environ, **OF_THIS_TREE, "TASKSLOT_MODULE": str(MODULE)}
    return subprocess.run([sys.executable, *map(str, command)], env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """One run of the demo, whose folder all tests use."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    return folder, run(DEMO, *SMALL, f"--folder={folder}")


@pytest.fixture
def folder(demo, tmp_path) -> Path:
    """A copy of that run's logs, to be changed."""
    return Path(shutil.copytree(demo[0], tmp_path / "run"))


def count(output: str, name: str) -> int:
    """A number of the account."""
    line = next(line for line in output.splitlines() if line.startswith(name))
    return int(line.removeprefix(name).split()[0].replace(",", ""))


def test_demo_loses_nothing_and_its_books_agree(demo):
    """A worker and a primary die, shards move, and every task is done."""
    _, ended = demo
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert count(ended.stdout, "pushed") == count(ended.stdout, "done") > 0
    assert (count(ended.stdout, "lost"), count(ended.stdout, "pushed twice")) == (0, 0)
    assert count(ended.stdout, "redelivered") > 0
    assert "0   … unexplained" in ended.stdout
    assert "the server's totals and the logs agree:" in ended.stdout


def test_demo_prints_lines_without_a_terminal(demo):
    """All events are printed in order, without escape sequences of a terminal."""
    output = demo[1].stdout
    story = [
        "worker w",
        "is killed (-9), cut off",
        "has taken over",
        "is back, as a replica",
        "moved from",
        "is empty",
    ]
    found = [output.find(words) for words in story]
    assert -1 not in found and found == sorted(found), output
    assert "\x1b" not in output


def test_demo_draws_a_picture_beside_its_folder(demo):
    """The plot is a PNG that is large enough to be read, and not empty."""
    picture = demo[0].with_suffix(".png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture[16:24])
    assert width >= 1000 and height >= 700
    assert len(picture) > 20_000


def test_demo_draws_the_same_svg_again_for_light_and_dark(demo, tmp_path, monkeypatch):
    """The picture of a run is the same bytes each time, has its text as text, and colours for both."""
    monkeypatch.syspath_prepend(DEMO)
    from account import Account
    from books import Books
    from plot import plot

    paths = [tmp_path / "first.svg", tmp_path / "second.svg"]
    for path in paths:
        plot(Account(Books.of(demo[0])), "A run", path)
    drawn = paths[0].read_text()
    assert drawn == paths[1].read_text()
    assert "prefers-color-scheme:dark" in drawn and "tasks per second</text>" in drawn
    ElementTree.fromstring(drawn)


def lines_of(log: Path) -> list[dict]:
    """The lines of a log."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_work_on_the_other_nodes_continues_while_one_is_unreachable(demo):
    """During the time without a primary, at least half of the work for the two other nodes goes on."""
    folder = demo[0]
    story = {line["what"]: line["t"] for line in lines_of(folder / "story.log")}
    dead, back = story["node killed"], story["promoted"]
    expected = 60 * 2 / 3 * (back - dead)
    workers = [line for log in folder.glob("worker-*.log") for line in lines_of(log)]
    for lines, what in ((lines_of(folder / "producer.log"), "pushed"), (workers, "acked")):
        meanwhile = sum(line["what"] == what and dead < line["t"] < back for line in lines)
        assert meanwhile >= expected / 2, (what, meanwhile, expected)


def test_pushes_to_an_unreachable_node_do_not_block_pushes_to_others(start_cluster, tmp_path, monkeypatch):
    """Any number of pushes can wait for that node. Two thirds of 500 pushes per second continue."""
    monkeypatch.syspath_prepend(DEMO)
    from logs import Log
    from producer import Producer

    cluster = start_cluster(replicas=0, cluster_node_timeout=60_000, cluster_require_full_coverage="no")
    client = redis.RedisCluster(
        "127.0.0.1", cluster.nodes[1].port, socket_timeout=5, retry=Retry(NoBackoff(), 0)
    )
    progress = [0, 0]
    producer = Producer(
        ShardedQueue(client, "orders", shards=12, patience_ms=60_000), Log(tmp_path / "log"), progress
    )

    async def goes_on(running, count):
        end = progress[0] + count
        while progress[0] < end and not running.done():
            await asyncio.sleep(0.01)

    async def run():
        running = asyncio.create_task(producer.run(500))
        await goes_on(running, 200)
        cluster.kill(victim)
        await goes_on(running, 1500)
        assert not running.done()
        running.cancel()

    victim = cluster.primaries()[0]
    try:
        asyncio.run(asyncio.wait_for(run(), 60))
    finally:
        victim.start()  # ends the waiting pushes


def test_account_is_the_same_when_it_is_made_again(demo, folder):
    """The logs alone give the same account that the demo printed."""
    again = run(DEMO / "account.py", folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout in demo[1].stdout


# ---- wrong logs are noticed


def spoiled(folder: Path) -> str:
    """Run the account on changed logs. It must fail. Returns the checks that failed."""
    ended = run(DEMO / "account.py", folder)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return "\n".join(line for line in ended.stdout.splitlines() if "✗" in line)


def drop(log: Path, what: str) -> dict:
    """Drop the last line of a kind."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    last = max(index for index, line in enumerate(lines) if line["what"] == what)
    dropped = lines.pop(last)
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return dropped


def survivor(folder: Path) -> Path:
    """The log of a worker that was not killed."""
    logs = sorted(folder.glob("worker-*.log"))
    return next(log for log in logs if '"stopped"' in log.read_text())


def test_account_notices_an_ack_that_no_worker_wrote_down(folder):
    """A done task must have an ack in the log of a worker that was not killed."""
    drop(survivor(folder), "acked")
    assert "each done task has its ack in a worker's log: 1 lack it" in spoiled(folder)


def test_account_notices_a_claim_that_no_worker_wrote_down(folder):
    """An ack without a claim is noticed."""
    drop(survivor(folder), "claimed")
    assert "no worker acked a task that it hadn't claimed: 1 did" in spoiled(folder)


def test_account_notices_a_lost_task(folder):
    """A number that was pushed, and that the server doesn't have, is lost."""
    with open(folder / "producer.log", "a") as log:
        log.write('{"t":1,"what":"pushed","n":999999,"id":"0/1-0"}\n')
    output = spoiled(folder)
    assert "every push is done: 1 lost, as 999999" in output
    assert "a replica confirmed every push: 1 unconfirmed" in output


def test_account_notices_a_push_that_the_producer_forgot(folder):
    """The server has one task more than were pushed."""
    drop(folder / "producer.log", "pushed")
    output = spoiled(folder)
    assert (
        "tasks pushed" in output and "the producer's log and the server have the same ids: 1 differ" in output
    )


def test_account_notices_a_task_that_was_pushed_twice(folder):
    """Two tasks with the same number are a push that counted twice."""
    server = json.loads((folder / "server.json").read_text())
    n, deliveries, done_since = next(iter(server["kept"].values()))
    server["kept"]["0/1-0"] = [n, deliveries, done_since]
    (folder / "server.json").write_text(json.dumps(server))
    assert f"no push made two tasks: 1 twice, as {n}" in spoiled(folder)


def test_account_has_no_cause_for_a_redelivery_out_of_nothing(folder):
    """A task that is delivered again after its ack, without any fault, is unexplained."""
    log = survivor(folder)
    acked = drop(log, "acked")
    claimed = next(
        json.loads(line)
        for line in log.read_text().splitlines()
        if acked["handle"] in line and "claimed" in line
    )
    again = {**claimed, "deliveries": claimed["deliveries"] + 1, "handle": f"{claimed['handle']}x"}
    again["deadline"] += 1
    with open(log, "a") as file:
        for line in (acked, again, {**acked, "t": acked["t"] + 2, "handle": again["handle"]}):
            file.write(f"{json.dumps(line)}\n")
    assert "every redelivery has its cause (all but 1)" in spoiled(folder)

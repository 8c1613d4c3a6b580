"""The library for Node, clients/node: its own tests on this server, a queue shared with Python, and its package."""

import inspect
import json
import os
import re
import subprocess
import threading
import time

import pytest
import redis
from harness import node_client, recipes
from harness.cluster import Cluster
from harness.fixtures import chosen
from harness.server import ROOT
from taskslot import Fail, Queue, Worker, call, commands

# The first build downloads packages.
pytestmark = pytest.mark.timeout(600)

CONSUMER = """
import { Redis } from "ioredis";
import { createClient } from "redis";
import { Queue, ShardedQueue, Worker, task, type Pushed } from "taskslot";

const add = task("add", async (a: number, b: number) => a + b);
export async function run(): Promise<number> {
  const queue = new Queue(new Redis(), "q");
  const other: ShardedQueue = new ShardedQueue(createClient(), "q", { shards: 4 });
  // @ts-expect-error: an argument of another type
  add.with("1", 2);
  // @ts-expect-error: an option that does not exist
  await other.push("x", { delay: 5 });
  const pushed: Pushed<number> = await queue.push(add.with(1, 2), { delayMs: 5, at: new Date() });
  new Worker(queue, [add], { concurrency: 3 }).on("done", (done) => done.payload.length);
  return queue.value(pushed, { blockMs: 1000 });
}
"""


def environment(server, cluster=None):
    """The variables that tell the tests of clients/node where the servers are."""
    more = {"TASKSLOT_CLUSTER": f"127.0.0.1:{cluster.nodes[0].port}"} if cluster else {}
    return {**os.environ, "TASKSLOT_SERVER": f"127.0.0.1:{server.port}", **more}


@pytest.mark.slow
def test_its_own_tests_pass(start, installed, pytestconfig):
    """Run them with node:test; those on a cluster with the first of the selected servers only."""
    place, node = node_client.built(), recipes.need("node")
    is_first = installed == chosen(pytestconfig)[0]
    cluster = Cluster(installed, primaries=3, replicas=0, clock="shared") if is_first else None
    try:
        files = sorted(str(file) for file in (place / "build").glob("*.test.js"))
        done = subprocess.run(
            [node, "--test", "--test-reporter=tap", "--test-timeout=120000", "--test-concurrency=3", *files],
            cwd=place,
            env=environment(start(port=True), cluster),
            capture_output=True,
            text=True,
            timeout=300,
        )
    finally:
        if cluster:
            cluster.discard()
    counts = {name: int(count) for name, count in re.findall(r"^# (\w+) (\d+)$", done.stdout, re.M)}
    failures = "\n".join(re.findall(r"^ *not ok .*(?:\n(?! *(?:ok|not ok) ).*)*", done.stdout, re.M))
    assert done.returncode == 0, failures or done.stdout + done.stderr
    assert counts["fail"] == counts["cancelled"] == counts["todo"] == 0 and counts["pass"] >= 50
    assert ("# SKIP" in done.stdout) == (cluster is None)


# What only one of the libraries has, by command. docs/node.md says what Node's lacks.
ONLY_PYTHON = {"claim": {"tied"}}
ONLY_NODE = dict[str, set[str]]()


def options_in_python():
    """The names of the options of each command of the library for Python, in Node's spelling."""
    types = {
        "push": commands.PushOptions, "pushMany": commands.TaskOptions, "openBatch": commands.CallbackOptions,
        "schedule": commands.ScheduleOptions, "claim": commands.ClaimOptions, "set": commands.SetOptions,
    }  # fmt: skip
    found = {name: set(kind.__optional_keys__) for name, kind in types.items()}
    found["schedule"] |= {"every_ms", "cron", "tz", "catchup"}
    # The others have parameters: after the key and the handles, the name, or what a page is of.
    for name, function, others in (
        ("ack", commands.ack, {"handles"}),
        ("fail", commands.fail, {"handles", "error"}),
        ("requeue", commands.requeue, {"handles"}),
        ("extend", commands.extend, {"handles"}),
        ("list", commands.page, {"state", "cursor", "count"}),
        ("setGroup", commands.set_group, {"name"}),
    ):
        found[name] = set(inspect.signature(function).parameters) - others - {"key"}
    return {
        name: {re.sub("_(.)", lambda found: found[1].upper(), one) for one in options}
        for name, options in found.items()
    }


def test_its_options_are_those_of_the_library_for_python():
    """An option that one of them gets, the other gets too, or it is in the lists above."""
    program = "import('./dist/esm/commands.js').then(({ OPTIONS }) => console.log(JSON.stringify(OPTIONS)))"
    said = subprocess.check_output([recipes.need("node"), "-e", program], cwd=node_client.built(), text=True)
    node = {name: set(options) for name, options in json.loads(said).items()}
    python = options_in_python()
    assert node.keys() == python.keys()
    for name in node:
        assert python[name] - node[name] == ONLY_PYTHON.get(name, set()), name
        assert node[name] - python[name] == ONLY_NODE.get(name, set()), name


def test_its_commands_are_those_of_the_library_for_python():
    """Both files name each command that they send."""
    files = (ROOT / "clients/python/taskslot/commands.py", ROOT / "clients/node/src/commands.ts")
    python, node = (set(re.findall(r"TASK\.[A-Z]+", file.read_text())) for file in files)
    assert python - node == {"TASK.NEXT", "TASK.MCLAIM", "TASK.SHARDS"} and node <= python


def test_a_worker_in_python_and_one_in_node_share_a_queue(start):
    """Each runs tasks of the other's producer, and each producer reads the other's results and errors."""
    server, place = start(port=True), node_client.built()
    with redis.Redis(port=server.port) as client, Queue(client, "shared") as queue:
        queue.configure(backoff_base=10, backoff_max=10)
        worker = Worker(queue, concurrency=1)

        @worker.task("who")
        def who(number, *, word):
            # Ends when both workers have had a task at the same time, so that each runs some.
            while not queue.len("done") and queue.len("leased") < 2:
                time.sleep(0.005)
            return {"number": number, "word": word, "by": "python"}

        @worker.task("throws in python")
        def throws():
            raise Fail("no way", dead=True)

        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        other = subprocess.Popen(
            [recipes.need("node"), place / "build/beside-python.js", "shared", "10"],
            env=environment(server),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            found = json.loads(other.stdout.readline())
            assert [(one["number"], one["word"]) for one in found["results"]] == [(n, "ü") for n in range(10)]
            assert {one["by"] for one in found["results"]} == {"node", "python"}
            assert found["failed"] == "the task is dead: no way"

            mine = [queue.push(call("who", n, word="é"), retain_ms=60_000) for n in range(10)]
            values = [json.loads(queue.result(task, block_ms=20_000).value) for task in mine]
            assert [(one["number"], one["word"]) for one in values] == [(n, "é") for n in range(10)]

            ended = queue.result(queue.push(call("throws in node"), attempts=9), block_ms=20_000)
            lines = ended.error.splitlines()
            assert ended.state == "dead" and (
                lines[0] == "RangeError: too far"
                or lines == ["UnknownFunction: no function 'throws in node'"]
            )
            errors = queue.get(queue.push(call("nobody knows"), delay_ms=60_000)).errors
            assert errors == ()
        finally:
            other.stdin.close()
            assert other.wait(timeout=20) == 0
            worker.stop()
            thread.join()


@pytest.mark.slow
def test_the_package_works_in_an_empty_project(tmp_path):
    """The tarball has the two builds and no sources. It is imported both ways, and its types hold both ways."""
    place = node_client.built()
    packed = json.loads(
        node_client.npm("pack", "--json", "--ignore-scripts", f"--pack-destination={tmp_path}", folder=place)
    )
    files = {file["path"] for file in packed[0]["files"]}
    folders = {file.split("/")[0] for file in files}
    assert folders == {"dist", "package.json", "README.md", "LICENSE-MIT", "LICENSE-APACHE"}
    assert {f"dist/{kind}/index.{end}" for kind in ("esm", "cjs") for end in ("js", "d.ts")} <= files

    project = tmp_path / "project"
    project.mkdir()
    (project / "package.json").write_text('{"private": true}')
    install = ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"]
    node_client.npm(*install, str(tmp_path / packed[0]["filename"]), folder=project)
    assert {one.name for one in (project / "node_modules").iterdir() if one.name[0] != "."} == {"taskslot"}

    node = recipes.need("node")
    names = "Object.keys(taskslot).sort().join()"
    esm = f"import * as taskslot from 'taskslot'; console.log({names})"
    cjs = f"const taskslot = require('taskslot'); console.log({names})"
    said = [
        subprocess.check_output([node, f"--input-type={kind}", "-e", code], cwd=project, text=True)
        for kind, code in (("module", esm), ("commonjs", cjs))
    ]
    assert said[0] == said[1] and "ShardedQueue" in said[0] and "default" not in said[0]

    for name in ("@types", "ioredis", "redis", "@redis", "@ioredis", "typescript"):
        (project / "node_modules" / name).symlink_to(place / "node_modules" / name)
    for file in ("consumer.mts", "consumer.cts"):
        (project / file).write_text(CONSUMER)
    tsc = place / "node_modules/.bin/tsc"
    strict = [
        "--strict",
        "--exactOptionalPropertyTypes",
        "--noEmit",
        "--module",
        "nodenext",
        "--skipLibCheck",
        "--types",
        "node",
    ]
    checked = subprocess.run(
        [tsc, *strict, "consumer.mts", "consumer.cts"], cwd=project, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout

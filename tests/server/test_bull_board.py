"""The recipe examples/bull-board: each page of a queue answers, and the buttons do what they say."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
import redis
from harness import node_client, recipes
from harness.server import ROOT, wait_until
from taskslot import Queue, call

# The first run downloads packages.
pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

EXAMPLE = ROOT / "examples/bull-board"


@pytest.fixture
def server(start):
    """A new server, which also listens on a port."""
    return start(port=True)


@pytest.fixture
def queue(server):
    """A queue with tasks in each state."""
    with redis.Redis(port=server.port) as client, Queue(client, "mail") as queue:
        queue.configure(errors_kept=2)
        for number in range(5):
            queue.push(call("send", number), retain_ms=600_000, headers={"trace": "a"})
        first, second, third = queue.claim(3, worker="w1", lease_ms=600_000)
        queue.extend(first, progress="40")
        queue.fail(second, "SMTPError: no route\n    at send", dead=True)
        queue.ack(third, result='"sent"')
        later = queue.push("later", delay_ms=600_000)
        queue.push("held", after=[later])
        queue.schedule("nightly", call("clean"), cron="30 2 * * *", tz="UTC")
        yield queue


@pytest.fixture
def project(tmp_path):
    """A copy of the example with its packages."""
    modules = tmp_path / "node_modules"
    modules.mkdir()
    for package in recipes.node_modules(EXAMPLE).iterdir():
        (modules / package.name).symlink_to(package)
    (modules / "taskslot").symlink_to(node_client.built())
    for file in EXAMPLE.glob("*.m?s"):
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.fixture
def board(server, queue, project):
    """A function that requests something from the board: `board("GET", "/api/queues")`, and returns its JSON."""
    command = [recipes.need("node"), "server.mjs", f"redis://127.0.0.1:{server.port}", "0"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split()[-1]

        def ask(method, path, body=None):
            data = None if body is None else json.dumps(body).encode()
            headers = {"content-type": "application/json"}
            request = urllib.request.Request(url + path, method=method, data=data, headers=headers)
            with urllib.request.urlopen(request, timeout=20) as reply:
                text = reply.read().decode()
                return json.loads(text) if text.startswith(("{", "[")) else text

        yield ask
        process.terminate()


def page(board, status):
    """The tasks that the page of a status shows."""
    path = f"/api/queues?activeQueue=mail&status={status}&page=1&jobsPerPage=10"
    [shown] = board("GET", path)["queues"]
    return shown["jobs"]


def test_each_page_shows_the_tasks_of_its_state(board, queue):
    """With their name, data, progress, error, result and worker. The board checks the form of its answers itself."""
    assert "<html" in board("GET", "/") and "<html" in board("GET", "/queue/mail?status=failed")
    [active], [failed], [completed] = (page(board, status) for status in ("active", "failed", "completed"))
    assert (active["name"], active["progress"], active["processedBy"]) == ("send", 40, "w1")
    assert failed["failedReason"] == "SMTPError: no route"
    assert failed["stacktrace"] == ["attempt 1: SMTPError: no route\n    at send"]
    assert completed["returnValue"] == "sent" and completed["data"]["args"] == [2]
    assert completed["opts"]["headers"] == {"trace": "a"}
    assert len(page(board, "waiting")) == 2
    [delayed], [held] = page(board, "delayed"), page(board, "waiting-children")
    assert delayed["data"] == "later" and held["name"] == "mail"
    assert len(page(board, "latest")) == 7
    [shown] = board("GET", "/api/queues?activeQueue=mail")["queues"]
    assert {name: count for name, count in shown["counts"].items() if count} == {
        "active": 1, "waiting": 2, "waiting-children": 1, "delayed": 1, "failed": 1, "completed": 1,
    }  # fmt: skip
    job = board("GET", f"/api/queues/mail/{failed['id']}")
    assert job["job"]["id"] == failed["id"] and job["status"] == "failed"
    [schedule] = board("GET", "/api/job-schedulers")["schedulers"]
    assert (schedule["name"], schedule["pattern"], schedule["tz"]) == ("nightly", "30 2 * * *", "UTC")
    assert [one["name"] for one in board("GET", "/api/queues/mail/workers")["workers"]] == ["w1"]
    assert board("GET", "/api/redis/stats")["version"]


def test_the_buttons_act_on_tasks(board, queue):
    """Retry, promote, change, remove, clean, add."""
    [failed], [delayed], [completed] = (page(board, status) for status in ("failed", "delayed", "completed"))
    board("PUT", f"/api/queues/mail/{failed['id']}/retry")
    assert queue.get(failed["id"]).state == "ready"
    board("PATCH", f"/api/queues/mail/{failed['id']}/update-data", {"jobData": {"task": "other"}})
    assert queue.get(failed["id"]).payload == b'{"task":"other"}'
    board("PUT", f"/api/queues/mail/{delayed['id']}/promote")
    assert queue.get(delayed["id"]).state == "ready"
    board("PUT", f"/api/queues/mail/{completed['id']}/clean")
    assert queue.get(completed["id"]) is None
    board("POST", "/api/queues/mail/add", {"name": "extra", "data": {"a": 1}, "options": {"delay": 600_000}})
    [added] = queue.tasks("delayed", payloads=True)
    assert json.loads(added.payload) == {"task": "extra", "args": [{"a": 1}], "kwargs": {}}
    [task] = queue.claim(1)
    queue.fail(task, "no", dead=True)
    board("PUT", "/api/queues/mail/retry/failed")
    assert queue.len("dead") == 0 and queue.get(task).state == "ready"
    board("PUT", "/api/queues/mail/promote")
    assert queue.len("delayed") == 0
    board("PUT", "/api/queues/mail/empty")
    assert [queue.len(state) for state in ("ready", "held", "leased")] == [0, 0, 1]


def test_clean_removes_what_has_ended_for_five_seconds(board, queue):
    """The board always asks for that age."""
    [task] = queue.claim(1)
    queue.fail(task, "no", dead=True)
    board("PUT", "/api/queues/mail/clean/failed")
    assert queue.get(task).state == "dead"

    def is_clean():
        board("PUT", "/api/queues/mail/clean/failed")
        return queue.len("dead") == 0

    wait_until(is_clean, "the dead task is removed", 20)
    assert queue.len("done") == 1


def test_the_buttons_act_on_the_queue(board, queue):
    """Pause, resume, limits and schedules."""
    board("PUT", "/api/queues/mail/pause")
    assert queue.info().paused_out == -1
    board("PUT", "/api/queues/mail/resume")
    assert queue.info().paused_out == 0
    board("PUT", "/api/queues/mail/concurrency", {"concurrency": 3})
    board("PUT", "/api/queues/mail/rate-limit", {"max": 5, "duration": 2000})
    settings = queue.settings()
    assert (settings.concurrency, settings.rate, settings.rate_per) == (3, 5, 2000)
    ready = queue.len("ready")
    board("PUT", "/api/queues/mail/job-schedulers/nightly/run")
    assert queue.len("ready") == ready + 1
    board("PUT", "/api/queues/mail/job-schedulers/nightly/remove")
    assert queue.schedules() == []
    board("PUT", "/api/queues/mail/pause")
    with pytest.raises(urllib.error.HTTPError, match="409"):
        board("PUT", "/api/queues/mail/obliterate", {})
    board("PUT", "/api/queues/mail/obliterate", {"force": True})
    assert queue.info() is None


STRICT = (
    "--strict --exactOptionalPropertyTypes --noEmit --module nodenext --skipLibCheck --types node".split()
)


def test_the_board_mounts_in_an_app_of_ones_own(server, queue, project):
    """The program in the README, as strict TypeScript and as it runs."""
    [program] = re.findall(r"```ts\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.S)
    # Express has no types of its own here.
    (project / "app.mts").write_text(
        program.replace("\nimport express", "\n// @ts-expect-error\nimport express")
    )
    tools = node_client.built() / "node_modules"
    (project / "node_modules/@types").symlink_to(tools / "@types")
    checked = subprocess.run(
        [tools / ".bin/tsc", *STRICT, "app.mts"], cwd=project, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    wrong = program.replace('new Queue(redis, "mail"), redis,', '"mail", redis,')
    (project / "wrong.mts").write_text(
        wrong.replace("\nimport express", "\n// @ts-expect-error\nimport express")
    )
    checked = subprocess.run(
        [tools / ".bin/tsc", *STRICT, "wrong.mts"], cwd=project, capture_output=True, text=True
    )
    assert "'string' is not assignable to parameter of type 'Queue'" in checked.stdout

    runs = program.replace("new Redis()", f"new Redis({server.port})").replace(
        'app.listen(3000, "127.0.0.1");',
        'const open = app.listen(0, "127.0.0.1", () => console.log(open.address().port));',
    )
    (project / "app.mjs").write_text(runs)
    with subprocess.Popen(
        [recipes.need("node"), "app.mjs"], cwd=project, stdout=subprocess.PIPE, text=True
    ) as app:
        try:
            url = f"http://127.0.0.1:{int(app.stdout.readline())}/admin/queues/api/queues"
            with urllib.request.urlopen(url, timeout=20) as reply:
                [shown] = json.load(reply)["queues"]
            assert (shown["name"], shown["readOnlyMode"], shown["counts"]["failed"]) == ("mail", True, 1)
        finally:
            app.terminate()

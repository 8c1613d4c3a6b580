"""What the documents tell an operator to set: the users of install.md and securing.md, and each setting, tried."""

import re
import socket
import subprocess

import pytest
import redis
from harness import node_client, recipes
from harness.command_line import run
from harness.fixtures import chosen
from harness.server import ROOT, free_port, wait_until
from harness.talk import Error, Talk
from harness.web import FormClient, create_app
from taskslot import Queue, Worker

PAGES = ("docs/install.md", "docs/securing.md")
USER = re.compile(r"^127\.0\.0\.1:6379> ACL SETUSER (\w+) on >(\S+) (.*)$", re.M)


def documented() -> dict[str, tuple[str, str]]:
    """The users of the documents, each with a password and its rules."""
    texts = "\n".join((ROOT / page).read_text() for page in PAGES)
    return {name: (password, rules) for name, password, rules in USER.findall(texts)}


@pytest.fixture
def users(start):
    """A server with all documented users, on which `default` may do nothing."""
    server = start(port=True)
    admin = Talk(server)
    for name, (password, rules) in documented().items():
        assert admin("ACL", "SETUSER", name, "on", f">{password}", *rules.split()) == "OK", name
    for n in range(3):
        admin.push("jobs:mail", f"p{n}")
        admin.push("secret", "p")
    admin("ACL", "SETUSER", "root", "on", ">r", "~*", "&*", "+@all")
    admin("ACL", "SETUSER", "default", "off")
    return server


def as_user(server, name: str) -> redis.Redis:
    """A client of one of the documented users."""
    return redis.Redis(port=server.port, username=name, password=documented()[name][0])


def words(server, name: str) -> tuple[list[str], dict[str, str]]:
    """The words and the variables with which the command line is this user."""
    url = f"redis://{name}@127.0.0.1:{server.port}"
    return ["--url", url], {"TASKSLOT_PASSWORD": documented()[name][0]}


FORBIDDEN = [
    *[["FLUSHALL"], ["KEYS", "*"], ["CONFIG", "GET", "*"], ["DEBUG", "SLEEP", "0"], ["SHUTDOWN", "NOSAVE"]],
    *[["CLIENT", "KILL", "TYPE", "normal"], ["CLIENT", "PAUSE", "1"], ["CLIENT", "LIST"], ["MONITOR"]],
    *[["ACL", "LIST"], ["REPLICAOF", "NO", "ONE"], ["MODULE", "LIST"], ["EVAL", "return 1", "0"]],
    *[["SET", "jobs:x", "1"], ["GET", "jobs:x"], ["RESTORE", "jobs:x", "0", "x"], ["DUMP", "jobs:mail"]],
    *[["TASK._APPLY", "jobs:mail", "x"], ["TASK._LOAD", "jobs:mail", "HEAD", "x"], ["TASK._CLOCK", "x"]],
]


# Sentinel closes the clients of a primary that it demotes.
NEEDED = [("sentinel", ["CLIENT", "KILL", "TYPE", "normal"])]


def test_no_documented_user_may_do_what_it_does_not_need(users):
    """None can stop the server, read other data, or change users. None but Sentinel can stop other clients."""
    assert {"producer", "worker", "viewer", "operator", "metrics", "page"} <= set(documented())
    for name, (password, _) in documented().items():
        for command in [one for one in FORBIDDEN if (name, one) not in NEEDED]:
            c = Talk(users)
            assert c("AUTH", name, password) == "OK"
            reply = c(*command)
            assert isinstance(reply, Error) and reply.startswith("NOPERM"), (name, command, reply)
        if name in ("producer", "worker", "viewer"):
            assert talk_as(users, name)("TASK.LEN", "secret").startswith("NOPERM"), name


def talk_as(server, name: str) -> Talk:
    """A bare connection of one of the documented users."""
    c = Talk(server)
    assert c("AUTH", name, documented()[name][0]) == "OK"
    return c


def test_producers_and_workers_in_python_can_work(users):
    """Pushes, batches, results, waits; a worker with tied leases, progress and failures."""
    with as_user(users, "producer") as p, as_user(users, "worker") as w:
        queue = Queue(p, "jobs:calls")
        worker = Worker(Queue(w, "jobs:calls"), tied=True)
        got = []

        @worker.task
        def work(n: int) -> int:
            got.append(n)
            if n == 1 and got.count(1) == 1:
                raise ValueError("once")
            if len(got) == 4:
                worker.stop()
            return n

        tasks = [queue.push(work.call(n), retain_ms=60_000) for n in range(3)]
        queue.push_many([work.call(9)])
        running = worker.run(signals=False)
        assert running == 0 and sorted(got)[:2] == [0, 1]
        assert queue.result(tasks[0], block_ms=20_000).state == "done"
        assert queue.len() >= 0


NODE = """
import { Redis } from "ioredis";
import { createClient } from "redis";
import { Queue, Worker, task } from "taskslot";
const [port, ...passwords] = process.argv.slice(2);
const double = task("double", async (n) => 2 * n);
const at = (username, password) => ({ host: "127.0.0.1", port: Number(port), username, password });
const clients = [
  [new Redis(at("producer", passwords[0])), new Redis(at("worker", passwords[1]))],
  await Promise.all([["producer", passwords[0]], ["worker", passwords[1]]].map(([username, password]) =>
    createClient({ username, password, socket: { host: "127.0.0.1", port: Number(port) } }).connect())),
];
const values = [];
for (const [producer, workers] of clients) {
  const queue = new Queue(producer, "jobs:node");
  const worker = new Worker(new Queue(workers, "jobs:node"), [double]);
  const done = worker.run();
  values.push(await queue.value(await queue.push(double.with(21)), { blockMs: 20000 }));
  await worker.close();
  await done;
  queue.close();
  producer.disconnect();
  workers.disconnect();
}
console.log(JSON.stringify(values));
process.exit(0);
"""


def test_producers_and_workers_in_node_can_work(users, installed, pytestconfig):
    """With ioredis and node-redis; on the first of the selected servers only."""
    if installed != chosen(pytestconfig)[0]:
        return
    place = node_client.built()
    script = place / f"users-{users.port}.mjs"
    script.write_text(NODE)
    passwords = [documented()[name][0] for name in ("producer", "worker")]
    try:
        command = [recipes.need("node"), script, users.port, *passwords]
        assert recipes.account(command, cwd=place) == [42, 42]
    finally:
        script.unlink()


def test_the_command_line_can_show_queues(users):
    """`info`, `list` and `top`, to users who may only read too."""
    for name in ("viewer", "operator", "page"):
        at, env = words(users, name)
        assert run(*at, "info", "jobs:mail", env=env).lines
        assert len(run(*at, "list", "jobs:mail", "ready", env=env).lines) == 4, (
            "a line of names, and the tasks"
        )
        assert "jobs:mail" in "\n".join(run(*at, "top", "--once", env=env).lines)


def test_metrics_can_be_read(users):
    """By a user who cannot read payloads."""
    at, env = words(users, "metrics")
    lines = run(*at, "metrics", "--once", env=env).lines
    assert 'taskslot_queue_tasks{queue="jobs:mail",state="ready"} 3.0' in lines
    assert talk_as(users, "metrics")("TASK.GET", "jobs:mail", "1-1").startswith("NOPERM")
    assert talk_as(users, "metrics")("TASK.LIST", "jobs:mail", "ready").startswith("NOPERM")


def test_the_page_can_be_read_and_used(users):
    """`page` reads, `operator` changes."""
    with as_user(users, "page") as client:
        browser = FormClient(create_app(client))
        assert 'href="/queue?key=jobs%3Amail"' in browser.text("/") or "jobs:mail" in browser.text("/")
        assert "p0" in browser.text("/queue?key=jobs:mail&state=ready")


# ---- settings


def outer_address() -> str | None:
    """An address of this machine that is not 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # sends nothing
            address = s.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith(("127.", "0.")) else address


def test_protected_mode_refuses_other_machines(installed, tmp_path):
    """A server that listens everywhere, without a password, answers this machine only; with one, all who know it."""
    address = outer_address()
    if address is None:
        pytest.skip("this machine has no other address")
    port, hold = free_port()
    with hold:
        words = [installed.path, "--port", str(port), "--save", "", "--dir", str(tmp_path)]
        # Before 7.0, a `bind` of any kind turns the protection off.
        process = subprocess.Popen([*words, "--protected-mode", "yes"], stdout=subprocess.DEVNULL)
        try:

            def answer(host: str, said: bytes = b"PING\r\n") -> bytes:
                with socket.create_connection((host, port), timeout=20) as s:
                    s.sendall(said)
                    return s.recv(4096)

            def is_up() -> bool:
                try:
                    return answer("127.0.0.1") == b"+PONG\r\n"
                except OSError:
                    return False

            wait_until(is_up, "the server answers")
            assert answer(address).startswith(b"-DENIED")
            assert answer("127.0.0.1", b"CONFIG SET requirepass x\r\n") == b"+OK\r\n"
            assert answer(address).startswith(b"-NOAUTH")
            assert answer(address, b"AUTH x\r\nPING\r\n").startswith(b"+OK")
        finally:
            process.kill()
            process.wait()


def test_the_module_needs_no_command_that_is_taken_away(start, installed):
    """CONFIG, DEBUG, FLUSHALL and KEYS are renamed away, DEBUG and MODULE are disabled: queues work and are stored."""
    gone = ["CONFIG", "DEBUG", "FLUSHALL", "FLUSHDB", "KEYS", "MONITOR"]
    locked = {"rename_command": [f'{name} ""' for name in gone], "appendonly": "yes"}
    if installed.version >= (7, 0):
        locked |= {"enable_debug_command": "no", "enable_module_command": "no"}
    server = start(**locked)
    c = Talk(server)
    assert all(c(name).startswith("ERR unknown command") for name in gone)
    if installed.version >= (7, 0):
        assert c("MODULE", "LOAD", "/nowhere").startswith("ERR MODULE command not allowed")
    c.push("q", "p", "DELAY", 20)
    server.wait_until(lambda: c("TASK.LEN", "q", "ready") == 1, "it is due")
    handle = c.claim("q", "TIED")
    assert c("EVAL", "return redis.call('TASK.PUSH', 'q', 'x')", 0)
    assert c.many([["MULTI"], ["TASK.PUSH", "q", "x"], ["EXEC"]])[-1]
    assert c("TASK.ACK", "q", handle) == 1
    assert c("BGREWRITEAOF").startswith("Background")
    server.wait_until(lambda: b"aof_rewrite_in_progress:0" in c("INFO", "persistence"), "it is rewritten")
    server.kill9()
    assert Talk(server.start())("TASK.LEN", "q") == 2


def test_a_client_that_reads_nothing_is_disconnected(start):
    """With `client-output-buffer-limit normal`, its replies don't fill the memory; its tied tasks come back."""
    server = start(client_output_buffer_limit="normal 8mb 0 0", client_query_buffer_limit="1gb")
    c = Talk(server)
    for _ in range(4):
        c.push("q", b"x" * 2**20)
    greedy = Talk(server)
    assert len(greedy("TASK.CLAIM", "q", "TIED", "LEASE", 86_400_000)) == 1
    before = used_memory(c)
    greedy.send(*[["TASK.LIST", "q", "ready", "WITHPAYLOAD"]] * 200)
    cut = "the claim of a client that was cut off is over"
    server.wait_until(lambda: c("TASK.LEN", "q", "ready") == 4, cut)
    assert used_memory(c) < before + 64 * 2**20
    assert c.map("TASK.INFO", "q")[b"leased"] == 0
    server.check()


def used_memory(c: Talk) -> int:
    """The server's memory."""
    return int(re.search(rb"used_memory:(\d+)", c("INFO", "memory"))[1])

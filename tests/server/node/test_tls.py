"""TLS is the server's: with it, the libraries, the command line, the page and a replica work as without.

The servers of the wheels were built without TLS, so these tests run on Debian's Redis 7.0.
"""

import asyncio
import ssl

import pytest
import redis
from harness import node_client, recipes
from harness.certificates import Certificates, can_tls
from harness.command_line import run
from harness.server import Server, free_port, wait_synced
from harness.talk import Talk
from redis.backoff import NoBackoff
from redis.retry import Retry
from taskslot import AsyncQueue, Queue, Worker

NODE = """
import { Redis } from "ioredis";
import { createClient } from "redis";
import { readFileSync } from "node:fs";
import { Queue, Worker, task } from "taskslot";

const [port, ca, cert, key] = process.argv.slice(2);
const tls = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
const double = task("double", async (n) => 2 * n);
const values = [];
for (const client of [
  new Redis({ host: "127.0.0.1", port: Number(port), tls }),
  await createClient({ socket: { host: "127.0.0.1", port: Number(port), tls: true, ...tls } }).connect(),
]) {
  const queue = new Queue(client, "node");
  const worker = new Worker(queue, [double]);
  const done = worker.run();
  values.push(await queue.value(await queue.push(double.with(21)), { blockMs: 20000 }));
  await worker.close();
  await done;
  queue.close();
  client.disconnect();
}
console.log(JSON.stringify(values));
"""


class Guarded:
    """A server that is reached by TLS only, and only with a certificate."""

    def __init__(self, server: Server, certificates: Certificates, port: int):
        self.server, self.certificates, self.port = server, certificates, port
        self.options = {
            "ssl": True,
            "ssl_ca_certs": str(certificates.ca),
            "ssl_certfile": str(certificates.certificate("client")),
            "ssl_keyfile": str(certificates.key("client")),
        }
        words = [f"{name}={value}" for name, value in self.options.items() if name != "ssl"]
        self.bare_url = f"rediss://127.0.0.1:{port}"
        self.url = f"{self.bare_url}?{'&'.join(words)}"

    def client(self) -> redis.Redis:
        """A client of redis-py."""
        return redis.Redis(port=self.port, **self.options)


@pytest.fixture
def guarded(installed, start, tmp_path):
    """A server with TLS."""
    if not can_tls(installed):
        pytest.skip("this server was built without TLS")
    certificates = Certificates(tmp_path)
    port, hold = free_port()
    with hold:
        yield Guarded(start(**certificates.settings(port)), certificates, port)


def test_the_python_library_works_over_tls(guarded):
    """Sync and asyncio, a worker, waits and results; on a connection that is kept."""
    with guarded.client() as client, Queue(client, "mail") as queue:
        before = client.info("stats")["total_connections_received"]
        for n in range(20):
            queue.push(str(n))
        assert client.info("stats")["total_connections_received"] <= before + 2, "it keeps its connections"
        assert queue.purge("ready") == 20
        worker, got = Worker(queue), []

        @worker.task
        def work(n: int) -> None:
            got.append(n)
            if len(got) == 20:
                worker.stop()

        for n in range(20):
            queue.push(work.call(n))
        assert worker.run(signals=False) == 0
        assert sorted(got) == list(range(20))

    async def main() -> None:
        async with redis.asyncio.Redis(port=guarded.port, **guarded.options) as client:
            queue = AsyncQueue(client, "mail")
            task = await queue.push("a", retain_ms=60_000)
            (claimed,) = await queue.claim(block_ms=20_000)
            waits = asyncio.create_task(queue.result(task, block_ms=20_000))
            await queue.ack(claimed, result="done")
            assert (await waits).value == b"done"

    asyncio.run(main())


def test_the_library_for_node_works_over_tls(guarded):
    """With ioredis and node-redis."""
    place = node_client.built()
    script = place / f"tls-{guarded.port}.mjs"
    script.write_text(NODE)
    c = guarded.certificates
    files = [c.ca, c.certificate("client"), c.key("client")]
    try:
        assert recipes.account([recipes.need("node"), script, guarded.port, *files], cwd=place) == [42, 42]
    finally:
        script.unlink()


def test_the_command_line_works_over_tls(guarded):
    """The URL names the files. Errors are one line, and name no file's contents."""
    (task,) = run("--url", guarded.url, "push", "mail", "hello").lines
    assert task in run("--url", guarded.url, "list", "mail", "ready").output.decode()
    assert "mail" in run("--url", guarded.url, "top", "--once").output.decode()
    found = run("--url", guarded.url, "doctor", "--json", status=1)
    assert found.lines, "it judges the server, which has no settings for production"
    for url in (guarded.bare_url, f"redis://127.0.0.1:{guarded.port}"):
        (line,) = run("--url", url, "info", "mail", status=1).errors
        assert str(guarded.port) in line


def test_the_page_works_over_tls(guarded):
    """It reads the server by TLS. The page itself gets TLS from a proxy."""
    from harness.web import FormClient, create_app

    Queue(guarded.client(), "mail").push("hello")
    with guarded.client() as client:
        assert 'href="/queue?key=mail"' in FormClient(create_app(client)).text("/")


def test_a_replica_gets_queues_over_tls(guarded, start):
    """With `tls-replication yes` the whole stream is encrypted."""
    primary, port = guarded.server, free_port()
    replica = start(**guarded.certificates.settings(port[0]))
    c = Talk(primary)
    c.push()
    assert Talk(replica)("REPLICAOF", "127.0.0.1", guarded.port) == "OK"
    wait_synced(primary, replica)
    c.push()
    wait_synced(primary, replica)
    assert Talk(replica).digest() == c.digest()
    port[1].close()


def test_nobody_reaches_it_without_a_certificate_or_in_clear(guarded, tmp_path):
    """Neither by plain TCP nor with a certificate of another authority; and the client checks the server's."""
    (tmp_path / "other").mkdir()
    other = Certificates(tmp_path / "other")
    strange = {"ssl_certfile": str(other.certificate("client")), "ssl_keyfile": str(other.key("client"))}
    mine = guarded.options
    for options in (
        {},
        {"ssl": True, "ssl_ca_certs": mine["ssl_ca_certs"]},
        {**mine, **strange},
        {**mine, "ssl_ca_certs": str(other.ca)},
    ):
        with pytest.raises((redis.ConnectionError, ssl.SSLError)):
            redis.Redis(port=guarded.port, retry=Retry(NoBackoff(), 0), **options).ping()
    assert guarded.client().ping()

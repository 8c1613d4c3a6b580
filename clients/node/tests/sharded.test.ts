/** Sharded queues: the rule that all languages share, on a single server and on a cluster. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { type Client, ShardedQueue, Worker, chain, task } from "taskslot";

import { CLUSTER, clientOf, clusterOf, newName, newQueue, shardedOf, until } from "./support.js";

const add = task("add", async (a: number, b: number) => a + b);

test("the names of shards are those of the server", async () => {
  const queue = await newQueue();
  for (const number of [1, 7, 300]) {
    const told = await queue.wire.run({
      words: ["TASK.SHARDS", queue.name, number],
      read: (reply) => (reply as Buffer[]).map(String),
    });
    const sharded = new ShardedQueue(await clientOf(), queue.name, { shards: number });
    assert.deepEqual(sharded.keys, told);
  }
  const client = await clientOf();
  assert.throws(() => new ShardedQueue(client, "a{b}", { shards: 2 }), RangeError);
  assert.throws(() => new ShardedQueue(client, "a", { shards: 0 }), RangeError);
});

test("groups, tokens and batches go to the shards that the Python library gives them", async () => {
  const queue = shardedOf(await clientOf(), 7);
  const shard = async (options: object): Promise<string | undefined> =>
    (await queue.push("x", options)).id.split("/")[0];
  // binascii.crc_hqx(name.encode(), 0) % 7: more than 14 bits, no braces, UTF-8.
  assert.deepEqual(
    await Promise.all(["acme", "ünï", "{acme}x", "customer-1"].map((group) => shard({ group }))),
    PLACES,
  );
  assert.deepEqual(
    await Promise.all(["acme", "ünï", "{acme}x", "customer-1"].map((unique) => shard({ unique }))),
    PLACES,
  );
  await queue.withBatch("{acme}import", "callback", async (batch) => {
    assert.equal((await batch.push("x", { group: "acme" })).id.split("/")[0], PLACES[0]);
    await assert.rejects(batch.push("x", { group: "customer-1" }), /must be on one shard/);
  });
  await assert.rejects(queue.push("x", { after: ["1/1-0"], group: "acme" }), /must be on one shard/);
  const first = await queue.push("r", { request: "token" });
  assert.deepEqual(await queue.push("r", { request: "token" }), first);
});

const PLACES = ["0", "3", "0", "4"];

test("the shards of names are those of the worker protocol's test vectors", async () => {
  const queue = shardedOf(await clientOf(), 48);
  const vectors = {
    "123456789": [19, 19],
    acme: [8, 8],
    "order:7": [16, 16],
    "{acme}import-7": [24, 8],
    "a{}b": [14, 14],
    Zoë: [28, 28],
  };
  for (const [name, [group, batch]] of Object.entries(vectors)) {
    assert.equal((await queue.push("x", { group: name })).id.split("/")[0], `${group}`, name);
    assert.equal((await queue.openBatch(name, "x")).id.split("/")[0], `${batch}`, name);
  }
});

test("tasks without a name spread evenly", async () => {
  const queue = shardedOf(await clientOf(), 4);
  for (let n = 0; n < 80; n++) await queue.push(`${n}`);
  const sizes = Object.values(await queue.infos()).map((info) => info.ready);
  assert.equal(
    sizes.reduce((a, b) => a + b),
    80,
  );
  assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 8, `${sizes}`);
});

test("ids and handles name their shard, in every method", async () => {
  const queue = shardedOf(await clientOf(), 3);
  const ids = await queue.pushMany(
    Array.from({ length: 250 }, (_, n) => `${n}`),
    { retainMs: 60_000 },
  );
  assert.equal(new Set(ids).size, 250);
  const tasks = [];
  for (let some; (some = await queue.claim(100, { meta: true })).length;) tasks.push(...some);
  assert.deepEqual(new Set(tasks.map(({ id }) => id)), new Set(ids));
  assert.ok((await queue.extendMany(tasks)).every((deadline) => deadline > Date.now()));
  assert.ok((await queue.ackMany(tasks)).every((answer) => answer === 1));
  assert.equal((await queue.result(ids[200] as string))?.state, "done");
  assert.equal((await queue.get(ids[249] as string))?.id, ids[249]);
  assert.equal(await queue.purgeTasks(...ids), 250);
  const flow = (await queue.pushFlow(chain("a", "b"))) as string[];
  assert.deepEqual((await queue.get(flow[1] as string))?.waitsFor, [flow[0]]);
  assert.deepEqual(await queue.cancelMany([...flow].reverse()), ["removed", "removed"]);
  await assert.rejects(queue.get("1795334211134-0"), /begins with its shard/);
  await queue.configure({ attempts: 3 });
  assert.equal((await queue.settings())?.attempts, 3);
});

describe("on a cluster", { skip: CLUSTER ? false : "TASKSLOT_CLUSTER is not set" }, () => {
  for (const kind of ["ioredis", "node-redis"] as const) {
    test(`every command goes to the node of its key, and workers find tasks on all nodes (${kind})`, async () => {
      const client = await clusterOf(kind);
      const queue = shardedOf(client, 6);
      await queue.push("warm", { group: "warm" });
      await queue.purge("all");
      const before = await moved(client);
      const worker = new Worker(queue, [add], { leaseMs: 2000 });
      const run = worker.run({ signals: false });
      const pushed = await Promise.all(
        Array.from({ length: 60 }, (_, n) => queue.push(add.with(n, 1), { group: `g${n % 20}` })),
      );
      const values = await Promise.all(pushed.map((one) => queue.value(one, { blockMs: 20_000 })));
      assert.equal(
        values.reduce((a, b) => a + b),
        (60 * 61) / 2,
      );
      const workers = await queue.workers();
      assert.ok(workers.every(({ name }) => name === worker.name));
      await worker.close();
      await run;
      assert.equal(await moved(client), before);
    });
  }

  test("a worker on one client runs what another has pushed", async () => {
    const name = newName();
    const [one, other] = [
      new ShardedQueue(await clusterOf("ioredis"), name, { shards: 5 }),
      new ShardedQueue(await clusterOf("node-redis"), name, { shards: 5 }),
    ];
    const worker = new Worker(other, [add]);
    const run = worker.run({ signals: false });
    await until(
      "a few tasks are done",
      async () => (await one.value(await one.push(add.with(1, 1)), { blockMs: 10_000 })) === 2,
    );
    await worker.close();
    await run;
    one.close();
    other.close();
  });
});

/** The number of commands that went to a node without their key (from Redis 6.2 on). */
async function moved(client: Client): Promise<number> {
  let sum = 0;
  const nodes =
    "nodes" in client
      ? (client as unknown as { nodes(role: string): { info(part: string): Promise<string> }[] }).nodes("master")
      : [];
  for (const node of nodes) sum += Number(/errorstat_MOVED:count=(\d+)/.exec(await node.info("errorstats"))?.[1] ?? 0);
  return sum;
}

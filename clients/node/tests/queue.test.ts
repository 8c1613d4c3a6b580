/** A queue's methods on a real server, with each kind of client. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import {
  type PushOptions,
  type Queue,
  CancelAsked,
  LeaseLost,
  NotDone,
  Paused,
  QueueFull,
  Refused,
  UnknownTask,
  WrongType,
  call,
  chain,
  chord,
  group,
  kwargs,
  step,
} from "taskslot";

import { KINDS, Proxy, clientOf, newQueue, until } from "./support.js";

/** Claim tasks and ack them, with their payload as the result. */
async function workOff(queue: Queue, count: number): Promise<string[]> {
  const tasks = await queue.claim(count, { meta: true });
  for (const task of tasks) await queue.ack(task, { result: task.payload });
  return tasks.map((task) => task.payload.toString());
}

for (const kind of KINDS) {
  describe(`with ${kind}`, () => {
    test("bytes arrive as they were pushed, and results come back as they were given", async () => {
      const queue = await newQueue(kind);
      const bytes = Buffer.from([0, 255, 13, 10, 0xc3]);
      const { id, isNew } = await queue.push(new Uint8Array(bytes), {
        retainMs: 60_000,
        headers: { "content-type": "x/y", b: bytes },
      });
      assert.equal(isNew, true);
      const [task] = await queue.claim(1, { blockMs: 1000, meta: true, leaseMs: 5000, worker: "w" });
      assert.ok(task?.meta);
      assert.equal(task.id, id);
      assert.deepEqual(task.payload, bytes);
      assert.deepEqual({ ...task.meta.headers }, { "content-type": Buffer.from("x/y"), b: bytes });
      assert.equal(task.deliveries, 1);
      assert.ok((await queue.extend(task, { progress: "half" })) > Date.now());
      const view = await queue.get(task);
      assert.equal(view?.state, "leased");
      assert.equal(view.worker, "w");
      assert.equal(view.leaseMs, 5000);
      assert.equal(view.tied, false);
      assert.deepEqual(view.progress, Buffer.from("half"));
      const waits = queue.result(id, { blockMs: 5000 });
      assert.equal(await queue.ack(task, { result: bytes }), true);
      assert.deepEqual(await waits, { state: "done", value: bytes, error: null });
      assert.equal(await queue.ack(task), false);
    });

    test("errors are classes, with the code of the server", async () => {
      const queue = await newQueue(kind);
      const one = await queue.push("a");
      const [task] = await queue.claim();
      assert.ok(task);
      await queue.requeue(task);
      await assert.rejects(queue.extend(task), (error) => error instanceof LeaseLost && error.code === "STALE");
      await queue.configure({ maxLen: 1 });
      assert.equal((await queue.settings())?.maxLen, 1);
      await assert.rejects(queue.push("b"), QueueFull);
      await queue.pause("in");
      await assert.rejects(queue.push("b"), Paused);
      await queue.resume("in");
      const [again] = await queue.claim();
      assert.equal(await queue.cancel(one), "asked");
      await assert.rejects(queue.extend(again as never), CancelAsked);
      await assert.rejects(queue.result("1-0"), UnknownTask);
      await assert.rejects(
        queue.push("b", { priority: 1000 }),
        (error) => error instanceof Refused && error.code === "ERR",
      );
      await assert.rejects(queue.push("b", { delay: 5 } as never), /unknown option delay/);
      await assert.rejects(queue.push("b", { at: Date.now() / 1000 }), RangeError);
      const string = await newQueue(kind);
      await string.wire.run({ words: ["SET", string.name, "x"], read: String });
      await assert.rejects(string.push("a"), WrongType);
    });

    test("info, list and groups are typed", async () => {
      const queue = await newQueue(kind);
      await queue.setGroup("acme", { weight: 3, ordered: true });
      await queue.push("later", { delayMs: 60_000 });
      await queue.push("now", { group: "acme", priority: 7 });
      const info = await queue.info();
      assert.ok(info);
      assert.deepEqual([info.ready, info.delayed, info.held, info.pushed], [1, 1, 0, 2]);
      assert.equal(typeof info.inPerSecond1m, "number");
      assert.equal(typeof info.load.utilisation, "number");
      assert.equal(info.heldBy, "");
      const [acme] = await queue.groups();
      assert.deepEqual([acme?.name, acme?.weight, acme?.ordered, acme?.ready], ["acme", 3, true, 1]);
      const found = [];
      for await (const view of queue.tasks("ready", { payloads: true, match: "n*" })) found.push(view);
      assert.deepEqual(
        found.map((one) => [one.payload?.toString(), one.priority, one.group]),
        [["now", 7, "acme"]],
      );
      assert.equal(await queue.length(), 2);
      assert.equal(await queue.length("delayed"), 1);
    });

    test("a waiting claim gets the next push, and one that is over gets nothing", async () => {
      const queue = await newQueue(kind);
      const waits = queue.claim(1, { blockMs: 10_000 });
      await until(
        "the claim waits",
        async () =>
          (await queue.info())?.blockedWorkers === 1 ||
          (await queue.length()) > 0 ||
          (await queue.push("x", { unique: "x" })),
      );
      assert.equal((await waits).length, 1);
      assert.deepEqual(await queue.claim(1, { blockMs: 30 }), []);
    });
  });
}

test("a unique task is pushed once, found by its token, and can be postponed", async () => {
  const queue = await newQueue();
  const first = await queue.push("a", { unique: "u", delayMs: 60_000 });
  const second = await queue.push("b", { unique: "u", replace: true, postpone: true, delayMs: 120_000 });
  assert.deepEqual(second, { id: first.id, isNew: false });
  const view = await queue.get({ unique: "u" });
  assert.equal(view?.payload?.toString(), "b");
  assert.ok((view.due as number) > Date.now() + 60_000);
  assert.equal(await queue.set({ unique: "u" }, { delayMs: 0, priority: 3, headers: { a: "b" } }), true);
  assert.equal((await queue.get(first))?.state, "ready");
  assert.equal(await queue.cancel({ unique: "u" }), "removed");
});

test("the same request pushes once, many and one", async () => {
  const queue = await newQueue();
  const ids = [await queue.push("a", { request: "r" }), await queue.push("a", { request: "r" })];
  assert.equal(ids[0]?.id, ids[1]?.id);
  const payloads = Array.from({ length: 1500 }, (_, n) => `p${n}`);
  const many = await queue.pushMany(payloads, { request: "m" });
  assert.equal(new Set(many).size, 1500);
  assert.deepEqual(await queue.pushMany(payloads, { request: "m" }), many);
  assert.equal(await queue.length(), 1501);
  assert.equal(await queue.purge("all", { count: 1000 }), 1000);
});

test("a failed task is delayed or dead, keeps its errors, and can be retried", async () => {
  const queue = await newQueue();
  await queue.configure({ errorsKept: 5 });
  const { id } = await queue.push("a");
  let [task] = await queue.claim();
  assert.equal(await queue.fail(task as never, "first", { delayMs: 60_000, progress: "1" }), 60_000);
  assert.equal(await queue.retry(id), 1);
  [task] = await queue.claim(1, { meta: true });
  assert.equal(task?.meta?.progress?.toString(), "1");
  assert.equal(await queue.fail(task as never, "second", { dead: true }), -1);
  const view = await queue.get(id);
  assert.deepEqual(
    view?.errors.map(({ attempt, error }) => [attempt, error]),
    [
      [1, "first"],
      [2, "second"],
    ],
  );
  await assert.rejects(
    queue.value(id),
    (error) => error instanceof NotDone && error.state === "dead" && error.error === "second",
  );
  assert.equal(await queue.retryDead(), 1);
  assert.equal((await queue.get(id))?.state, "ready");
  assert.equal(await queue.purgeTasks(id), 1);
  assert.equal(await queue.get(id), null);
});

test("a batch counts its tasks and runs its callback", async () => {
  const queue = await newQueue();
  const ids = await queue.withBatch("news", "report", async (batch, callback) => {
    assert.equal(callback.isNew, true);
    await batch.push("a");
    return batch.pushMany(["b", "c"]);
  });
  assert.equal(ids.length, 2);
  const info = await queue.batchInfo("news");
  assert.deepEqual([info?.state, info?.tasks, info?.open], ["closed", 3, 3]);
  assert.deepEqual(
    (await queue.batches()).map(({ name }) => name),
    ["news"],
  );
  const [a, b, c] = await queue.claim(3);
  await queue.ackMany([a, b] as never);
  await queue.fail(c as never, "no", { dead: true });
  const [report] = await queue.claim(1, { meta: true });
  assert.equal(report?.payload.toString(), "report");
  assert.equal(report.meta?.callbackOf, "news");
  assert.deepEqual(report.meta.counts, { tasks: 3, done: 2, dead: 1, cancelled: 0, expired: 0, purged: 0 });
  await queue.ack(report);
  assert.equal(await queue.batchInfo("news"), null);
});

test("a batch whose block throws is deleted", async () => {
  const queue = await newQueue();
  await assert.rejects(
    queue.withBatch("b", "report", () => Promise.reject(new Error("no"))),
    /no/,
  );
  assert.equal(await queue.batchInfo("b"), null);
});

test("a flow runs in its order, and its ids have its shape", async () => {
  const queue = await newQueue();
  const flow = chain("a", group("b1", chain("b2", "b3"), step("b4", { priority: 1 })), "c");
  const ids = await queue.pushFlow(flow, { request: "f" });
  assert.ok(Array.isArray(ids) && Array.isArray(ids[1]) && Array.isArray(ids[1][1]));
  assert.deepEqual(await queue.pushFlow(flow, { request: "f" }), ids);
  assert.equal(await queue.length("held"), 5);
  assert.deepEqual(await workOff(queue, 10), ["a"]);
  assert.deepEqual(await workOff(queue, 10), ["b4", "b1", "b2"]);
  assert.deepEqual(await workOff(queue, 10), ["b3"]);
  const last = await queue.get(ids[2] as string);
  assert.deepEqual(last?.after, [ids[1][0], ids[1][1][1], ids[1][2]]);
  assert.deepEqual(await workOff(queue, 10), ["c"]);
  await queue.pushFlow(chord(["x", "y"], "z"));
  assert.deepEqual([...(await workOff(queue, 10)), ...(await workOff(queue, 10))], ["x", "y", "z"]);
});

test("a task that waits for others runs when they are done, and the next step comes with an ack", async () => {
  const queue = await newQueue();
  const first = await queue.push("first");
  const second = await queue.push("second", { after: [first], onDead: "run" });
  assert.equal((await queue.get(second))?.state, "held");
  const [task] = await queue.claim();
  const next = await queue.ackAndPush(task as never, "next", { priority: 5 }, { result: "r", retainMs: 1000 });
  assert.deepEqual(await workOff(queue, 5), ["next", "second"]);
  assert.equal(next?.isNew, true);
  assert.equal(await queue.ackAndPush(task as never, "twice"), null);
});

test("a schedule is set, run and removed", async () => {
  const queue = await newQueue();
  assert.equal(
    await queue.schedule("nightly", call("report"), { cron: "30 2 * * *", tz: "Europe/Berlin", catchup: "none" }),
    true,
  );
  assert.equal(await queue.schedule("often", "x", { everyMs: 60_000, retainMs: 5 }), true);
  const [nightly, often] = await queue.schedules();
  assert.deepEqual(
    [nightly?.cron, nightly?.tz, nightly?.disabled, often?.every],
    ["30 2 * * *", "Europe/Berlin", false, 60_000],
  );
  assert.equal(nightly?.payload?.toString(), '{"task":"report","args":[],"kwargs":{}}');
  const id = await queue.runSchedule("nightly");
  assert.equal((await queue.get(id))?.state, "ready");
  assert.equal(await queue.unschedule("nightly"), true);
});

test("a call is the envelope of all languages", () => {
  assert.equal(
    `${call("mail.send", "bob", kwargs({ subject: "hi" }))}`,
    '{"task":"mail.send","args":["bob"],"kwargs":{"subject":"hi"}}',
  );
  assert.throws(() => `${call("f", 1n)}`, TypeError);
});

/** Wait for results of `count` tasks, longer than a slice, and end the tasks. */
async function waitForAll(count: number, options: PushOptions): Promise<void> {
  const queue = await newQueue();
  const waits = [];
  for (let n = 0; n < count; n++) waits.push(queue.result(await queue.push(`${n}`, options), { blockMs: 20_000 }));
  const all = Promise.all(waits);
  all.catch(() => undefined); // it is awaited below
  const tasks = await queue.claim(count);
  const began = Date.now();
  await until("a slice has ended", () => Date.now() - began > 1100);
  for (const task of tasks) await queue.ack(task, { result: task.payload });
  assert.deepEqual(
    (await all).map((one) => Number(one?.value)),
    Array.from({ length: count }, (_, n) => n),
  );
}

test("a result that is not kept reaches those who wait, over the ends of slices", () => waitForAll(20, {}));

test("more waits than there are connections take turns", () => waitForAll(40, { retainMs: 60_000 }));

for (const kind of ["ioredis", "node-redis"] as const) {
  test(`a push whose reply is lost is sent again, and adds nothing (${kind})`, async () => {
    const proxy = await Proxy.open();
    const queue = await newQueue(kind, proxy.port);
    await queue.push("warm");
    proxy.losesRepliesTo = "TASK.PUSH";
    const pushed = queue.push("a");
    const direct = await newQueue(kind);
    await until(
      "it has arrived",
      async () => (await direct.wire.run({ words: ["TASK.LEN", queue.name], read: Number })) === 2,
    );
    proxy.losesRepliesTo = undefined;
    proxy.cut();
    assert.equal((await pushed).isNew, true);
    assert.equal(await queue.length(), 2);
  });

  test(`a server that stays away is reported with the client's error (${kind})`, async () => {
    const { Queue } = await import("taskslot");
    const proxy = await Proxy.open();
    const queue = new Queue(await clientOf(kind, proxy.port), "away", { patienceMs: 300 });
    proxy.isAway = true;
    proxy.cut();
    await assert.rejects(queue.claim(1, { blockMs: 50 }));
    queue.close();
  });
}

test("what is no client is refused at once", async () => {
  const { Queue } = await import("taskslot");
  assert.throws(() => new Queue({} as never, "q"), /expected a client/);
});

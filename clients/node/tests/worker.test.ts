/** Workers on a real server: outcomes, leases, stops, and connections that break. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { setTimeout as rest } from "node:timers/promises";

import {
  type BaseQueue,
  type TaskFunction,
  type WorkerOptions,
  CancelAsked,
  Fail,
  GiveBack,
  LeaseLost,
  NotDone,
  Worker,
  call,
  chain,
  current,
  group,
  kwargs,
  task,
} from "taskslot";

import { KINDS, Proxy, SERVER, clientOf, newQueue, shardedOf, until } from "./support.js";

type Tasks = TaskFunction<never, unknown>[];

/** A worker that runs until the block ends. */
async function working<T>(
  queue: BaseQueue,
  tasks: Tasks,
  use: (worker: Worker, log: string[]) => Promise<T>,
  options: WorkerOptions = {},
): Promise<T> {
  const log: string[] = [];
  const worker = new Worker(queue, tasks, { log: (line) => log.push(line), ...options });
  const run = worker.run({ signals: false });
  try {
    return await use(worker, log);
  } finally {
    await worker.close({ graceMs: 1000 });
    await run;
  }
}

class SmtpError extends Error {}

const add = task("add", async (a: number, b: number) => a + b);

/** A promise, and the function that fulfils it. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}

// Each waits for the end of its worker's last claim, up to a second, so they run side by side.
describe("a worker", { concurrency: 8 }, () => {
  for (const kind of KINDS) {
    test(`a worker runs tasks, and results come back (${kind})`, async () => {
      const queue = await newQueue(kind);
      await working(queue, [add], async () => {
        const pushed = await Promise.all(Array.from({ length: 50 }, (_, n) => queue.push(add.with(n, 1))));
        const values: number[] = await Promise.all(pushed.map((one) => queue.value(one, { blockMs: 10_000 })));
        assert.deepEqual(
          values,
          Array.from({ length: 50 }, (_, n) => n + 1),
        );
      });
    });
  }

  test("outcomes are those of the worker protocol", async () => {
    const queue = await newQueue();
    await queue.configure({ backoffBase: 3_600_000 });
    const tasks = [
      task("nothing", () => undefined),
      task("named", (a: string, named: object) => [a, named]),
      task("throws", () => {
        throw new RangeError("too far");
      }),
      task("dead", () => {
        throw new Fail("for good", { dead: true });
      }),
      task("soon", () => {
        throw new Fail(new TypeError("once more"), { delayMs: 120_000, progress: "p" });
      }),
      task("back", () => {
        throw new GiveBack({ delayMs: 120_000, progress: "q" });
      }),
      task("bigint", () => 1n),
      task("long", () => {
        throw new Error("ä".repeat(5000));
      }),
      task("own", () => {
        throw new SmtpError("550");
      }),
      task("string", () => {
        throw "a string";
      }),
    ];
    await working(queue, tasks, async (worker) => {
      const end = async (payload: Parameters<BaseQueue["push"]>[0]) => {
        const { id } = await queue.push(payload);
        await until("it has ended", async () => {
          const view = await queue.get(id);
          return view && !["ready", "leased"].includes(view.state);
        });
        return (await queue.get(id)) as NonNullable<Awaited<ReturnType<BaseQueue["get"]>>>;
      };
      const nothing = await end(call("nothing"));
      assert.deepEqual([nothing.state, nothing.result], ["done", undefined]);
      assert.ok(Math.abs((nothing.keptUntil as number) - (nothing.doneSince as number) - 60_000) < 10);
      assert.equal((await end(call("named", "x", kwargs({ y: 1 })))).result?.toString(), '["x",{"y":1}]');
      const thrown = await end(call("throws"));
      assert.equal(thrown.state, "delayed");
      const lines = thrown.error?.split("\n") ?? [];
      assert.equal(lines[0], "RangeError: too far");
      assert.match(lines[1] ?? "", /^ {4}at .*worker\.test/);
      assert.ok(lines.every((line) => !line.includes("node:")));
      const dead = await end(call("dead"));
      assert.deepEqual([dead.state, dead.error], ["dead", "for good"]);
      const soon = await end(call("soon"));
      assert.deepEqual([soon.state, soon.failures, soon.progress?.toString()], ["delayed", 1, "p"]);
      assert.match(soon.error ?? "", /^TypeError: once more\n/);
      const back = await end(call("back"));
      assert.deepEqual([back.state, back.failures, back.progress?.toString()], ["delayed", 0, "q"]);
      const bigint = await end(call("bigint"));
      assert.deepEqual([bigint.state, bigint.error?.split(":")[0]], ["dead", "the result can't be written as JSON"]);
      const long = await end(call("long"));
      assert.ok(Buffer.byteLength(long.error ?? "") <= 4096 && long.error?.endsWith("ä"));
      assert.equal((await end(call("string"))).error, "Error: a string");
      assert.equal((await end(call("own"))).error?.split("\n")[0], "SmtpError: 550");
      assert.deepEqual(
        [(await end(call("who?"))).state, (await end(call("who?"))).error],
        ["delayed", "UnknownFunction: no function 'who?'"],
      );
      for (const payload of [
        "no json",
        "[]",
        '{"task":1}',
        '{"task":"add","args":{}}',
        Buffer.from('"\xff"', "latin1"),
      ]) {
        assert.equal((await end(payload)).state, "dead", `${payload}`);
      }
      assert.equal(worker.running, 0);
    });
  });

  test("an error whose own code throws is a failure like any other", async () => {
    const queue = await newQueue();
    await queue.configure({ attempts: 1 });
    const thrower = (): never => {
      throw new Error("mean");
    };
    class Mean extends Error {
      override get message(): string {
        return thrower();
      }
    }
    const mean = task("mean", () => {
      throw new Mean();
    });
    const proxy = task("proxy", () => {
      throw new globalThis.Proxy(new Error("x"), { get: thrower, getPrototypeOf: thrower });
    });
    const nameless = task("nameless", () => {
      throw Object.defineProperty({}, "name", { get: thrower });
    });
    const json = task("json", () => ({
      toJSON() {
        throw new Mean();
      },
    }));
    await working(queue, [mean, proxy, nameless, json], async () => {
      const shown = "Error: an error that cannot be shown";
      for (const [one, error] of [
        [mean, shown],
        [proxy, shown],
        [nameless, shown],
        [json, `the result can't be written as JSON: ${shown}`],
      ] as const) {
        const { id } = await queue.push(one.with());
        assert.equal((await queue.result(id, { blockMs: 20_000 }))?.state, "dead");
        assert.equal((await queue.get(id))?.error, error, one.name);
      }
    });
  });

  test("the log shows no control characters, and no lines but those of a stack", async () => {
    const queue = await newQueue();
    await queue.configure({ attempts: 1 });
    const mean = "\x1b]0;pwn\x07\u2028\ud800\n12:00:00 FORGED";
    const boom = task("boom", (text: string) => {
      throw new Error(text);
    });
    await working(queue, [boom], async (_, log) => {
      for (const one of [call(mean), boom.with(mean), boom.with("x".repeat(1_000_000))]) await queue.push(one);
      await until("all are logged", () => log.filter((line) => line.includes("now dead")).length === 3);
      for (const line of log.flatMap((text) => text.split(/\n(?= +at )/))) assert.doesNotMatch(line, /[\p{C}\p{Zl}]/u);
      assert.ok(log.some((text) => text.includes("\\x1b]0;pwn\\x07\\u{2028}\\u{d800}\\n12:00:00 FORGED\n    at ")));
      assert.ok(log.every((text) => text.length < 10_000));
    });
  });

  test("a lease is extended while the function runs, whoever set its length", async () => {
    const queue = await newQueue();
    for (const leaseMs of [1500, undefined]) {
      await queue.configure({ lease: 1500 });
      const ends = gate();
      const slow = task("slow", () => ends.opened);
      await working(
        queue,
        [slow],
        async () => {
          const { id } = await queue.push(slow.with());
          await until("it is extended", async () => {
            const view = await queue.get(id);
            return view?.claimed && (view.deadline as number) - view.claimed > 2000;
          });
          ends.open();
          assert.equal((await queue.result(id, { blockMs: 5000 }))?.state, "done");
          assert.equal((await queue.get(id))?.deliveries, 1);
        },
        leaseMs === undefined ? {} : { leaseMs },
      );
    }
  });

  test("a cancelled task aborts its signal, and ends", async () => {
    const queue = await newQueue();
    let reason: unknown;
    const slow = task("slow", async () => {
      const { signal } = current();
      await rest(60_000, undefined, { signal }).catch((error: Error) => {
        reason = signal.reason;
        throw error;
      });
    });
    await working(
      queue,
      [slow],
      async () => {
        const { id } = await queue.push(slow.with());
        await until("it runs", async () => (await queue.get(id))?.state === "leased");
        assert.equal(await queue.cancel(id), "asked");
        await until("it is gone", async () => (await queue.get(id)) === null);
        assert.ok(reason instanceof CancelAsked);
      },
      { leaseMs: 3000 },
    );
  });

  test("a lost lease aborts the signal, and what the function throws is dropped", async () => {
    const queue = await newQueue();
    let reason: unknown;
    let handle = "";
    const slow = task("slow", async () => {
      const { signal, task: own } = current();
      handle = own.handle;
      await once(signal, "abort");
      reason = signal.reason;
      throw new Error("dropped");
    });
    await working(
      queue,
      [slow],
      async (worker, log) => {
        const { id } = await queue.push(slow.with());
        await until("it runs", () => handle);
        await queue.requeue(handle, { delayMs: 60_000 });
        await until("it has stopped", () => reason !== undefined && worker.running === 0);
        assert.ok(reason instanceof LeaseLost);
        assert.equal((await queue.get(id))?.failures, 0);
        assert.ok(log.some((line) => /^task \S+ lost its lease: its function is asked to stop$/.test(line)));
      },
      { leaseMs: 3000 },
    );
  });

  test("progress is stored, and the next attempt gets it", async () => {
    const queue = await newQueue();
    const found: (string | undefined)[] = [];
    const steps = task("steps", async () => {
      const context = current();
      found.push(context.lastProgress?.toString());
      await context.progress("step 1");
      if (found.length === 1) throw new Fail("again", { delayMs: 0 });
      await assert.rejects(context.progress("x".repeat(5000)), RangeError);
      return "through";
    });
    await working(queue, [steps], async () => {
      assert.equal(await queue.value(await queue.push(steps.with()), { blockMs: 10_000 }), "through");
      assert.deepEqual(found, [undefined, "step 1"]);
    });
  });

  test("a function names the next step, and reads the results of those before", async () => {
    const queue = await newQueue();
    const start = task(
      "start",
      (n: number) => void current().next(add.with(n, 1), { retainMs: 60_000, headers: { a: "b" } }),
    );
    const sum = task("sum", async () => (await current().results<number>()).reduce((a, b) => a + b));
    const errors = task("errors", async () =>
      (await current().resultsOrErrors()).map((one) => one instanceof NotDone && one.error),
    );
    const dead = task("dead", () => {
      throw new Fail("no", { dead: true });
    });
    await working(queue, [add, start, sum, errors, dead], async (worker) => {
      const values: unknown[] = [];
      worker.on("done", (_, value) => values.push(value));
      await queue.push(start.with(41));
      await until("both are done", () => values.length === 2);
      assert.deepEqual(values, [undefined, 42]);
      const ids = await queue.pushFlow(chain(group(add.with(1, 2), add.with(3, 4)), sum.with()));
      assert.equal(await queue.value((ids as string[])[1] as string, { blockMs: 10_000 }), 10);
      const bad = await queue.push(dead.with());
      assert.deepEqual(
        await queue.value(await queue.push(errors.with(), { after: [bad], onDead: "run" }), { blockMs: 10_000 }),
        ["no"],
      );
    });
  });

  test("a task pushes into its batch, and the callback sees the counts", async () => {
    const queue = await newQueue();
    const more = task(
      "more",
      async (n: number): Promise<void> => void (n && (await current().batch?.push(more.with(n - 1)))),
    );
    const report = task("report", () => current().counts);
    await working(queue, [more, report], async () => {
      const id = await queue.withBatch(
        "b",
        report.with(),
        async (batch, callback) => {
          await batch.push(more.with(3));
          return callback.id;
        },
        { retainMs: 60_000 },
      );
      assert.deepEqual(await queue.value(id, { blockMs: 10_000 }), {
        tasks: 4,
        done: 4,
        dead: 0,
        cancelled: 0,
        expired: 0,
        purged: 0,
      });
    });
  });

  test("close waits for running tasks, and claims no more", async () => {
    const queue = await newQueue();
    const ends = gate();
    const slow = task("slow", () => ends.opened.then(() => "whole"));
    const worker = new Worker(queue, [slow], { concurrency: 1 });
    const run = worker.run({ signals: false });
    const [one, two] = [await queue.push(slow.with()), await queue.push(slow.with())];
    await until("one runs", () => worker.running === 1);
    const closed = worker.close();
    ends.open();
    assert.deepEqual([await closed, await run], [0, 0]);
    assert.equal(await queue.value(one), "whole");
    assert.equal((await queue.get(two))?.state, "ready");
  });

  test("close gives back what takes longer than the grace, and aborts it", async () => {
    const queue = await newQueue();
    let signal: AbortSignal | undefined;
    const slow = task("slow", () => {
      signal = current().signal;
      return new Promise<void>((resolve) => signal?.addEventListener("abort", () => resolve()));
    });
    const worker = new Worker(queue, [slow]);
    const run = worker.run({ signals: false });
    const { id } = await queue.push(slow.with());
    await until("it runs", () => signal);
    assert.equal(await worker.close({ graceMs: 50 }), 1);
    assert.equal(await run, 1);
    const view = await queue.get(id);
    assert.deepEqual([view?.state, view?.deliveries, view?.failures], ["ready", 1, 0]);
    assert.ok(signal?.reason instanceof LeaseLost);
  });

  test("a stop does not wait for a server that does not reply", async () => {
    const proxy = await Proxy.open();
    const queue = await newQueue("ioredis", proxy.port);
    const ends = gate();
    const started = gate();
    const slow = task("slow", () => {
      started.open();
      return ends.opened;
    });
    const log: string[] = [];
    const worker = new Worker(queue, [slow], { log: (line) => log.push(line), graceMs: 100 });
    let givenBack: number | undefined;
    void worker.run({ signals: false }).then((number) => (givenBack = number));
    await queue.push(slow.with());
    await started.opened;
    proxy.losesRepliesTo = ""; // to all
    void worker.close();
    // The queue's own patience is a minute.
    await until("it has ended", () => givenBack !== undefined);
    ends.open();
    // What was on its way goes on, behind the run.
    proxy.losesRepliesTo = undefined;
    proxy.seen = "";
    proxy.cut();
    await until("it is sent again", () => proxy.seen.includes("TASK.REQUEUE"));
    await queue.info();
    assert.equal(givenBack, 1);
    assert.ok(log.some((line) => line.startsWith("1 tasks can't be requeued and come back when their leases end")));
  });

  test("SIGTERM stops a program gracefully", async () => {
    const queue = await newQueue();
    const program = `
      import { Redis } from "ioredis";
      import { Queue, Worker, task } from "taskslot";
      const redis = new Redis(${SERVER.split(":")[1]});
      const queue = new Queue(redis, "${queue.name}");
      const slow = task("slow", async () => {
        console.log("runs");
        await new Promise((done) => setTimeout(done, 300));
        return "whole";
      });
      process.exitCode = (await new Worker(queue, [slow]).run()) ? 1 : 0;
      queue.close();
      redis.disconnect();
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
      cwd: new URL("..", import.meta.url), // where the package is found
    });
    const { id } = await queue.push(call("slow"));
    await once(child.stdout, "data");
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "exit"), [0, null]);
    assert.equal(await queue.value(id), "whole");
  });

  for (const kind of ["ioredis", "node-redis"] as const) {
    test(`a claim whose reply is lost is sent again with its token (${kind})`, async () => {
      const proxy = await Proxy.open();
      const queue = await newQueue(kind, proxy.port);
      const { id } = await queue.push(add.with(1, 2));
      proxy.losesRepliesTo = "TASK.CLAIM";
      await working(queue, [add], async () => {
        await until("it is leased", async () => (await queue.get(id))?.state === "leased");
        proxy.losesRepliesTo = undefined;
        proxy.cut();
        assert.equal(await queue.value(id, { blockMs: 10_000 }), 3);
        assert.equal((await queue.get(id))?.deliveries, 1);
        const tokens = [...proxy.seen.matchAll(/TASK\.CLAIM[\s\S]*?REQUEST\r\n\$18\r\n(\w+)/g)].map(
          (found) => found[1],
        );
        assert.equal(tokens[0], tokens[1]);
        assert.notEqual(tokens[1], tokens.at(-1));
      });
    });

    test(`a server that goes away and comes back loses nothing (${kind})`, async () => {
      const proxy = await Proxy.open();
      const queue = await newQueue(kind, proxy.port);
      const direct = await newQueue(kind);
      const runs = gate();
      const ends = gate();
      const slow = task("slow", async () => {
        runs.open();
        await ends.opened;
        return "whole";
      });
      await working(queue, [slow], async (worker, log) => {
        const { id } = await queue.push(slow.with());
        await runs.opened;
        proxy.isAway = true;
        proxy.cut();
        ends.open();
        await until("the worker notices", () => log.some((line) => line.startsWith("trying again")));
        proxy.isAway = false;
        await until(
          "it is done",
          async () => (await direct.wire.run({ words: ["TASK.LEN", queue.name, "done"], read: Number })) === 1,
        );
        assert.equal(await queue.value(id), "whole");
        assert.equal((await queue.get(id))?.deliveries, 1);
        await until("it works on", () => worker.running === 0);
        assert.equal(await queue.value(await queue.push(slow.with()), { blockMs: 20_000 }), "whole");
      });
    });
  }

  test("a refused claim ends the run with its error", async () => {
    const queue = await newQueue();
    await queue.wire.run({ words: ["SET", queue.name, "x"], read: String });
    await assert.rejects(new Worker(queue, [add]).run({ signals: false }), { code: "WRONGTYPE" });
  });

  test("only an outcome that is refused itself makes its task dead", async () => {
    const proxy = await Proxy.open();
    const queue = await newQueue("ioredis", proxy.port);
    const spoil = task("spoil", async () => {
      await queue.wire.run({ words: ["DEL", queue.name], read: Number });
      await queue.wire.run({ words: ["SET", queue.name, "x"], read: String });
    });
    const logs: string[] = [];
    const worker = new Worker(queue, [spoil], { log: (line) => logs.push(line) });
    await queue.push(spoil.with());
    // Its next claim is refused too, which ends the run.
    await assert.rejects(worker.run({ signals: false }), { code: "WRONGTYPE" });
    await until("it has answered", () => logs.some((line) => /^task .*wrong kind of value/.test(line)));
    assert.ok(proxy.seen.includes("TASK.ACK") && !proxy.seen.includes("TASK.FAIL"));

    const good = await newQueue();
    const wrong = task("wrong", async () => current().next(call("add"), { priority: 1000 }));
    await working(good, [wrong], async () => {
      const pushed = await good.push(wrong.with());
      await assert.rejects(good.value(pushed, { blockMs: 10_000 }), /the server refused the outcome/);
    });
  });

  test("a worker of shards finds tasks on all of them", async () => {
    const queue = shardedOf(await clientOf(), 5);
    const use = async (): Promise<void> => {
      const groups = Array.from({ length: 20 }, (_, n) => queue.push(add.with(n, 100), { group: `g${n}` }));
      const pushed = await Promise.all(groups);
      assert.equal(new Set(pushed.map(({ id }) => id.split("/")[0])).size, 5);
      for (let n = 0; n < 30; n++) pushed.push(await queue.push(add.with(n, 1)));
      const values = await Promise.all(pushed.map((one) => queue.value(one, { blockMs: 10_000 })));
      assert.equal(
        values.reduce((a, b) => a + b),
        20 * 100 + 190 + 30 + 435,
      );
    };
    await working(queue, [add], use, { leaseMs: 1000 });
  });

  test("a worker that is closed before it runs claims nothing", async () => {
    const queue = await newQueue();
    const { id } = await queue.push(add.with(1, 2));
    const worker = new Worker(queue, [add]);
    assert.equal(await worker.close(), 0);
    assert.equal(await worker.run({ signals: false }), 0);
    assert.equal((await queue.get(id))?.state, "ready");
  });

  test("what a worker cannot be made with is refused", async () => {
    const queue = await newQueue();
    assert.throws(() => new Worker(queue, [task("declared")]), /only declared/);
    assert.throws(() => new Worker(queue, [add, add]), /given twice/);
    assert.throws(() => new Worker(queue, [add], { concurrency: 0 }), RangeError);
    assert.throws(() => current(), /no task runs here/);
    assert.throws(() => new Fail("x", { dead: true, delayMs: 1 }), TypeError);
  });
});

/**
 * A worker and a producer beside those of Python: node beside-python.js KEY COUNT.
 *
 * It works until it has pushed COUNT tasks and has their results; then it prints who ran each.
 */

import { setTimeout as rest } from "node:timers/promises";

import { Redis } from "ioredis";
import { Queue, Worker, call, current, kwargs, task } from "taskslot";

const [key = "", count = "0"] = process.argv.slice(2);
const redis = new Redis(`redis://${process.env["TASKSLOT_SERVER"]}`);
const queue = new Queue(redis, key);

/** Ends when both workers have had a task at the same time, so that each runs some. */
const who = task("who", async (number: number, { word }: { word: string }) => {
  const { task: own } = current();
  while ((await queue.length("done")) === 0 && (await queue.length("leased")) < 2) await rest(5);
  return { number, word, by: "node", deliveries: own.deliveries };
});
const throws = task("throws in node", () => {
  throw new RangeError("too far");
});

const worker = new Worker(queue, [who, throws], { concurrency: 1, log: () => undefined });
const run = worker.run({ signals: false });
const pushed = await Promise.all(
  Array.from({ length: Number(count) }, (_, n) => queue.push(call("who", n, kwargs({ word: "ü" })))),
);
const results = await Promise.all(pushed.map((one) => queue.value(one, { blockMs: 20_000 })));
const failed = await queue
  .value(await queue.push(call("throws in python"), { attempts: 3 }), { blockMs: 20_000 })
  .catch((error: Error) => error.message);
console.log(JSON.stringify({ results, failed }));
process.stdin.resume();
process.stdin.once("end", () => void worker.close());
await run;
queue.close();
redis.disconnect();

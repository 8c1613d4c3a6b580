// The worker of this package with the functions of the conformance test (docs/worker-protocol.md).
import { setTimeout as rest } from "node:timers/promises";

import { Redis } from "ioredis";
import { createClient } from "redis";
import { Fail, GiveBack, Queue, Worker, current, task } from "taskslot";

const { TASKSLOT_URL: url, TASKSLOT_QUEUE: name } = process.env;
const number = (variable) => Number(process.env[variable]);
const counts = new Map();

const tasks = [
  task("echo", (value) => value),
  task("greet", (name, { greeting = "hello" } = {}) => `${greeting} ${name}`),
  task("count", (name) => {
    counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts.get(name);
  }),
  task("fail", (text) => {
    throw new TypeError(text);
  }),
  task("dead", (text) => {
    throw new Fail(text, { dead: true });
  }),
  task("retry", (text, ms) => {
    throw new Fail(text, { delayMs: ms });
  }),
  task("give_back", (ms) => {
    throw new GiveBack({ delayMs: ms });
  }),
  task("sleep", async (ms) => {
    await rest(ms, undefined, { signal: current().signal });
    return ms;
  }),
  task("stubborn", async (ms) => {
    await rest(ms);
    return ms;
  }),
  task("unwritable", () => () => "a function"),
];

// With the argument `redis`, the client is node-redis.
const client = process.argv[2] === "redis" ? createClient({ url }) : new Redis(url);
client.on("error", () => {}); // the worker says when the server is away
if (process.argv[2] === "redis") await client.connect();
const worker = new Worker(new Queue(client, name), tasks, {
  concurrency: number("TASKSLOT_CONCURRENCY"),
  leaseMs: number("TASKSLOT_LEASE_MS"),
  graceMs: number("TASKSLOT_GRACE_MS"),
});
process.exit((await worker.run()) ? 1 : 0);

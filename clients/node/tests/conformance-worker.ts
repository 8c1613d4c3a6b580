/**
 * The program that the conformance test runs: docs/worker-protocol.md says what it does.
 *
 * TASKSLOT_CLIENT is `ioredis` or `node-redis`.
 */

import { setTimeout as rest } from "node:timers/promises";

import { Redis } from "ioredis";
import { createClient } from "redis";
import { type Client, Fail, GiveBack, Queue, Worker, current, task } from "taskslot";

function from(name: string): string {
  const value = process.env[`TASKSLOT_${name}`];
  if (value === undefined) throw new Error(`TASKSLOT_${name} is not set`);
  return value;
}

const counts = new Map<string, number>();

const tasks = [
  task("echo", (value: unknown) => value),
  task("greet", (name: string, { greeting = "hello" }: { greeting?: string } = {}) => `${greeting} ${name}`),
  task("count", (name: string) => {
    counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts.get(name);
  }),
  task("fail", (text: string) => {
    throw new Error(text);
  }),
  task("dead", (text: string) => {
    throw new Fail(text, { dead: true });
  }),
  task("retry", (text: string, delayMs: number) => {
    throw new Fail(text, { delayMs });
  }),
  task("give_back", (delayMs: number) => {
    throw new GiveBack({ delayMs });
  }),
  task("sleep", (ms: number) => rest(ms, ms, { signal: current().signal })),
  task("stubborn", (ms: number) => rest(ms, ms)),
  task("unwritable", () => 1n),
];

async function clientOf(url: string): Promise<Client> {
  if (process.env["TASKSLOT_CLIENT"] === "node-redis") {
    const client = createClient({ url });
    client.on("error", () => undefined);
    await client.connect();
    return client as never;
  }
  const client = new Redis(url, { maxRetriesPerRequest: null });
  client.on("error", () => undefined);
  return client as never;
}

const queue = new Queue(await clientOf(from("URL")), from("QUEUE"));
const worker = new Worker(queue, tasks as ConstructorParameters<typeof Worker>[1], {
  concurrency: Number(from("CONCURRENCY")),
  leaseMs: Number(from("LEASE_MS")),
  graceMs: Number(from("GRACE_MS")),
});
process.exit((await worker.run()) ? 1 : 0);

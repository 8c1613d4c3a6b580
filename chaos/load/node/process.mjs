// A process of the load in Node: node process.mjs SPEC (chaos/load/spec.py). It runs until SIGTERM.

import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as rest } from "node:timers/promises";

import { Fail, GiveBack, Queue, Worker, task } from "taskslot";

import { Follower, Stopped, Unknown, clientOf, moves, place } from "./client.mjs";
import { record } from "./record.mjs";
import { seeded } from "./seeded.mjs";

const path = process.argv[2];
const spec = JSON.parse(readFileSync(path, "utf8"));
const { addresses, options } = spec;
const random = seeded(`${spec.seed} ${spec.name}`);
const stopping = new AbortController();
const stop = stopping.signal;
const BLOCK_MS = 400;

const tag = options.tags[spec.turn % options.tags.length];
const key = (kind) => `{${tag}}:${kind}`;
const has = (kind) => options.kinds.includes(kind);
let number = 0;
const uid = () => `uid:${spec.name}:${++number}`;

record(`${spec.folder}/${spec.name}.wire`);
process.on("SIGTERM", () => stopping.abort());
process.on("SIGINT", () => undefined);

/** Call `turn` until the load stops. Refusals and unknown outcomes are in the record, and the next turn comes. */
async function untilStopped(turn) {
  while (!stop.aborted) {
    try {
      await turn();
    } catch (error) {
      if (error instanceof Stopped) return;
      if (!(error instanceof Unknown) && error.name !== "ReplyError") throw error;
    }
  }
}

// ---- a producer

async function producer() {
  const { ask, again } = bound(new Follower(addresses, stop));
  const kinds = options.kinds.filter((kind) => kind !== "flow" && kind !== "idle");
  const perSecond = Math.max(1, options.rate / 10);
  let due = performance.now();
  await untilStopped(async () => {
    due = Math.max(due + 1000 / perSecond, performance.now() - 1000);
    await rest(Math.max(0, due - performance.now()));
    const kind = random.of(kinds);
    const payload = kind === "library" ? JSON.stringify({ task: "work", args: [uid()] }) : uid();
    const words = ["TASK.PUSH", key(kind), payload, ...wordsOf(kind)];
    if (random.below(10) < 7) await again(...words, "REQUEST", `${payload} ${random.below(1e9)}`.slice(-250));
    else await ask(...words);
  });
}

function wordsOf(kind) {
  if (kind === "groups") return ["GROUP", `g${random.below(6)}`];
  if (kind === "results") return ["RETAIN", 5000];
  if (kind !== "rich") return [];
  const words = [];
  if (random.below(2)) words.push("PRIORITY", random.of([-1, 0, 1, 5]));
  if (random.below(4) === 0) words.push("DELAY", 1 + random.below(1500));
  if (random.below(8) === 0) words.push("UNIQUE", `unique:${tag}:${random.below(12)}`);
  return words;
}

// ---- a raw worker

async function rawWorker(name) {
  const { ask, again } = bound(new Follower(addresses, stop));
  const kinds = ["plain", "rich", "groups", "flow", "results"].filter(has);
  let claims = 0;
  await untilStopped(async () => {
    const queue = key(random.of(kinds));
    const leaseMs = Math.round(options.lease_ms * (0.5 + random.next()));
    const words = ["TASK.CLAIM", queue, "COUNT", 1 + random.below(5), "LEASE", leaseMs, "BLOCK", BLOCK_MS];
    words.push("WORKER", name);
    const tasks = random.below(3)
      ? await again(...words, "REQUEST", `claim ${name} ${++claims}`)
      : await ask(...words);
    for (const [handle, payload] of tasks) await end(again, queue, handle, payload).catch(passed);
  });
}

/** A worker's answer was refused, with STALE for example: it goes on with the next task. */
function passed(error) {
  if (error.name !== "ReplyError") throw error;
}

async function end(again, queue, handle, payload) {
  const drawn = random.below(100);
  if (drawn < 70) await again("TASK.ACK", queue, handle, "RESULT", `result of ${payload} ${random.below(1e9)}`);
  else if (drawn < 80) await again("TASK.FAIL", queue, handle, "ERROR", "the load says so");
  else if (drawn < 87) await again("TASK.REQUEUE", queue, handle, ...random.of([[], ["BACK"], ["DELAY", 100]]));
  else if (drawn < 97) {
    await again("TASK.EXTEND", queue, handle);
    await again("TASK.ACK", queue, handle);
  } // otherwise it forgets to answer
}

// ---- the library's Worker

async function libraryWorker() {
  const work = task("work", async (argument) => {
    const drawn = random.below(100);
    if (drawn < 6) throw new Fail("the load says so");
    if (drawn < 10) throw new GiveBack();
    if (drawn < 40) await rest(random.below(30));
    return `result of ${argument}`;
  });
  while (!stop.aborted) {
    const client = await clientOf(addresses);
    if (!client) {
      await rest(100);
      continue;
    }
    const queue = new Queue(client, key("library"));
    const named = { concurrency: 4, name: spec.name, leaseMs: options.lease_ms, graceMs: 1000, log: () => undefined };
    const worker = new Worker(queue, [work], named);
    const over = worker.run({ signals: false }).catch(passing);
    await untilMoved(client, over);
    await worker.close();
    queue.close();
    client.disconnect();
  }
}

/** A worker ends with an error if the server refuses its claims. It begins anew then. */
function passing() {
  return rest(100);
}

/** Wait until the load stops, or the worker has ended, or the primary is another and the client can't know it. */
async function untilMoved(client, over) {
  let isOver = false;
  void over.then(() => (isOver = true));
  while (!stop.aborted && !isOver) {
    await rest(100);
    if (!moves(addresses)) continue;
    const at = await place(addresses).catch(() => undefined);
    if (at && Number(at.port) !== client.options.port) return;
  }
}

// ---- all of them

function bound(follower) {
  return { ask: follower.ask.bind(follower), again: follower.again.bind(follower) };
}

const ROLES = {
  "node-producer": () => [producer()],
  "node-raw": () => [1, 2].map((thread) => rawWorker(`${spec.name}.${thread}`)),
  "node-worker": () => [libraryWorker()],
};

try {
  await Promise.all(ROLES[spec.role]());
  if (!stop.aborted) throw new Error("it ended before it was told to");
} catch (error) {
  writeFileSync(path.replace(/\.spec$/, ".error"), `${spec.name}: ${error.stack}`);
}
process.exit(0); // what still waits for a reply stays unknown

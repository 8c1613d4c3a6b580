// The same program for every Node client: fill a sharded queue, empty it, and provoke the errors. Returns an account.
//
// A client is {name, send, waiter}: `send` and `waiter` take (command, key, ...arguments); `waiter` has its own
// connections.

import { setTimeout } from "node:timers/promises";

import { claim, crc16, push, shardsOf, wait, word } from "./sharded.mjs";

const SHARDS = 7;
const GROUPS = 12;

export async function story(client, queue = "orders") {
  const { send } = client;
  const shards = await shardsOf(send, queue, SHARDS);
  const account = { client: client.name, pushed: {}, found: 0, done: 0, extended: 0 };
  account.crc16 = crc16("123456789").toString(16);
  for (const shard of shards) account.pushed[shard] = 0;

  await fill(send, shards, account);
  // Any number of workers; each begins with its own home shard.
  await Promise.all([0, 2, 5].map((home) => work(send, shards, home, account)));
  await waitForOne(client, shards, account);
  await meetErrors(send, `${queue}-errors`, account);
  return account;
}

/** Push tasks with groups, tasks with tokens (each twice, and the second one is found), and tasks with neither. */
async function fill(send, shards, account) {
  const count = ([shard, , isNew]) => {
    account.pushed[shard] += isNew;
    account.found += 1 - isNew;
  };
  const tasks = [];
  for (let n = 0; n < 4 * GROUPS; n++) tasks.push([`of a group ${n}`, { group: `customer-${n % GROUPS}` }]);
  for (let n = 0; n < 40; n++) tasks.push([`unique ${n}`, { unique: `invoice-${n % 20}` }]);
  (await Promise.all(tasks.map(([payload, options]) => push(send, shards, payload, options)))).forEach(count);
  // One after the other, so that each push sees where the earlier ones went.
  for (let n = 0; n < 112; n++) count(await push(send, shards, `plain ${n}`));
}

/** Claim tasks from the home shard, then from the others, until all are empty. */
async function work(send, shards, home, account) {
  const round = [...shards.slice(home), ...shards.slice(0, home)];
  for (let empty = 0, at = 0; empty < round.length; at++) {
    const shard = round[at % round.length];
    const tasks = await claim(send, shard, { count: 10 });
    empty = tasks.length ? 0 : empty + 1;
    if (tasks.length) await finish(send, shard, tasks, account);
  }
}

/** Extend all leases with one call, then finish each task by its handle. */
async function finish(send, shard, tasks, account) {
  const handles = tasks.map(([handle]) => handle);
  // For each handle the new deadline, 0 if the task has ended, -2 for STALE, -3 for CANCELLED.
  const deadlines = await send("TASK.EXTEND", shard, "HANDLES", handles.length, ...handles);
  account.extended += deadlines.filter((deadline) => deadline > 0).length;
  const acked = await Promise.all(handles.map((handle) => send("TASK.ACK", shard, handle)));
  account.done += acked.reduce((sum, one) => sum + one, 0);
}

/** Wait on an empty shard, then push to it. */
async function waitForOne({ send, waiter }, shards, account) {
  const waiting = wait(waiter, shards[0]);
  while (!(await blockedWorkers(send, shards[0]))) await setTimeout(10);
  await send("TASK.PUSH", shards[0], "the last");
  account.pushed[shards[0]] += 1;
  const [[handle, payload]] = await waiting;
  account.waited = payload;
  await finish(send, shards[0], [[handle]], account);
}

/** The number of claims that wait for a queue: a field of a map, which some clients return as a flat array. */
async function blockedWorkers(send, shard) {
  const info = await send("TASK.INFO", shard);
  return Array.isArray(info) ? info[info.indexOf("blocked-workers") + 1] : info["blocked-workers"];
}

/** Every error that a worker or a producer must know, on another queue. */
async function meetErrors(send, key, account) {
  const said = (promise) => promise.then(String, (error) => word(error) || error.message);
  await send("TASK.CONFIG", key, "SET", "max-len", 1);
  await send("TASK.PUSH", key, "one");
  account.full = await said(send("TASK.PUSH", key, "one too many"));
  await send("TASK.PAUSE", key, "IN");
  account.paused = await said(send("TASK.PUSH", key, "two"));
  await send("TASK.RESUME", key, "IN");

  const token = `${Date.now()}`;
  const first = await claim(send, key, { token });
  const again = await claim(send, key, { token });
  account.resent = first.length === 1 && first[0][0] === again[0]?.[0] ? "the same" : "another";

  const [[handle]] = first;
  await send("TASK.REQUEUE", key, handle);
  account.stale = await said(send("TASK.EXTEND", key, handle));
  account.staleOfMany = (await send("TASK.EXTEND", key, "HANDLES", 1, handle))[0];
  await send("TASK.PURGE", key, "ALL");
}

// The choice of a task's shard, and claims that are safe to send again: the same for every Node client.
//
// `send` belongs to the client: (command, key, ...arguments) → promise of the reply, rejected with the server's error.

import { randomInt, randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";

/** CRC16/XMODEM, the hash of Redis Cluster, but all 16 bits of it: 0x31c3 for "123456789". */
export function crc16(text) {
  let crc = 0;
  for (const byte of Buffer.from(text)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}

/** The keys of the shards of `name`: the same n names from every node, permanently. */
export function shardsOf(send, name, n) {
  return send("TASK.SHARDS", name, n);
}

/** The shard for a task: by its group, otherwise by its token, otherwise the less loaded of two. */
export async function shardFor(send, shards, { group, unique } = {}) {
  const hashed = group ?? unique;
  if (hashed !== undefined) return shards[crc16(hashed) % shards.length];
  if (shards.length === 1) return shards[0];
  const at = randomInt(shards.length);
  const [one, two] = [shards[at], shards[(at + 1 + randomInt(shards.length - 1)) % shards.length]];
  const [first, second] = await Promise.all([one, two].map((key) => send("TASK.LEN", key, "READY")));
  return first <= second ? one : two;
}

/**
 * Push a task to its shard. Returns `[shard, id, 1 new | 0 found]`. Errors are QFULL, PAUSED and others.
 *
 * Because of the token, the client or the caller can send it again.
 */
export async function push(send, shards, payload, { group, unique, ...more } = {}) {
  const shard = await shardFor(send, shards, { group, unique });
  const options = Object.entries(more).flat();
  if (group !== undefined) options.push("GROUP", group);
  if (unique !== undefined) options.push("UNIQUE", unique);
  const reply = await send("TASK.PUSH", shard, payload, ...options, "REQUEST", randomUUID());
  return unique === undefined ? [shard, reply, 1] : [shard, ...reply];
}

/** Claim up to `count` tasks without waiting. Returns `[[handle, payload, deliveries], …]`. */
export function claim(send, shard, { count = 1, token = randomUUID() } = {}) {
  return send("TASK.CLAIM", shard, "COUNT", count, "REQUEST", token);
}

/**
 * Wait for a task without a limit, in slices of `slice` ms, at most 4000: below every client's own time-outs.
 *
 * `waiter` uses its own connections, because every command behind a waiting claim would wait too. A slice that broke
 * off is sent again with the same token, for `patience` ms: if the server has already leased tasks to it, the copy
 * gets the same ones.
 */
export async function wait(waiter, shard, { count = 1, slice = 4000, patience = 30_000 } = {}) {
  for (let token = randomUUID(), answered = Date.now(); ; ) {
    try {
      const tasks = await waiter("TASK.CLAIM", shard, "COUNT", count, "BLOCK", slice, "REQUEST", token);
      if (tasks.length) return tasks;
      token = randomUUID();
      answered = Date.now();
    } catch (error) {
      if (isFinal(error) || Date.now() - answered > patience) throw error;
      await setTimeout(200);
    }
  }
}

/** The code of a server's error: STALE, QFULL, PAUSED, CANCELLED, ERR …; "" for other errors. */
export const word = (error) => /^([A-Z]{3,}) /.exec(error.message)?.[1] ?? "";

/** Whether the same claim would fail again. Failovers, slot migrations and lost connections pass. */
const isFinal = (error) =>
  !["", "UNBLOCKED", "MOVED", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "READONLY", "MASTERDOWN"].includes(word(error));

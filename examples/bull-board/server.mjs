// bull-board for all queues of a server: node server.mjs [REDIS_URL] [PORT]

import { createBullBoard } from "@bull-board/api";
import { ExpressAdapter } from "@bull-board/express";
import express from "express";
import { Redis } from "ioredis";
import { Queue } from "taskslot";

import { TaskslotAdapter } from "./adapter.mjs";

const [url = "redis://127.0.0.1:6379", port = "8080"] = process.argv.slice(2);
const redis = new Redis(url);
const adapters = new Map();

/** An adapter for each queue that the server has now. */
async function queues() {
  const names = new Set();
  for await (const found of redis.scanStream({ type: "taskqueue", count: 1000 })) found.forEach((name) => names.add(name));
  for (const name of adapters.keys()) if (!names.has(name)) adapters.delete(name);
  for (const name of [...names].sort()) {
    if (!adapters.has(name)) adapters.set(name, new TaskslotAdapter(new Queue(redis, name), redis));
  }
  return [...adapters.values()];
}

const serverAdapter = new ExpressAdapter();
const board = createBullBoard({
  queues: await queues(),
  serverAdapter,
  options: { validateResponses: true, uiConfig: { boardTitle: "taskslot" } },
});
setInterval(async () => board.setQueues(await queues()), 5000);

// It has no users and no passwords: put it behind something that has.
const app = express().use(serverAdapter.getRouter());
const listening = app.listen(Number(port), "127.0.0.1", () => {
  console.log(`bull-board on http://127.0.0.1:${listening.address().port}`);
});

/**
 * A producer and a worker of a sharded queue in a cluster, of which a primary dies: node outlives.js CLIENT.
 *
 * It pushes until its input ends, and then waits until all tasks have run. It prints what became of them.
 */

import { setTimeout as rest } from "node:timers/promises";

import { Cluster } from "ioredis";
import { createCluster } from "redis";
import { type Client, ShardedQueue, Worker, task } from "taskslot";

const port = Number(process.env["TASKSLOT_CLUSTER"]?.split(":")[1]);
const kind = process.argv[2];

async function clientOf(): Promise<Client> {
  if (kind === "ioredis") return new Cluster([{ host: "127.0.0.1", port }]).on("error", () => undefined) as never;
  const client = createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] });
  client.on("error", () => undefined);
  return (await client.connect()) as never;
}

const queue = new ShardedQueue(await clientOf(), `orders-${kind}`, { shards: 8, patienceMs: 30_000 });
const ran = new Map<number, number>();
const work = task("work", async (number: number) => {
  ran.set(number, (ran.get(number) ?? 0) + 1);
  await rest(20);
});
const worker = new Worker(queue, [work], { concurrency: 16, leaseMs: 3000, log: (line) => console.error(line) });
void worker.run({ signals: false });

let isOver = false;
process.stdin.resume().once("end", () => (isOver = true));
const pushes: Promise<number>[] = [];
while (!isOver) {
  const number = pushes.length;
  pushes.push(queue.push(work.with(number)).then(() => number));
  if (number === 20) console.log("begun");
  await rest(10);
}
const pushed = await Promise.all(pushes);
while (pushed.some((number) => !ran.has(number)) || (await queue.length())) await rest(20);
console.log(JSON.stringify({ pushed: pushed.length, ran: ran.size }));
await worker.close();
process.exit(0);

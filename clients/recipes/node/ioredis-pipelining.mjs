// taskslot by ioredis with enableAutoPipelining: node ioredis-pipelining.mjs HOST:PORT [QUEUE]

import { Cluster } from "ioredis";

import { mustBeCluster } from "./cluster-only.mjs";
import { sender } from "./ioredis-commands.mjs";
import { shardsOf } from "./sharded.mjs";
import { story } from "./story.mjs";

const [address = "127.0.0.1:6379", queue = "orders"] = process.argv.slice(2);
await mustBeCluster(address);
const [host, port] = address.split(":");
const cluster = new Cluster([{ host, port: Number(port) }], { enableAutoPipelining: true });

// What doesn't work is `call` (ioredis issue 1890): the commands of one turn are put together by node, but the pipeline
// sees no key in them and goes to a node picked at random, where those of several slots are MOVED for good.
async function brokenCalls() {
  const shards = await shardsOf(sender(cluster), queue, 8);
  for (let tries = 0; tries < 100; tries++) {
    const answers = await Promise.allSettled(shards.map((shard) => cluster.call("TASK.LEN", shard)));
    const moved = answers.filter(({ reason }) => reason?.message.startsWith("MOVED "));
    if (moved.length) return moved.length;
  }
  return 0;
}

// What works, and is put together by node: a script, whose key ioredis knows. One for all commands, since the command
// is an argument; pcall hands an error on as it is. A claim in a script doesn't wait.
cluster.defineCommand("task", {
  numberOfKeys: 1,
  lua: "return redis.pcall(ARGV[1], KEYS[1], unpack(ARGV, 2))",
});
const send = (name, key, ...args) => cluster.task(key, name, ...args);

// What works, too, for all commands, and is not put together: a command that tells its key, as ioredis.mjs has it.
// The claims that wait need it, on connections of their own, which nothing else may share a pipeline with.
const waiting = cluster.duplicate([], { enableAutoPipelining: false });

const moved = await brokenCalls();
const account = await story({ name: "ioredis with autoPipelining", send, waiter: sender(waiting) }, queue);
cluster.disconnect();
waiting.disconnect();
console.log(JSON.stringify({ ...account, callsMoved: moved }));

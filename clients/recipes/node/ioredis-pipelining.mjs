// taskslot with ioredis and enableAutoPipelining: node ioredis-pipelining.mjs HOST:PORT [QUEUE]

import { Cluster } from "ioredis";

import { mustBeCluster } from "./cluster-only.mjs";
import { sender } from "./ioredis-commands.mjs";
import { shardsOf } from "./sharded.mjs";
import { story } from "./story.mjs";

const [address = "127.0.0.1:6379", queue = "orders"] = process.argv.slice(2);
await mustBeCluster(address);
const [host, port] = address.split(":");
const cluster = new Cluster([{ host, port: Number(port) }], { enableAutoPipelining: true });

// `call` doesn't work (ioredis issue 1890). The calls of one event-loop turn are grouped by node, but the pipeline
// sees no keys in them and goes to a random node. If they belong to several slots, they end with MOVED.
async function brokenCalls() {
  const shards = await shardsOf(sender(cluster), queue, 8);
  for (let tries = 0; tries < 100; tries++) {
    const answers = await Promise.allSettled(shards.map((shard) => cluster.call("TASK.LEN", shard)));
    const moved = answers.filter(({ reason }) => reason?.message.startsWith("MOVED "));
    if (moved.length) return moved.length;
  }
  return 0;
}

// A script works and is pipelined, because ioredis knows its key. One script is enough for all commands, since the
// command is an argument; pcall returns errors unchanged. A claim in a script doesn't wait.
cluster.defineCommand("task", {
  numberOfKeys: 1,
  lua: "return redis.pcall(ARGV[1], KEYS[1], unpack(ARGV, 2))",
});
const send = (name, key, ...args) => cluster.task(key, name, ...args);

// A command with `getKeys`, as in ioredis.mjs, works too, for all commands, but is not pipelined. Claims that wait
// need it, on connections of their own, because nothing else must share a pipeline with them.
const waiting = cluster.duplicate([], { enableAutoPipelining: false });

const moved = await brokenCalls();
const account = await story({ name: "ioredis with autoPipelining", send, waiter: sender(waiting) }, queue);
cluster.disconnect();
waiting.disconnect();
console.log(JSON.stringify({ ...account, callsMoved: moved }));

// taskslot with ioredis: node ioredis.mjs HOST:PORT [QUEUE]

import { Cluster } from "ioredis";

import { mustBeCluster } from "./cluster-only.mjs";
import { sender } from "./ioredis-commands.mjs";
import { story } from "./story.mjs";

const [address = "127.0.0.1:6379", queue] = process.argv.slice(2);
await mustBeCluster(address);
const [host, port] = address.split(":");
const cluster = new Cluster([{ host, port: Number(port) }]);
// A second client for the claims that wait, with one connection to each node. Each waiting worker needs its own.
// commandTimeout and socketTimeout are off by default. If you set them, they must be longer than BLOCK.
const waiting = cluster.duplicate([], { redisOptions: { commandTimeout: 6000 } });

const account = await story({ name: "ioredis", send: sender(cluster), waiter: sender(waiting) }, queue);
cluster.disconnect();
waiting.disconnect();
console.log(JSON.stringify(account));

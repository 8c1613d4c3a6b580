// taskslot by ioredis: node ioredis.mjs HOST:PORT [QUEUE]

import { Cluster } from "ioredis";

import { mustBeCluster } from "./cluster-only.mjs";
import { sender } from "./ioredis-commands.mjs";
import { story } from "./story.mjs";

const [address = "127.0.0.1:6379", queue] = process.argv.slice(2);
await mustBeCluster(address);
const [host, port] = address.split(":");
const cluster = new Cluster([{ host, port: Number(port) }]);
// Connections of their own for the claims that wait, one to each node; each worker that waits needs such a cluster.
// commandTimeout and socketTimeout are off unless you set them; set, they must be longer than BLOCK.
const waiting = cluster.duplicate([], { redisOptions: { commandTimeout: 6000 } });

const account = await story({ name: "ioredis", send: sender(cluster), waiter: sender(waiting) }, queue);
cluster.disconnect();
waiting.disconnect();
console.log(JSON.stringify(account));

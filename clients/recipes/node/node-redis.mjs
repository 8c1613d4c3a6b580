// taskslot with node-redis: node node-redis.mjs HOST:PORT [QUEUE]

import { createCluster } from "redis";

import { mustBeCluster } from "./cluster-only.mjs";
import { story } from "./story.mjs";

// sendCommand takes the key for routing, whether a replica can reply, and the whole command as strings.
const sender = (cluster) => (name, key, ...args) =>
  cluster.sendCommand(key, false, [name, key, ...args.map(String)]);

const [address = "127.0.0.1:6379", queue] = process.argv.slice(2);
await mustBeCluster(address);
const rootNodes = [{ url: `redis://${address}` }];
const cluster = createCluster({ rootNodes });
// A second client for the claims that wait. socketTimeout is off by default; if you set it, it must be longer than
// BLOCK. The 5 s of commandOptions.timeout only count while a command waits to be sent.
const waiting = createCluster({ rootNodes, minimizeConnections: true, defaults: { socket: { socketTimeout: 6000 } } });
for (const one of [cluster, waiting]) {
  one.on("error", (error) => console.error(`${error}`)); // without a listener an error ends the process
  await one.connect();
}

const account = await story({ name: "node-redis", send: sender(cluster), waiter: sender(waiting) }, queue);
await cluster.close();
await waiting.close();
console.log(JSON.stringify(account));

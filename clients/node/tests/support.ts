/** What the tests share: clients of each kind, queues with names of their own, a connection that can be broken. */

import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { after } from "node:test";
import { setTimeout as rest } from "node:timers/promises";

import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import { type Client, Queue, ShardedQueue } from "taskslot";

/** The server under test, and a node of a cluster, as host:port. */
export const SERVER = process.env["TASKSLOT_SERVER"] ?? "127.0.0.1:6379";
export const CLUSTER = process.env["TASKSLOT_CLUSTER"];

/** The kinds of clients: both libraries in both protocols. */
export const KINDS = ["ioredis", "ioredis RESP2", "node-redis", "node-redis RESP3"] as const;
export type Kind = (typeof KINDS)[number];

const open: (() => void)[] = [];
after(() => open.forEach((close) => close()));

function portOf(address: string): number {
  return Number(address.split(":")[1]);
}

/** A client of a server, closed when the tests of the file are over. */
export async function clientOf(kind: Kind = "ioredis", port = portOf(SERVER)): Promise<Client> {
  if (kind.startsWith("ioredis")) {
    const client = new Redis(port, { protocol: kind === "ioredis" ? 3 : 2, maxRetriesPerRequest: null });
    client.on("error", () => undefined);
    open.push(() => client.disconnect());
    return client as never;
  }
  const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP: kind === "node-redis" ? 2 : 3 });
  client.on("error", () => undefined);
  await client.connect();
  open.push(() => client.destroy());
  return client as never;
}

/** A client of the cluster. */
export async function clusterOf(kind: "ioredis" | "node-redis"): Promise<Client> {
  const port = portOf(CLUSTER as string);
  if (kind === "ioredis") {
    const client = new Cluster([{ host: "127.0.0.1", port }], { enableAutoPipelining: true });
    open.push(() => client.disconnect());
    return client as never;
  }
  const client = createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }] });
  client.on("error", () => undefined);
  await client.connect();
  open.push(() => client.destroy());
  return client as never;
}

let made = 0;

/** The name of a queue that no other test uses. */
export function newName(): string {
  return `node-${process.pid}-${(made += 1)}`;
}

/** An empty queue, closed when the tests of the file are over. */
export async function newQueue(kind: Kind = "ioredis", port?: number): Promise<Queue> {
  const queue = new Queue(await clientOf(kind, port), newName(), { patienceMs: 60_000 });
  open.push(() => queue.close());
  return queue;
}

/** An empty queue of several shards. */
export function shardedOf(client: Client, shards: number): ShardedQueue {
  const queue = new ShardedQueue(client, newName(), { shards });
  open.push(() => queue.close());
  return queue;
}

/** Wait until a condition holds; 20 s at most. */
export async function until(what: string, holds: () => unknown): Promise<void> {
  for (const end = Date.now() + 20_000; !(await holds()); await rest(10)) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
  }
}

/** A way to the server that tests can break. */
export class Proxy {
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((near) => this.#accept(near));
  /** Replies are lost for connections whose last command has this word. */
  losesRepliesTo: string | undefined;
  /** New connections are closed at once. */
  isAway = false;
  /** The commands that came, as text. */
  seen = "";

  static async open(): Promise<Proxy> {
    const proxy = new Proxy();
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    open.push(() => {
      proxy.#server.close();
      proxy.cut();
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Break all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  #accept(near: Socket): void {
    if (this.isAway) return void near.destroy();
    const far = connect(portOf(SERVER), "127.0.0.1");
    let last = "";
    const isLost = (): boolean => this.losesRepliesTo !== undefined && last.includes(this.losesRepliesTo);
    near.on("data", (bytes) => {
      last = bytes.toString("latin1");
      this.seen += last;
      far.write(bytes);
    });
    far.on("data", (bytes) => isLost() || near.write(bytes));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one);
      one.on("error", () => undefined);
      one.on("close", () => other.destroy());
    }
  }
}

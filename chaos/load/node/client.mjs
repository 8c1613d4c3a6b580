// A client of ioredis that follows the primary: as an application would make it for these servers.

import { readFileSync } from "node:fs";
import { setTimeout as rest } from "node:timers/promises";

import { Cluster, Command, Redis } from "ioredis";

// Nothing is sent again by the client itself, so that each call has one outcome.
const ONCE = {
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 1,
  connectTimeout: 1000,
  socketTimeout: 3000,
  retryStrategy: () => 50,
  reconnectOnError: (error) => error.message.startsWith("READONLY"),
};
const REST_MS = 50;
// Errors by which a server says that it has done nothing, and may do it a moment later or elsewhere.
const PASSING = /^(MOVED|ASK|READONLY|CLUSTERDOWN|MASTERDOWN|LOADING|TRYAGAIN|BUSY|MISCONF|NOREPLICAS|OOM)\b/;

class TaskCommand extends Command {
  getKeys() {
    return this.args.slice(0, 1);
  }
}

/** A command went unanswered: it may have happened. */
export class Unknown extends Error {}
/** The load is told to stop. */
export class Stopped extends Error {}

/** Whether ioredis can't follow the primary by itself, so that its client is made anew when the primary is another. */
export const moves = ({ kind }) => kind === "nodes" || kind === "pointed";

/** Where the primary is, for addresses that a client can't follow itself; undefined if nobody says so. */
export async function place(addresses) {
  if (addresses.kind === "single") return addresses;
  if (addresses.kind === "pointed") return JSON.parse(readFileSync(addresses.path, "utf8"));
  for (const [host, port] of addresses.nodes) {
    const redis = new Redis({ ...ONCE, host, port, retryStrategy: () => null });
    redis.on("error", () => undefined);
    try {
      const [role] = await redis.role();
      if (role === "master") return { host, port };
    } catch {
      continue;
    } finally {
      redis.disconnect();
    }
  }
  return undefined;
}

/** A client for these servers; undefined if there is no primary now. */
export async function clientOf(addresses) {
  let client;
  if (addresses.kind === "cluster") {
    const nodes = addresses.nodes.map(([host, port]) => ({ host, port }));
    client = new Cluster(nodes, { redisOptions: ONCE, clusterRetryStrategy: () => 50 });
  } else if (addresses.kind === "sentinel") {
    const sentinels = addresses.sentinels.map(([host, port]) => ({ host, port }));
    client = new Redis({ ...ONCE, sentinels, name: addresses.name, sentinelRetryStrategy: () => 50 });
  } else {
    const at = await place(addresses);
    if (!at) return undefined;
    client = new Redis({ ...ONCE, host: at.host, port: at.port });
  }
  client.on("error", () => undefined); // each command reports it
  return client;
}

/** Sends commands to the primary, wherever it is. */
export class Follower {
  #addresses;
  #stop;
  #client;
  #at;

  constructor(addresses, stop) {
    this.#addresses = addresses;
    this.#stop = stop;
  }

  /** The reply of a command. Errors that a failover explains are waited out. Throws `Unknown`, `Stopped`, ReplyError. */
  async ask(...words) {
    for (;;) {
      if (this.#stop.aborted) throw new Stopped();
      const client = await this.#connected();
      if (client) {
        try {
          return await client.sendCommand(new TaskCommand(words[0], words.slice(1), { replyEncoding: "latin1" }));
        } catch (error) {
          if (error.name !== "ReplyError" || error.message.startsWith("UNBLOCKED")) {
            await this.#look();
            await rest(REST_MS);
            throw new Unknown(error.message);
          }
          if (!PASSING.test(error.message)) throw error;
          await this.#look();
        }
      }
      await rest(REST_MS);
    }
  }

  /** The same, and sent again if its outcome is unknown: for commands that are safe to send again. */
  async again(...words) {
    for (;;) {
      try {
        return await this.ask(...words);
      } catch (error) {
        if (!(error instanceof Unknown)) throw error;
      }
    }
  }

  close() {
    this.#client?.disconnect();
    this.#client = undefined;
  }

  async #connected() {
    if (!this.#client) {
      this.#client = await clientOf(this.#addresses);
      this.#at = moves(this.#addresses) && this.#client ? this.#client.options.port : undefined;
    }
    return this.#client;
  }

  /** Leave a client that is at a node which is not the primary any more. */
  async #look() {
    if (this.#at === undefined) return;
    const at = await place(this.#addresses).catch(() => undefined);
    if (at && Number(at.port) !== this.#at) this.close();
  }
}

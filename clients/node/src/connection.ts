/** What the library asks of a client, and how clients of ioredis and node-redis give it. */

/** A word of a command. Strings are sent as UTF-8. */
export type Word = string | number | Uint8Array;

/**
 * A client, as the library uses it. Every command is `[name, key, …]`.
 *
 * `queue = new Queue(client, "mail")` takes clients of ioredis (5 or 6) and node-redis (5 or 6), or an object with these
 * two methods for any other client.
 */
export interface Connection {
  /**
   * Send a command, in a cluster to the node of its key, and return the reply. Bulk strings should be Buffers; maps can
   * be objects, Maps or flat arrays. An error of the server is rejected with its text as the message.
   */
  send(words: readonly Word[]): Promise<unknown>;

  /** A connection of its own for commands that wait in the server. It should report errors soon, not reconnect. */
  duplicate(): Promise<OwnConnection>;
}

/** A connection that the library has made and closes itself. */
export interface OwnConnection extends Connection {
  /** Close it, also while commands wait for their replies. */
  close(): void;
}

/** A client of ioredis: `Redis` or `Cluster`. */
export interface IoRedisClient {
  callBuffer(command: string, ...args: never[]): unknown;
  sendCommand(command: never): unknown;
  duplicate(...args: never[]): unknown;
}

/** A client of node-redis: of `createClient`, `createCluster` or `createSentinel`. */
export interface NodeRedisClient {
  sendCommand(...args: never[]): Promise<unknown>;
  duplicate(...args: never[]): unknown;
  readonly isOpen: boolean;
}

/** What a queue can be made with. */
export type Client = Connection | IoRedisClient | NodeRedisClient;

/** The connection of a client. Throws TypeError if the library cannot use it. */
export function connectionOf(client: Client): Connection {
  const has = (name: string): boolean => typeof (client as never)?.[name] === "function";
  if (has("callBuffer")) return overIoRedis(client as never);
  if (has("sendCommand") && "isOpen" in client) return overNodeRedis(client as never);
  if (has("send") && has("duplicate")) return client as Connection;
  throw new TypeError("expected a client of ioredis or node-redis, or an object with the methods send and duplicate");
}

// ---- ioredis

interface IoCommand {
  getKeys(): (string | Buffer)[];
}

interface IoRedis {
  status: string;
  isCluster?: boolean;
  callBuffer(this: unknown, ...words: unknown[]): IoCommand;
  sendCommand(command: IoCommand): Promise<unknown>;
  duplicate(...args: unknown[]): IoRedis;
  nodes?(): { options: { host?: string; port?: number } }[];
  on(event: string, listener: () => void): void;
  disconnect(): void;
}

// The client makes the command, and here it is not sent. So neither `enableAutoPipelining`, which sends the commands of
// different slots together, nor `keyPrefix` apply.
const UNSENT = { options: {}, sendCommand: (command: IoCommand) => command };

function overIoRedis(client: IoRedis): Connection {
  return {
    send(words) {
      const command = client.callBuffer.call(UNSENT, ...words.map(asBytes));
      // ioredis only knows the keys of commands in its own list, and sends others to a random node of a cluster.
      command.getKeys = () => [words[1] as string];
      return client.sendCommand(command);
    },
    async duplicate() {
      const soon = {
        maxRetriesPerRequest: 0,
        retryStrategy: () => null,
        enableAutoPipelining: false,
        lazyConnect: false,
      };
      const own = client.isCluster
        ? client.duplicate(knownTo(client), {
            clusterRetryStrategy: () => null,
            lazyConnect: false,
            redisOptions: soon,
          })
        : client.duplicate(soon);
      own.on("error", () => undefined); // each command reports it
      return { ...overIoRedis(own), close: () => own.disconnect() };
    },
  };
}

/** The nodes that a cluster client knows now. Those that it started with can be gone. */
function knownTo(client: IoRedis): unknown[] {
  return (client.nodes?.() ?? []).map(({ options: { host, port } }) => ({ host, port }));
}

/** Words as ioredis takes them: Buffers, not other arrays of bytes. */
function asBytes(word: Word): string | number | Buffer {
  return word instanceof Uint8Array ? bufferOf(word) : word;
}

// ---- node-redis

interface NodeRedis {
  isOpen: boolean;
  options?: { socket?: object };
  masters?: { address?: string; host?: string; port?: number }[];
  getSentinelNode?: unknown;
  sendCommand(...args: unknown[]): Promise<unknown>;
  duplicate(overrides: object): NodeRedis;
  connect(): Promise<unknown>;
  on(event: string, listener: () => void): void;
  destroy(): void;
}

// By the types of RESP: bulk strings as Buffers, maps as flat arrays.
const AS_BUFFERS = { typeMapping: { 36: Buffer, 37: Array } };

function overNodeRedis(client: NodeRedis, isOwn = false): Connection {
  return {
    send(words) {
      if (!client.isOpen) return Promise.reject(isOwn ? new Error("the connection is closed") : NOT_OPEN());
      const args = words.map((word) => (word instanceof Uint8Array ? bufferOf(word) : String(word)));
      if (client.masters) return client.sendCommand(args[1], false, args, AS_BUFFERS);
      return client.getSentinelNode
        ? client.sendCommand(false, args, AS_BUFFERS)
        : client.sendCommand(args, AS_BUFFERS);
    },
    async duplicate() {
      const own = client.duplicate(
        client.masters ? { ...startingAt(client), minimizeConnections: true } : once(client),
      );
      own.on("error", () => undefined); // each command reports it
      const close = (): void => {
        if (own.isOpen) own.destroy(); // it throws if it is closed already
      };
      try {
        await own.connect();
      } catch (error) {
        close();
        throw error;
      }
      return { ...overNodeRedis(own, true), close };
    },
  };
}

/** A client that its owner has not opened, or has closed, stays so: trying again would not help. */
const NOT_OPEN = (): Error => new TypeError("the client is closed: call its connect() first");

/** Options with which a client of one server gives up at once, instead of waiting until the server is back. */
function once(client: NodeRedis): object {
  return { disableOfflineQueue: true, socket: { ...client.options?.socket, reconnectStrategy: false } };
}

/** The nodes that a cluster client knows now. Those that it started with can be gone. */
function startingAt(client: NodeRedis): object {
  const known = (client.masters ?? []).filter((node) => node.host && node.port);
  return known.length ? { rootNodes: known.map(({ host, port }) => ({ socket: { host, port } })) } : {};
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

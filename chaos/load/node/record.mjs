// Records what ioredis sends, whichever client or library sends it, in the form of chaos/load/wire.py.

import { openSync, writeSync } from "node:fs";

import { Redis } from "ioredis";

/** Seconds of the machine's monotonic clock: Python's time.monotonic(). */
const now = () => Number(process.hrtime.bigint()) / 1e9;

/** Bytes as Latin-1, maps as flat arrays. */
function plain(value) {
  if (Buffer.isBuffer(value)) return value.toString("latin1");
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return [...value].flat().map(plain);
  if (value instanceof Error) return { error: value.message };
  if (typeof value === "object" && value !== null) return Object.entries(value).flat().map(plain);
  return typeof value === "bigint" ? Number(value) : value;
}

const wordOf = (word) => (Buffer.isBuffer(word) ? word.toString("latin1") : String(word));

/** Record all calls of this process from now on, into this file. */
export function record(path) {
  const file = openSync(path, "a");
  const write = (line) => writeSync(file, JSON.stringify(line) + "\n");
  const connections = new WeakMap();
  const running = new WeakMap();
  let calls = 0;
  let numbers = 0;

  function connectionOf(redis) {
    if (!connections.has(redis)) {
      const made = { k: ++numbers, o: 1 };
      connections.set(redis, made);
      redis.on("close", () => {
        write({ k: made.k, t: now(), closed: true });
        made.o += 1;
      });
    }
    return connections.get(redis);
  }

  const send = Redis.prototype.sendCommand;
  Redis.prototype.sendCommand = function (command, stream) {
    // A command that waited for the connection is given here again when that is open.
    if (/^task\./i.test(command.name) && !running.has(command)) begin(this, command);
    return send.call(this, command, stream);
  };

  function begin(redis, command) {
    const n = ++calls;
    const { k, o } = connectionOf(redis);
    write({ n, k, o, t: now(), w: [command.name.toUpperCase(), ...command.args.map(wordOf)] });
    const { resolve, reject } = command;
    // A cluster client gives a redirected command to another connection: that is a new call.
    const end = (line) => {
      write({ n, t: now(), ...line });
      running.delete(command);
      Object.assign(command, { resolve, reject });
    };
    running.set(command, n);
    command.resolve = (reply) => {
      end({ r: plain(reply) });
      resolve.call(command, reply);
    };
    command.reject = (error) => {
      end(error.name === "ReplyError" ? { x: error.message } : { u: error.message || error.name });
      reject.call(command, error);
    };
  }
}

// How a command reaches the right node with ioredis.

import { Command } from "ioredis";

// ioredis knows the keys of the commands in its own list only. `cluster.call("TASK.PUSH", key)` therefore goes to a
// node picked at random, which mostly answers MOVED: it works, at the price of a second try and a refresh of the slots
// each time. A command that tells its key goes straight to the right node.
class TaskCommand extends Command {
  getKeys() {
    return this.args.slice(0, 1);
  }
}

/** (command, key, ...arguments) → promise of the reply. */
export const sender = (cluster) => (name, ...args) =>
  cluster.sendCommand(new TaskCommand(name, args, { replyEncoding: "utf8" }));

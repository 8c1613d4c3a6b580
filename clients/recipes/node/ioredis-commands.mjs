// How a command reaches the right node with ioredis.

import { Command } from "ioredis";

// ioredis only knows the keys of commands in its own list. So `cluster.call("TASK.PUSH", key)` goes to a random node,
// which usually replies MOVED. It works, but each call costs a second try and a refresh of the slots. A command with
// `getKeys` goes straight to the right node.
class TaskCommand extends Command {
  getKeys() {
    return this.args.slice(0, 1);
  }
}

/** (command, key, ...arguments) → promise of the reply. */
export const sender = (cluster) => (name, ...args) =>
  cluster.sendCommand(new TaskCommand(name, args, { replyEncoding: "utf8" }));

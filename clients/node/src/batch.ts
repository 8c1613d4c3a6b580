/** A batch: a number of tasks, and a callback that becomes ready when all of them have ended. */

import type { BaseQueue } from "./base-queue.js";
import type { Payload } from "./call.js";
import type { PushOptions, Removal, TaskOptions } from "./commands.js";
import type { Flow, FlowIds } from "./flows.js";
import type { BatchInfo, Pushed } from "./replies.js";

/** A batch of a queue, from `queue.batch(name)`. Its methods are those of the queue, for this batch. */
export class Batch {
  readonly #queue: BaseQueue;

  constructor(
    queue: BaseQueue,
    readonly name: string,
  ) {
    this.#queue = queue;
  }

  /** Push a task that counts in the batch. */
  push<R>(payload: Payload<R>, options: PushOptions = {}): Promise<Pushed<R>> {
    return this.#queue.push(payload, { ...options, batch: this.name });
  }

  /** Push tasks that count in the batch. */
  pushMany(payloads: readonly Payload[], options: TaskOptions & { request?: string } = {}): Promise<string[]> {
    return this.#queue.pushMany(payloads, { ...options, batch: this.name });
  }

  /** Push a flow whose tasks count in the batch. */
  pushFlow(flow: Flow, options: Parameters<BaseQueue["pushFlow"]>[1] = {}): Promise<FlowIds> {
    return this.#queue.pushFlow(flow, { ...options, batch: this.name });
  }

  /** Close the batch: its callback becomes ready once all tasks have ended. False if it was closed before. */
  close(): Promise<boolean> {
    return this.#queue.closeBatch(this.name);
  }

  /** The state and the counts of the batch; null if it is not there, as after the end of its callback. */
  info(): Promise<BatchInfo | null> {
    return this.#queue.batchInfo(this.name);
  }

  /** Delete the batch and its callback. Its tasks go on. */
  delete(): Promise<Removal> {
    return this.#queue.deleteBatch(this.name);
  }
}

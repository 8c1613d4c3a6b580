/** The context of a running task: what its function can learn, and how the function is asked to stop. */

import { AsyncLocalStorage } from "node:async_hooks";

import { type BaseQueue, newToken } from "../base-queue.js";
import type { Batch } from "../batch.js";
import type { Data, Payload } from "../call.js";
import type { PushOptions } from "../commands.js";
import { CancelAsked, LeaseLost, NotDone, UnknownTask } from "../errors.js";
import type { BatchCounts, Task } from "../replies.js";
import { type Step, checkProgress } from "./outcomes.js";

const CURRENT = new AsyncLocalStorage<TaskContext>();

/** The context of the task that runs here: in a function that a worker calls, and in what it calls or awaits. */
export function current(): TaskContext {
  const found = CURRENT.getStore();
  if (!found) throw new Error("no task runs here: current() is for functions that a Worker calls");
  return found;
}

/** Run a function with a context. */
export function runWith<T>(context: TaskContext, run: () => T): T {
  return CURRENT.run(context, run);
}

/** A running task. */
export class TaskContext {
  readonly #stop = new AbortController();
  readonly #queue: BaseQueue;
  /** What to push when the task is finished. */
  step: Step | undefined;
  /** The worker gave the task back, so that the outcome of its function no longer counts. */
  isAbandoned = false;
  /** Thrown by `results`, which can never succeed then. */
  missing: UnknownTask | undefined;

  constructor(
    queue: BaseQueue,
    readonly task: Task,
  ) {
    this.#queue = queue;
  }

  /**
   * Aborted when the function should stop: the task was cancelled, its lease is lost, or the worker stops and has waited
   * long enough. `signal.reason` is a `CancelAsked` or a `LeaseLost`. Pass it to `fetch`, `setTimeout` and the like.
   */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** The task was cancelled: stop working on it. */
  get cancelled(): boolean {
    return this.signal.reason instanceof CancelAsked;
  }

  /** The lease has ended: another worker may have the task. */
  get leaseLost(): boolean {
    return this.signal.reason instanceof LeaseLost;
  }

  /** Ask the function to stop. */
  stop(reason: CancelAsked | LeaseLost): void {
    if (!this.signal.aborted) this.#stop.abort(reason);
  }

  /** What the attempt before said about how far the task has got; null if there is nothing. */
  get lastProgress(): Buffer | null {
    return this.task.meta?.progress ?? null;
  }

  /** The task's headers. */
  get headers(): Readonly<Record<string, Buffer>> {
    return this.task.meta?.headers ?? {};
  }

  /**
   * Report how far the task has got: at most 4096 bytes, which TASK.GET and TASK.LIST show. It stays until the task is
   * done: the next attempt gets it as `lastProgress`. It extends the lease as well.
   */
  async progress(said: Data): Promise<void> {
    checkProgress(said);
    try {
      const deadline = await this.#queue.extend(this.task, { progress: said });
      if (!deadline) this.stop(new LeaseLost("the task was finished or removed"));
    } catch (error) {
      if (!(error instanceof LeaseLost || error instanceof CancelAsked)) throw error;
      this.stop(error);
    }
  }

  /**
   * Push the next step together with the end of this task. It is pushed only if the function returns and its task counts
   * as finished. While the queue accepts no pushes, the worker keeps the task, and tries again. One task has one next step.
   */
  next(payload: Payload, options: PushOptions = {}): void {
    if (this.step) throw new TypeError("the task has a next step already");
    this.step = { payload, options: { ...options, request: options.request ?? newToken() } };
  }

  /** The batch that the task counts in: a task can push into it while it runs. Undefined if it counts in none. */
  get batch(): Batch | undefined {
    const name = this.task.meta?.batch;
    return name === undefined ? undefined : this.#queue.batch(name);
  }

  /** If the task is the callback of a batch, how many tasks the batch had, and how they ended. */
  get counts(): BatchCounts | undefined {
    return this.task.meta?.counts;
  }

  /** The ids of the tasks that this one waited for, in the order in which they were pushed. */
  get after(): readonly string[] {
    return this.task.meta?.after ?? [];
  }

  /**
   * The results of the tasks that this one waited for, in the order of the flow. Rejects with `UnknownTask` if one is not
   * kept any more, and with `NotDone` if a task is dead or has not ended, which can be if `onDead` let this one run.
   */
  async results<T = unknown>(): Promise<T[]> {
    try {
      return await Promise.all(this.after.map((id) => this.#queue.value<T>(id)));
    } catch (error) {
      if (error instanceof UnknownTask) this.missing = error;
      throw error;
    }
  }

  /** Like `results`, with an error in the place of each result that is not there. */
  resultsOrErrors<T = unknown>(): Promise<(T | NotDone | UnknownTask)[]> {
    return Promise.all(
      this.after.map((id) =>
        this.#queue.value<T>(id).catch((error: unknown) => {
          if (error instanceof NotDone || error instanceof UnknownTask) return error;
          throw error;
        }),
      ),
    );
  }
}

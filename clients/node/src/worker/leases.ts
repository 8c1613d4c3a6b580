/** Extends the leases of running tasks: one TASK.EXTEND for all leases of a key, every third of the shortest lease. */

import { type BaseQueue, parts } from "../base-queue.js";
import * as commands from "../commands.js";
import { CancelAsked, LeaseLost } from "../errors.js";
import type { TaskContext } from "./context.js";

/** If the worker doesn't set the length of leases, it asks for it after this time. Most tasks have ended by then. */
const ASK_AFTER_MS = 50;
/** The assumed length of a lease if this user lacks the rights for TASK.GET. */
const UNKNOWN_MS = 1000;
/** The longest rest after a failed heartbeat; it is a tenth of the lease if that is shorter. */
const REST_MS = 500;
/** The longest wait for the reply to a heartbeat. */
const LATE_MS = 2000;

interface Lease {
  readonly context: TaskContext;
  readonly key: string;
  readonly handle: string;
  /** Since when it runs (`performance.now()`), and its length; undefined if that is not known yet. */
  since: number;
  ms: number | undefined;
}

/** The leases of the running tasks. */
export class Leases {
  readonly #queue: BaseQueue;
  readonly #ms: number | undefined;
  readonly #log: (line: string) => void;
  readonly #leases = new Map<string, Lease>();
  /** The time of the next heartbeat of keys whose last one failed; Infinity while one is under way. */
  readonly #notBefore = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #wakesAt = Infinity;

  /** `ms` is the length of the leases; undefined if the queue or the task sets it. */
  constructor(queue: BaseQueue, ms: number | undefined, log: (line: string) => void) {
    this.#queue = queue;
    this.#ms = ms;
    this.#log = log;
  }

  /** Add the lease of a task. It counts from the claim's reply, or from its sending if that took long. */
  add(context: TaskContext, since: number): void {
    const [key, handle] = this.#queue.place(context.task);
    this.#leases.set(context.task.handle, { context, key, handle, since, ms: this.#ms });
    this.#wakeAt(since + (this.#ms === undefined ? ASK_AFTER_MS : this.#ms / 3));
  }

  /** Remove the lease of a task. */
  remove(context: TaskContext): void {
    this.#leases.delete(context.task.handle);
  }

  /** Stop extending leases. */
  close(): void {
    clearTimeout(this.#timer);
    this.#leases.clear();
  }

  #wakeAt(due: number): void {
    if (due >= this.#wakesAt) return;
    clearTimeout(this.#timer);
    this.#wakesAt = due;
    this.#timer = setTimeout(() => this.#wake(), Math.max(0, due - performance.now()));
  }

  #wake(): void {
    this.#wakesAt = Infinity;
    const now = performance.now();
    const dues = new Map<string, number>();
    for (const lease of this.#leases.values()) {
      const due = Math.max(dueOf(lease), this.#notBefore.get(lease.key) ?? 0);
      dues.set(lease.key, Math.min(due, dues.get(lease.key) ?? Infinity));
    }
    for (const [key, due] of dues) {
      if (due <= now) void this.#beat(key);
      else if (due < Infinity) this.#wakeAt(due);
    }
  }

  /** The heartbeat of a key. Each key has its own, so that a server that is away doesn't delay the others. */
  async #beat(key: string): Promise<void> {
    this.#notBefore.set(key, Infinity);
    try {
      await Promise.all(this.#of(key).map((lease) => this.#askLength(lease)));
      await this.#extend(this.#of(key));
      this.#notBefore.delete(key);
    } catch (error) {
      // The server may come back, and a refusal leaves the tasks to their leases. Neither is a reason to stop them.
      this.#log(`heartbeat for ${key} failed, trying again: ${(error as Error).message}`);
      const rest = Math.min(REST_MS, ...this.#of(key).map((lease) => (lease.ms ?? UNKNOWN_MS) / 10));
      this.#notBefore.set(key, performance.now() + rest);
    }
    const next = Math.min(Infinity, ...this.#of(key).map(dueOf));
    this.#wakeAt(Math.max(next, this.#notBefore.get(key) ?? 0));
  }

  #of(key: string): Lease[] {
    return [...this.#leases.values()].filter((lease) => lease.key === key);
  }

  async #askLength(lease: Lease): Promise<void> {
    if (lease.ms !== undefined || dueOf(lease) > performance.now()) return;
    // If the task is no longer leased, its length is 0: the heartbeat is due at once, and finds out what happened.
    lease.ms = await this.#queue.wire.once(commands.get(lease.key, lease.handle), LATE_MS).then(
      (view) => view?.leaseMs ?? 0,
      (error: Error & { code?: string }) => {
        if (error.code !== "NOPERM") throw error;
        return UNKNOWN_MS;
      },
    );
  }

  async #extend(leases: readonly Lease[]): Promise<void> {
    const sentAt = performance.now();
    if (!leases.some((lease) => dueOf(lease) <= sentAt)) return;
    for (const part of parts(leases)) {
      const key = (part[0] as Lease).key;
      const handles = part.map((lease) => lease.handle);
      const shortest = Math.min(...part.map((lease) => lease.ms ?? UNKNOWN_MS));
      const mostMs = Math.max(100, Math.min(LATE_MS, shortest / 3));
      const answers = await this.#queue.wire.once(commands.extend(key, handles, {}), mostMs);
      part.forEach((lease, at) => this.#apply(lease, answers[at] as number, sentAt));
    }
  }

  #apply(lease: Lease, answer: number, sentAt: number): void {
    if (answer > 0) {
      lease.since = sentAt;
      return;
    }
    const { context } = lease;
    // If the task has ended meanwhile, its own answer arrived first.
    if (this.#leases.get(context.task.handle) !== lease) return;
    // There is nothing to extend any more. The server doesn't extend the lease of a cancelled task either.
    this.remove(context);
    const isCancelled = answer === -3;
    context.stop(isCancelled ? new CancelAsked("the task was cancelled") : new LeaseLost("the task's lease has ended"));
    this.#log(
      `task ${context.task.id} ${isCancelled ? "was cancelled" : "lost its lease"}: its function is asked to stop`,
    );
  }
}

/** The time of a lease's next heartbeat. */
function dueOf(lease: Lease): number {
  return lease.since + (lease.ms === undefined ? ASK_AFTER_MS : lease.ms / 3);
}

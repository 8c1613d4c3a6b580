/** The class `Worker`: claims tasks, runs their functions, answers, and stops gracefully. */

import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { hostname } from "node:os";

import { type BaseQueue, type Search, searchFor } from "../base-queue.js";
import { BadPayload, type Call, type TaskFunction, readCall } from "../call.js";
import { LeaseLost, OutOfMemory, Paused, QueueFull, Refused, passes } from "../errors.js";
import { printable } from "../printable.js";
import type { Task } from "../replies.js";
import { SLICE_MS, Wire, inTime } from "../wire.js";
import { TaskContext, runWith } from "./context.js";
import { Leases } from "./leases.js";
import { type Outcome, described, failed, ofError, ofValue } from "./outcomes.js";

/** If a claim took longer than this, its tasks' leases count from its sending: an earlier copy may have leased them. */
const LATE_MS = 1500;
/** The shortest and the longest rest after an error. */
const RESTS_MS = [100, 5000] as const;
/** How long a stop waits for its TASK.REQUEUE if a server is away, and for the reply to its last claim. */
const REQUEUE_MS = 4000;
const LAST_CLAIM_MS = 2000;
/** The mark of this process, the same for all of its workers. */
const MARK = randomBytes(3).toString("hex");

/** How a worker works. Spans are ms. */
export interface WorkerOptions {
  /** How many tasks it runs at a time. Default 8. */
  concurrency?: number;
  /** The name in TASK.INFO … WORKERS, which must differ between processes. Default: host, process id and a random part. */
  name?: string;
  /** The length of leases. Without it the task's or the queue's applies. */
  leaseMs?: number;
  /** How long `close` waits for running tasks. Default 25 s: Kubernetes kills after 30. */
  graceMs?: number;
  /** Claim only tasks of this group. */
  group?: string;
  /**
   * Gets a text about each failure, lost lease and outage: a line, and below it the calls of a stack. Control characters
   * are escaped. Default `console.error`.
   */
  log?: (line: string) => void;
}

/** The events of a worker. */
export interface WorkerEvents {
  /** A task is finished, and the server has said so. */
  done: [task: Task, value: unknown];
  /** An attempt failed. `nextMs` is the time until the next one, -1 if the task is dead. */
  failed: [task: Task, error: string, nextMs: number];
}

type AnyTask = TaskFunction<never, unknown>;

/**
 * Runs functions for the tasks of a queue.
 *
 *     const send = task("mail.send", async (to: string) => { … });
 *     const worker = new Worker(queue, [send], { concurrency: 8 });
 *     process.exit((await worker.run()) ? 1 : 0); // until SIGTERM, Ctrl-C or close()
 *
 * The value that a function returns is the task's result, as JSON. An error is a failed attempt; throw `Fail` to control
 * the next one, and `GiveBack` to requeue the task. Named arguments come as the last argument, an object. Delivery is
 * at-least-once: a function can run again for the same task.
 *
 * Leases are extended from the event loop. A function that keeps the loop busy for longer than its lease loses it.
 */
export class Worker extends EventEmitter<WorkerEvents> {
  readonly name: string;
  readonly #queue: BaseQueue;
  readonly #tasks = new Map<string, AnyTask>();
  readonly #options: WorkerOptions;
  readonly #concurrency: number;
  readonly #log: (line: string) => void;
  readonly #running = new Map<string, TaskContext>();
  readonly #leases: Leases;
  readonly #stop = new AbortController();
  readonly #stopNow = new AbortController();
  readonly #waiting: (() => void)[] = [];
  #run: Promise<number> | undefined;
  #graceMs: number;

  constructor(queue: BaseQueue, tasks: readonly AnyTask[], options: WorkerOptions = {}) {
    super();
    const { concurrency = 8, name = `${hostname()}-${process.pid}-${MARK}`, graceMs = 25_000 } = options;
    if (!Number.isInteger(concurrency) || concurrency < 1) throw new RangeError("concurrency must be at least 1");
    if (!(graceMs >= 0)) throw new RangeError("graceMs must not be negative");
    for (const one of tasks) {
      if (!one.run) throw new TypeError(`${one.name} is only declared: a worker needs its function`);
      if (this.#tasks.has(one.name)) throw new TypeError(`${one.name} is given twice`);
      this.#tasks.set(one.name, one);
    }
    this.name = name;
    this.#queue = queue;
    this.#options = options;
    this.#concurrency = concurrency;
    this.#graceMs = graceMs;
    const log = options.log ?? ((line: string) => console.error(line));
    // Names and errors can contain a payload.
    this.#log = (line) => log(printable(line));
    this.#leases = new Leases(queue, options.leaseMs, this.#log);
    this.#stop.signal.addEventListener("abort", () => (this.#stoppedAt = performance.now()));
    for (const { signal } of [this.#stop, this.#stopNow]) signal.addEventListener("abort", () => this.#wake());
  }

  /** The number of tasks that run. */
  get running(): number {
    return this.#running.size;
  }

  /**
   * Work until `close()`, SIGTERM or SIGINT; a second signal skips the wait for running tasks. Returns how many tasks were
   * given back unfinished. Rejects if the server refuses a claim (a wrong password, a key of another type).
   */
  run({ signals = true }: { signals?: boolean } = {}): Promise<number> {
    this.#run ??= this.#live(signals);
    return this.#run;
  }

  /** Stop claiming, wait for running tasks up to `graceMs`, give back the others. Returns how many were given back. */
  async close({ graceMs }: { graceMs?: number } = {}): Promise<number> {
    if (graceMs !== undefined) this.#graceMs = graceMs;
    this.#stop.abort();
    return (await this.#run) ?? 0;
  }

  async #live(signals: boolean): Promise<number> {
    const onSignal = (): void => (this.#stop.signal.aborted ? this.#stopNow.abort() : this.#stop.abort());
    const names = signals ? (["SIGTERM", "SIGINT"] as const) : [];
    for (const name of names) process.on(name, onSignal);
    const wire = this.#queue.wire.twin();
    try {
      await this.#claims(wire);
    } finally {
      this.#stop.abort();
      wire.close();
      await this.#settle();
      for (const name of names) process.off(name, onSignal);
    }
    return this.#givenBack;
  }

  // ---- claims

  async #claims(wire: Wire): Promise<void> {
    let search: Search | undefined;
    let sentAt = 0;
    const outage = new Outage(this.#log);
    while (!this.#stop.signal.aborted) {
      const places = this.#concurrency - this.#running.size;
      if (places <= 0) {
        await this.#next();
        continue;
      }
      if (!search) sentAt = performance.now();
      search ??= this.#search(places);
      try {
        const tasks = await this.#queue.claimOnce(search, SLICE_MS, wire);
        search = undefined; // answered, so the next claim takes a new token
        outage.over();
        this.#begin(tasks, sentAt);
      } catch (error) {
        // The same claim again: it gets the tasks of a reply that was lost.
        if (!isPassing(error)) throw error;
        await outage.rest(error, this.#stop.signal);
      }
    }
    if (search) await this.#drain(search, wire);
  }

  #search(places: number): Search {
    const { leaseMs, group } = this.#options;
    return searchFor(Math.min(places, 1000), { worker: this.name, meta: true, leaseMs, group });
  }

  /** Ask for the tasks of a claim without an answer, so that they don't wait for the ends of their leases. */
  async #drain(search: Search, wire: Wire): Promise<void> {
    try {
      this.#begin(await inTime(this.#queue.claimOnce(search, undefined, wire), LAST_CLAIM_MS), performance.now());
    } catch {
      // The server is still away, and their leases end.
    }
  }

  #begin(tasks: readonly Task[], sentAt: number): void {
    const now = performance.now();
    const since = now - sentAt < LATE_MS ? now : sentAt;
    // A claim that was sent again can bring tasks that run already.
    for (const task of tasks.filter(({ handle }) => !this.#running.has(handle))) {
      const context = new TaskContext(this.#queue, task);
      this.#running.set(task.handle, context);
      this.#leases.add(context, since);
      if (!this.#stop.signal.aborted) void this.#work(context);
    }
    if (this.#stop.signal.aborted) this.#unbegun.push(...tasks.map(({ handle }) => handle));
  }

  // ---- one task

  async #work(context: TaskContext): Promise<void> {
    try {
      const outcome = await this.#outcome(context);
      if (outcome) await this.#answer(context, outcome);
    } catch (error) {
      this.#log(`task ${context.task.id}: ${described(error)}`);
    } finally {
      this.#leases.remove(context);
      this.#running.delete(context.task.handle);
      this.#wake();
    }
  }

  async #outcome(context: TaskContext): Promise<Outcome | undefined> {
    let call: Call;
    try {
      call = readCall(context.task.payload);
    } catch (error) {
      if (!(error instanceof BadPayload)) throw error;
      return failed(context, error.message, { dead: true });
    }
    const known = this.#tasks.get(call.task);
    // Another worker may know it.
    if (!known?.run) return failed(context, `UnknownFunction: no function '${call.task.slice(0, 200)}'`, {});
    const args = Object.keys(call.kwargs).length ? [...call.args, call.kwargs] : call.args;
    const run = known.run as (...args: readonly unknown[]) => unknown;
    try {
      const value = await runWith(context, async () => run(...args));
      return ofValue(context, value, known.retainMs);
    } catch (error) {
      return ofError(context, error);
    }
  }

  /** Send an outcome, and again while the server is away. The lease is extended meanwhile, if possible. */
  async #answer(context: TaskContext, outcome: Outcome): Promise<void> {
    const outage = new Outage(this.#log);
    for (let sent = outcome; !context.isAbandoned;) {
      let nextMs: number | void;
      try {
        nextMs = await sent.send(this.#queue);
      } catch (error) {
        if (error instanceof LeaseLost) {
          this.#log(`task ${context.task.id}: its lease had ended, so its outcome is dropped`);
          return;
        }
        if (isPassing(error)) await outage.rest(error, this.#stopNow.signal);
        else if (error instanceof Refused && !(sent.kind === "failed" && sent.dead)) {
          sent = failed(context, `the server refused the outcome: ${error.message}`, { dead: true });
        } else throw error;
        continue;
      }
      this.#tell(context.task, sent, nextMs ?? 0);
      return;
    }
  }

  #tell(task: Task, outcome: Outcome, nextMs: number): void {
    if (outcome.kind === "done") this.emit("done", task, outcome.value);
    if (outcome.kind !== "failed") return;
    const next = nextMs < 0 ? "now dead" : nextMs ? `retrying in ${nextMs / 1000} s` : "no longer in the queue";
    this.#log(`task ${task.id} failed, ${next}: ${outcome.error}`);
    this.emit("failed", task, outcome.error, nextMs);
  }

  // ---- the end

  /** Since when the worker stops (`performance.now()`). */
  #stoppedAt = 0;
  readonly #unbegun: string[] = [];
  #givenBack = 0;

  /** Wait for running tasks, then give back those that are left. */
  async #settle(): Promise<void> {
    await this.#giveBack(this.#unbegun.map((handle) => this.#running.get(handle)).filter((one) => one !== undefined));
    // The last claim has taken a part of the grace, and a long one if the server does not reply.
    const endsAt = this.#stoppedAt + this.#graceMs;
    const timer = setTimeout(() => this.#wake(), Math.min(endsAt - performance.now() + 1, 2 ** 31 - 1));
    while (this.#running.size && !this.#stopNow.signal.aborted && performance.now() < endsAt) await this.#next();
    clearTimeout(timer);
    this.#givenBack = await this.#giveBack([...this.#running.values()]);
    this.#leases.close();
  }

  /** Requeue tasks, and abort their signals. Returns how many were still this worker's. */
  async #giveBack(contexts: readonly TaskContext[]): Promise<number> {
    if (!contexts.length) return 0;
    for (const context of contexts) context.isAbandoned = true;
    let answers: number[] = [];
    try {
      answers = await inTime(this.#queue.requeueMany(contexts.map(({ task }) => task)), REQUEUE_MS);
    } catch (error) {
      const why = (error as Error).message;
      this.#log(`${contexts.length} tasks can't be requeued and come back when their leases end: ${why}`);
      answers = contexts.map(() => 1);
    }
    for (const context of contexts) {
      context.stop(new LeaseLost("the worker stops and has given the task back"));
      this.#leases.remove(context);
      this.#running.delete(context.task.handle);
    }
    return answers.filter((answer) => answer === 1).length;
  }

  /** Wait until a task ends, or the worker has to stop. */
  #next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** An outage as a caller sees it: rests that grow, and a line in the log at its start and at its end. */
class Outage {
  readonly #log: (line: string) => void;
  #since: number | undefined;
  #restMs: number = RESTS_MS[0];

  constructor(log: (line: string) => void) {
    this.#log = log;
  }

  async rest(error: unknown, until: AbortSignal): Promise<void> {
    if (this.#since === undefined) this.#log(`trying again: ${(error as Error).message}`);
    this.#since ??= performance.now();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(end, this.#restMs);
      function end(): void {
        clearTimeout(timer);
        until.removeEventListener("abort", end);
        resolve();
      }
      until.addEventListener("abort", end);
      if (until.aborted) end();
    });
    this.#restMs = Math.min(RESTS_MS[1], this.#restMs * 2);
  }

  over(): void {
    if (this.#since === undefined) return;
    this.#log(`the server replies again, after ${((performance.now() - this.#since) / 1000).toFixed(1)} s`);
    this.#since = undefined;
    this.#restMs = RESTS_MS[0];
  }
}

/** Whether an error passes: the server is away, or it or the queue accepts no writes for now. */
function isPassing(error: unknown): boolean {
  if (error instanceof OutOfMemory || error instanceof Paused || error instanceof QueueFull) return true;
  return error instanceof Refused ? passes(new Error(`${error.code} `)) : passes(error);
}

/** The methods that a queue and a sharded queue share. */

import { randomBytes } from "node:crypto";

import { Batch } from "./batch.js";
import type { Payload } from "./call.js";
import * as commands from "./commands.js";
import type {
  AckOptions,
  CallbackOptions,
  ClaimOptions,
  Command,
  Direction,
  ExtendOptions,
  FailOptions,
  GroupOptions,
  ListOptions,
  PushOptions,
  Removal,
  RequeueOptions,
  ScheduleOptions,
  SetOptions,
  TaskOptions,
} from "./commands.js";
import { NotDone, Refused, UnknownTask } from "./errors.js";
import { type Flow, type FlowIds, MOST, asFlow, planned, shaped } from "./flows.js";
import type {
  BatchInfo,
  Ended,
  Group,
  Info,
  Pushed,
  Schedule,
  Settings,
  State,
  Task,
  TaskRef,
  TaskView,
  WorkerView,
} from "./replies.js";
import { sliceMs, Wire } from "./wire.js";

/** A new REQUEST token. */
export function newToken(): string {
  return randomBytes(9).toString("hex");
}

/** The items in parts of at most `most`. */
export function parts<T>(items: readonly T[], most: number = MOST): T[][] {
  const found: T[][] = [];
  for (let start = 0; start < items.length; start += most) found.push(items.slice(start, start + most));
  return found;
}

/** A claimed task, its handle, or an object with both. */
export type HandleRef = string | { readonly handle: string };

/** A task by its id, or by the `unique` token that it holds. */
export type NamedTask = TaskRef | { readonly unique: string };

/** How a claim is made, besides the number of tasks. */
export interface ClaimCall extends ClaimOptions {
  /** Wait for the first task for so long; without it, don't wait. */
  blockMs?: number | undefined;
  /** Ends the wait: the claim returns what it has, which is nothing. */
  signal?: AbortSignal | undefined;
  request?: string | undefined;
}

/** One claim that is sent until it is answered: its number of tasks, its token, and the shards that owe an answer. */
export interface Search {
  readonly count: number;
  readonly request: string;
  readonly options: ClaimOptions;
  readonly unanswered: Set<number>;
}

/** A search for `count` tasks. Throws RangeError. */
export function searchFor(count: number, options: ClaimOptions, request = newToken()): Search {
  if (!Number.isInteger(count) || count < 1 || count > MOST) {
    throw new RangeError(`count must be from 1 to ${MOST}, not ${count}`);
  }
  return { count, request, options, unanswered: new Set() };
}

/** A logical queue in one key or in several. Each method finds the key that its command is for. */
export abstract class BaseQueue {
  constructor(
    readonly name: string,
    readonly keys: readonly string[],
    /** Sends the commands. */
    readonly wire: Wire,
  ) {}

  /** Close the connections that this queue opened. The client stays open. */
  close(): void {
    this.wire.close();
  }

  // ---- which key

  /** The key of an id or a handle, and the id or handle that the server knows. */
  protected abstract locate(name: string): readonly [key: string, bare: string];
  protected abstract keyOfGroup(group: string): string;
  protected abstract keyOfBatch(name: string): string;
  /** The keys of which one can have the task that holds a token, the likely one first. */
  protected abstract keysOfToken(token: string): readonly string[];
  /** The key for pushes with these options; undefined if they can go to any. Throws RangeError if they name different ones. */
  protected abstract keyFor(after: readonly TaskRef[], options: readonly CallbackOptions[]): string | undefined;
  /** Push `number` tasks to this key, else to the key of this token, else to any. */
  protected abstract runAt<R>(
    key: string | undefined,
    name: string | undefined,
    number: number,
    command: (key: string) => Command<R>,
  ): Promise<readonly [key: string, reply: R]>;
  /** The id that a task of a key has in this queue. */
  protected abstract nameOf(key: string, id: string): string;

  /** Claim once: wait for at most `waitMs`, if given. With the same search again after an error. */
  abstract claimOnce(search: Search, waitMs: number | undefined, wire?: Wire): Promise<Task[]>;

  /** The key of a running task, and its handle as the server knows it. */
  place(task: HandleRef): readonly [key: string, handle: string] {
    return this.locate(typeof task === "string" ? task : task.handle);
  }

  #idAt(task: TaskRef): readonly [key: string, id: string] {
    return this.locate(replyId(task));
  }

  #bare(tasks: readonly TaskRef[]): string[] {
    return tasks.map((task) => this.#idAt(task)[1]);
  }

  #view(key: string, view: TaskView): TaskView {
    const named = (ids: readonly string[]): string[] => ids.map((id) => this.nameOf(key, id));
    return { ...view, id: this.nameOf(key, view.id), after: named(view.after), waitsFor: named(view.waitsFor) };
  }

  // ---- produce

  /**
   * Push a task. With `unique`, `isNew` is false if another task holds the token. With `after`, it is held until these
   * tasks are done. With `batch`, it counts in this batch. Throws `QueueFull` or `Paused`.
   */
  async push<R>(payload: Payload<R>, options: PushOptions = {}): Promise<Pushed<R>> {
    const after = options.after ?? [];
    const name = options.unique ?? options.request;
    const sent = { ...options, request: options.request ?? newToken() };
    if (options.after) sent.after = this.#bare(after);
    const command = (key: string): Command<Pushed<R>> => commands.push(key, payload, sent);
    const [key, made] = await this.runAt(this.keyFor(after, [options]), name, 1, command);
    return { ...made, id: this.nameOf(key, made.id) };
  }

  /**
   * Push tasks with the same options, and return their ids. They are pushed in parts (a thousand, with shards a
   * hundred), each completely or not at all. The same payloads with the same `request` within 5 minutes add nothing.
   */
  async pushMany(
    payloads: readonly Payload[],
    options: TaskOptions & { request?: string | undefined } = {},
  ): Promise<string[]> {
    const { request, ...rest } = options;
    const sent: TaskOptions = rest.after ? { ...rest, after: this.#bare(rest.after) } : rest;
    const found = this.keyFor(rest.after ?? [], [rest]);
    const ids: string[] = [];
    for (const [number, part] of parts(payloads, this.mostAtOnce(rest.after?.length ?? 0)).entries()) {
      const again = request === undefined ? undefined : `${request}.${number}`;
      const token = again ?? newToken();
      const [key, made] = await this.runAt(found, again, part.length, (at) => commands.pushMany(at, part, token, sent));
      ids.push(...made.map((id) => this.nameOf(key, id)));
    }
    return ids;
  }

  protected abstract mostAtOnce(parents: number): number;

  /**
   * Push the tasks of a flow, and return their ids in its shape. The options are those of all steps that have none of
   * their own. Tasks that others wait for are kept for a day once they are done, unless `retainMs` says otherwise.
   *
   * If a push fails, those before it are in the queue. A flow that is pushed with the same `request` again within 5
   * minutes gets the rest.
   */
  async pushFlow(
    flow: Flow,
    options: Omit<TaskOptions, "delayMs" | "at"> & { request?: string | undefined } = {},
  ): Promise<FlowIds> {
    const { request, after = [], ...common } = options;
    const whole = asFlow(flow);
    const todo = planned(whole, common, after.length);
    const again = request ?? newToken();
    let key = this.keyFor(
      after,
      todo.map((part) => part.options),
    );
    const outer = this.#bare(after);
    const ids: string[] = [];
    for (const [number, part] of todo.entries()) {
      const waitsFor = part.parents.length ? part.parents.map((place) => ids[place] as string) : outer;
      const { onDead, ...rest } = part.options;
      const sent: TaskOptions = waitsFor.length ? { ...part.options, after: waitsFor } : rest;
      const command = (at: string): Command<string[]> =>
        commands.pushMany(at, part.payloads, `${again}.${number}`, sent);
      const [at, made] = await this.runAt(key, request, part.places.length, command);
      key = at;
      part.places.forEach((place, index) => (ids[place] = made[index] as string));
    }
    return shaped(whole, ids.map((id) => this.nameOf(key as string, id))[Symbol.iterator]());
  }

  // ---- batches

  /** A batch that is there, or will be. */
  batch(name: string): Batch {
    return new Batch(this, name);
  }

  /**
   * Open a batch with its callback, let `fill` push into it, and close it: the callback becomes ready, exactly once,
   * when all tasks have ended. If `fill` throws, a batch that was opened here is deleted, and its callback never runs.
   */
  async withBatch<T>(
    name: string,
    callback: Payload,
    fill: (batch: Batch, callback: Pushed) => T | Promise<T>,
    options: CallbackOptions = {},
  ): Promise<T> {
    const opened = await this.openBatch(name, callback, options);
    const batch = this.batch(name);
    let filled: T;
    try {
      filled = await fill(batch, opened);
    } catch (error) {
      if (opened.isNew) await batch.delete().catch(() => undefined);
      throw error;
    }
    await batch.close();
    return filled;
  }

  /** Open a batch and push its callback, which is held. If there is a batch of this name, `isNew` is false. */
  async openBatch(name: string, callback: Payload, options: CallbackOptions = {}): Promise<Pushed> {
    const key = this.keyOfBatch(name);
    this.keyFor([], [{ batch: name }, options]);
    const made = await this.wire.run(commands.openBatch(key, name, callback, options));
    return { ...made, id: this.nameOf(key, made.id) };
  }

  /** Close a batch: its callback becomes ready once all tasks have ended. False if it was closed before. */
  async closeBatch(name: string): Promise<boolean> {
    try {
      return await this.wire.run(commands.closeBatch(this.keyOfBatch(name), name));
    } catch (error) {
      // A reply was lost and the batch is gone: the first try closed it, and its callback has ended.
      if (error instanceof Refused && error.isRepeat && error.message.includes("no batch of this name")) return false;
      throw error;
    }
  }

  /** The state and the counts of a batch; null if there is no such batch. */
  async batchInfo(name: string): Promise<BatchInfo | null> {
    const key = this.keyOfBatch(name);
    const found = await this.wire.run(commands.batchInfo(key, name));
    return found && { ...found, callback: this.nameOf(key, found.callback) };
  }

  /** Delete a batch and its callback; its tasks go on. If the callback is leased, its worker is "asked" to stop. */
  deleteBatch(name: string): Promise<Removal> {
    return this.wire.run(commands.deleteBatch(this.keyOfBatch(name), name));
  }

  /** All batches, by name; those of a sharded queue shard by shard. */
  batches(): Promise<BatchInfo[]> {
    return this.#pages(commands.batches, (key, batch) => ({ ...batch, callback: this.nameOf(key, batch.callback) }));
  }

  async #pages<T extends { name: string }>(
    page: (key: string, after: string | undefined) => Command<T[]>,
    named: (key: string, one: T) => T,
  ): Promise<T[]> {
    const found: T[] = [];
    for (const key of this.keys) {
      for (let last: string | undefined, more = true; more;) {
        const some = await this.wire.run(page(key, last));
        found.push(...some.map((one) => named(key, one)));
        last = some.at(-1)?.name;
        more = some.length >= MOST;
      }
    }
    return found;
  }

  // ---- work

  /** Claim up to `count` tasks (1 to 1000), each with a lease. Returns an empty array if there are none. */
  async claim(count = 1, { blockMs, signal, request, ...options }: ClaimCall = {}): Promise<Task[]> {
    const search = searchFor(count, options, request);
    if (blockMs === undefined) return this.claimOnce(search, undefined);
    if (!(blockMs >= 0)) throw new RangeError("blockMs must not be negative: 0 waits without a limit");
    const endsAt = blockMs === 0 ? Infinity : Date.now() + blockMs;
    for (;;) {
      const tasks = await this.claimOnce(search, sliceMs(endsAt));
      if (tasks.length || Date.now() >= endsAt || signal?.aborted) return tasks;
    }
  }

  /**
   * Finish a task. Returns false if it was already finished or removed, so a repeated ack is harmless. An ack also counts
   * after the deadline, until the task is claimed again. Then it throws `LeaseLost`.
   */
  async ack(task: HandleRef, options: AckOptions = {}): Promise<boolean> {
    return Boolean(first(await this.wire.run(commands.ack(...this.place(task), options))));
  }

  /**
   * Finish a task and push the next step into the same key, both or neither. Returns null if the task was already
   * finished. If the push is refused, or the lease is lost, nothing has changed. `done` is what the ack says.
   */
  async ackAndPush<R>(
    task: HandleRef,
    payload: Payload<R>,
    options: PushOptions = {},
    done: AckOptions = {},
  ): Promise<Pushed<R> | null> {
    const [key, handle] = this.place(task);
    const sent = { ...options, request: options.request ?? newToken() };
    if (options.after) {
      if (![undefined, key].includes(this.keyFor(options.after, []))) {
        throw new RangeError("the next step of a task can only wait for tasks of the same key");
      }
      sent.after = this.#bare(options.after);
    }
    const made = await this.wire.run(commands.ackAndPush(key, handle, done, payload, sent));
    return made && { ...made, id: this.nameOf(key, made.id) };
  }

  /** Give a task back unfinished. This does not count as a failed attempt. */
  async requeue(task: HandleRef, options: RequeueOptions = {}): Promise<boolean> {
    return Boolean(first(await this.wire.run(commands.requeue(...this.place(task), options))));
  }

  /** Extend a lease. Returns the new deadline; 0 if the task ended. Throws `LeaseLost` or `CancelAsked`. */
  async extend(task: HandleRef, options: ExtendOptions = {}): Promise<number> {
    return first(await this.wire.run(commands.extend(...this.place(task), options)));
  }

  /** Report a failed attempt. Returns the ms until the task is ready again, -1 if it is dead, 0 if it ended. */
  async fail(task: HandleRef, error?: string, options: FailOptions = {}): Promise<number> {
    return first(await this.wire.run(commands.fail(...this.place(task), error, options)));
  }

  /** Finish tasks. Returns for each, in order, 1 (finished), 0 (it was finished or removed) or -2 (lease lost). */
  ackMany(tasks: readonly HandleRef[], options: AckOptions = {}): Promise<number[]> {
    return this.#answers(tasks, (key, handles) => commands.ack(key, handles, options));
  }

  /** Give tasks back. Returns for each, in order, 1, 0 or -2. */
  requeueMany(tasks: readonly HandleRef[], options: RequeueOptions = {}): Promise<number[]> {
    return this.#answers(tasks, (key, handles) => commands.requeue(key, handles, options));
  }

  /** Extend leases. Returns for each, in order, the deadline, 0 (ended), -2 (lease lost) or -3 (cancelled). */
  extendMany(tasks: readonly HandleRef[], options: ExtendOptions = {}): Promise<number[]> {
    return this.#answers(tasks, (key, handles) => commands.extend(key, handles, options));
  }

  async #answers<T>(
    tasks: readonly HandleRef[],
    command: (key: string, handles: string[]) => Command<T[]>,
  ): Promise<T[]> {
    return this.#each(
      tasks.map((task) => this.place(task)),
      command,
    );
  }

  /** Send one command for each thousand names of a key. Returns the replies in the order of the names. */
  async #each<T>(
    located: (readonly [string, string])[],
    command: (key: string, names: string[]) => Command<T[]>,
  ): Promise<T[]> {
    const answers: T[] = [];
    const byKey = new Map<string, number[]>();
    located.forEach(([key], place) => byKey.set(key, [...(byKey.get(key) ?? []), place]));
    for (const [key, places] of byKey) {
      for (const part of parts(places)) {
        const found = await this.wire.run(
          command(
            key,
            part.map((place) => (located[place] as readonly [string, string])[1]),
          ),
        );
        part.forEach((place, index) => (answers[place] = found[index] as T));
      }
    }
    return answers;
  }

  // ---- inspect

  /**
   * How a task ended; null if it has not. `blockMs` waits for its end; 0 waits without a limit. Throws `UnknownTask` if
   * there is no such task, or if it ended and was not kept.
   */
  async result(task: NamedTask, { blockMs }: { blockMs?: number } = {}): Promise<Ended | null> {
    const [key, id] = this.#idAt(await this.#named(task));
    if (blockMs === undefined) return this.wire.run(commands.result(key, id, undefined));
    const endsAt = blockMs === 0 ? Number.MAX_SAFE_INTEGER : Date.now() + blockMs;
    for (;;) {
      const found = await this.wire.watch((ms) => commands.result(key, id, ms), endsAt);
      if (found || Date.now() >= endsAt) return found;
    }
  }

  /**
   * The value that a task's function returned, read from JSON, as `result` with `blockMs`. Throws `NotDone` if the task
   * has not ended by then, or ended otherwise: `error.state` and `error.error` say how.
   */
  async value<R = unknown>(task: Pushed<R> | NamedTask, options: { blockMs?: number } = {}): Promise<R> {
    const found = await this.result(task, options);
    if (!found) throw new NotDone("the task has not ended");
    if (found.state === "done") return (found.value === null ? undefined : JSON.parse(found.value.toString())) as R;
    throw new NotDone(
      `the task is ${found.state}${found.error ? `: ${found.error}` : ""}`,
      found.state,
      found.error ?? undefined,
    );
  }

  async #named(task: NamedTask): Promise<TaskRef> {
    if (typeof task === "string" || "id" in task) return task;
    const view = await this.get(task);
    if (!view) throw new UnknownTask("no task that waits or is leased holds the token");
    return view;
  }

  /** Everything known about a task; null if there is no such task. */
  async get(task: NamedTask | HandleRef): Promise<TaskView | null> {
    if (typeof task === "string" || !("unique" in task)) {
      const name = typeof task === "string" ? task : "handle" in task ? task.handle : task.id;
      const [key, bare] = this.locate(name);
      const view = await this.wire.run(commands.get(key, bare));
      return view && this.#view(key, view);
    }
    for (const key of this.keysOfToken(task.unique)) {
      const view = await this.wire.run(commands.get(key, "UNIQUE", task.unique));
      if (view) return this.#view(key, view);
    }
    return null;
  }

  /** The tasks in a state, page by page: ready ones in claim order, delayed ones by due time, others by age. */
  async *tasks(
    state: State,
    { page = 100, ...options }: ListOptions & { page?: number } = {},
  ): AsyncGenerator<TaskView> {
    for (const key of this.keys) {
      for (let cursor = ""; cursor !== "0";) {
        const found = await this.wire.run(commands.list(key, state, cursor || "0", page, options));
        cursor = found.cursor;
        for (const view of found.tasks) yield this.#view(key, view);
      }
    }
  }

  /** The number of tasks in a state. Without a state: of those that are ready, delayed, held or leased. */
  async length(state?: State): Promise<number> {
    return (await this.#all((key) => commands.length(key, state))).reduce((sum, one) => sum + one, 0);
  }

  /** Counts, totals, rates, times and load of each key that exists. A plain queue has one key. */
  async infos(): Promise<Record<string, Info>> {
    const found = await this.#all(commands.info);
    return Object.fromEntries(this.keys.flatMap((key, at) => (found[at] ? [[key, found[at]]] : [])));
  }

  /** The settings, for shards those of the first that exists; null if there is no queue yet. */
  async settings(): Promise<Settings | null> {
    for (const key of this.keys) {
      const found = await this.wire.run(commands.settings(key));
      if (found) return found;
    }
    return null;
  }

  /** All groups, by name; those of a sharded queue shard by shard. */
  groups(): Promise<Group[]> {
    return this.#pages(commands.groups, (_, group) => group);
  }

  /** The workers that hold leases or wait, by key: the first thousand by name. */
  async workers(): Promise<WorkerView[]> {
    return (await this.#all(commands.workers)).flat();
  }

  /** The schedules, by name. */
  schedules(): Promise<Schedule[]> {
    return this.wire.run(commands.schedules(this.#first));
  }

  get #first(): string {
    return this.keys[0] as string;
  }

  #all<R>(command: (key: string) => Command<R>): Promise<R[]> {
    return Promise.all(this.keys.map((key) => this.wire.run(command(key))));
  }

  // ---- admin

  /** Change a task that waits: when it is due, its priority, group, payload or headers. False if it waits no more. */
  async set(task: NamedTask, options: SetOptions): Promise<boolean> {
    const [key, id] = this.#idAt(await this.#named(task));
    if (options.group && this.keyOfGroup(options.group) !== key) {
      throw new RangeError(`a task of ${key} cannot move to group ${options.group}, which is on another shard`);
    }
    return first(await this.wire.run(commands.set(key, [id], options)));
  }

  /** Remove a task that waits, or ask the worker of a leased one to stop. Null if there was nothing to cancel. */
  async cancel(task: NamedTask): Promise<Removal> {
    if (typeof task === "object" && "unique" in task) {
      for (const key of this.keysOfToken(task.unique)) {
        const removed = await this.wire.run(commands.cancelUnique(key, task.unique));
        if (removed) return removed;
      }
      return null;
    }
    return first(await this.cancelMany([task]));
  }

  /** Cancel tasks. Returns for each, in order, what `cancel` would. */
  cancelMany(tasks: readonly TaskRef[]): Promise<Removal[]> {
    return this.#each(
      tasks.map((task) => this.#idAt(task)),
      commands.cancel,
    );
  }

  /** Make dead, delayed or held tasks ready. Returns how many were. */
  async retry(...tasks: TaskRef[]): Promise<number> {
    return this.#sum(tasks, commands.retry);
  }

  /** Make at most `count` dead tasks ready, the oldest of each shard first; those of a group, if it is given. */
  async retryDead(count = MOST, { group }: { group?: string } = {}): Promise<number> {
    let done = 0;
    for (const key of group === undefined ? this.keys : [this.keyOfGroup(group)]) {
      if (done < count) done += await this.wire.run(commands.retryDead(key, Math.min(MOST, count - done), group));
    }
    return done;
  }

  /** Remove at most `count` tasks in a state; "all" is every state except leased. Call it until it returns 0. */
  async purge(
    state: State | "all",
    { count = MOST, olderMs }: { count?: number; olderMs?: number } = {},
  ): Promise<number> {
    let done = 0;
    for (const key of this.keys) {
      if (done < count) done += await this.wire.run(commands.purge(key, state, count - done, olderMs));
    }
    return done;
  }

  /** Remove the tasks with these ids that are not leased. Returns how many were. */
  purgeTasks(...tasks: TaskRef[]): Promise<number> {
    return this.#sum(tasks, commands.purgeIds);
  }

  async #sum(tasks: readonly TaskRef[], command: (key: string, ids: string[]) => Command<number>): Promise<number> {
    const counted = (key: string, ids: string[]): Command<number[]> => {
      const one = command(key, ids);
      return { ...one, read: (reply) => [one.read(reply), ...new Array<number>(ids.length - 1).fill(0)] };
    };
    const found = await this.#each(
      tasks.map((task) => this.#idAt(task)),
      counted,
    );
    return found.reduce((sum, one) => sum + one, 0);
  }

  /** Change settings: `configure({ lease: 60_000, maxLen: 10_000 })`; each shard has its limits for itself. */
  async configure(values: Partial<Settings>): Promise<void> {
    await this.#all((key) => commands.configure(key, values));
  }

  /** Reset settings to their defaults; all of them if none is named. */
  async reset(...names: (keyof Settings)[]): Promise<void> {
    await this.#all((key) => commands.reset(key, names));
  }

  /** Set a group's weight and limits. */
  setGroup(name: string, options: GroupOptions): Promise<void> {
    return this.wire.run(commands.setGroup(this.keyOfGroup(name), name, options));
  }

  /** Remove the weight and limits of a group. False if it had none. */
  forgetGroup(name: string): Promise<boolean> {
    return this.wire.run(commands.forgetGroup(this.keyOfGroup(name), name));
  }

  /** Stop claims ("out"), pushes ("in") or both ("all"), for `forMs` or until `resume`; or the claims of one group. */
  async pause(what: Direction | { group: string } = "out", { forMs }: { forMs?: number } = {}): Promise<void> {
    if (typeof what === "object")
      return this.wire.run(commands.pauseGroup(this.keyOfGroup(what.group), what.group, forMs));
    await this.#all((key) => commands.pause(key, what, forMs));
  }

  /** Allow again what `pause` stopped. */
  async resume(what: Direction | { group: string } = "out"): Promise<void> {
    if (typeof what === "object") return this.wire.run(commands.resumeGroup(this.keyOfGroup(what.group), what.group));
    await this.#all((key) => commands.resume(key, what));
  }

  /** Set a schedule. False if it replaced one of the same name. A sharded queue has all schedules on shard 0. */
  schedule(name: string, payload: Payload, options: ScheduleOptions): Promise<boolean> {
    return this.wire.run(commands.schedule(this.#first, name, payload, options));
  }

  /** Remove a schedule. False if there was none of that name. */
  unschedule(name: string): Promise<boolean> {
    return this.wire.run(commands.unschedule(this.#first, name));
  }

  /** Make a run of a schedule now, besides those that are planned. Returns the id of its task. */
  async runSchedule(name: string): Promise<string> {
    return this.nameOf(this.#first, await this.wire.run(commands.runSchedule(this.#first, name)));
  }
}

function first<T>(found: readonly T[]): T {
  return found[0] as T;
}

function replyId(task: TaskRef): string {
  const name = typeof task === "string" ? task : task.id;
  return name.split("@", 1)[0] as string;
}

/** The replies of commands as typed objects, and the conversion from what clients return. */

import { UnknownTask } from "./errors.js";

/** The state of a task. */
export type State = "ready" | "delayed" | "held" | "leased" | "dead" | "done";

/** A task of a queue: its id, its handle, or an object with its id. */
export type TaskRef = string | { readonly id: string };

/** What the library knows of a pushed task. `R` is the type of its result, if it was pushed with a typed call. */
export interface Pushed<R = unknown> {
  readonly id: string;
  /** False if another task holds the `unique` token. Then the id is the other task's, and nothing was pushed. */
  readonly isNew: boolean;
  /** Only for the compiler. */
  readonly result?: R;
}

/** A claimed task, to be passed to `ack`, `fail`, `requeue` and `extend`. */
export interface Task {
  readonly id: string;
  /** The key of the queue or the shard. */
  readonly key: string;
  readonly handle: string;
  readonly payload: Buffer;
  /** The claims of the task, this one included. */
  readonly deliveries: number;
  /** With the option `meta` of the claim. */
  readonly meta?: Meta;
}

/** How the tasks of a batch ended. */
export interface BatchCounts {
  readonly tasks: number;
  readonly done: number;
  readonly dead: number;
  readonly cancelled: number;
  readonly expired: number;
  readonly purged: number;
}

/** More about a claimed task. Instants are unix times in ms. */
export interface Meta {
  /** The lease's number, the fencing token. */
  readonly lease: number;
  readonly priority: number;
  readonly enqueued: number;
  readonly deadline: number;
  readonly failures: number;
  readonly stalls: number;
  /** How long the task is kept once it is done; null if neither the push nor the queue's setting says it. */
  readonly retain: number | null;
  /** What an attempt before said about how far the task has got. */
  readonly progress?: Buffer;
  readonly group?: string;
  readonly headers: Readonly<Record<string, Buffer>>;
  readonly batch?: string;
  /** The ids of the tasks that it waited for. */
  readonly after: readonly string[];
  readonly callbackOf?: string;
  /** How the tasks ended whose callback this is. */
  readonly counts?: BatchCounts;
}

/** An error of a task: the number of the attempt, when it failed, the worker, and the text. */
export interface TaskFailure {
  readonly attempt?: number;
  readonly at?: number;
  readonly worker?: string;
  readonly error?: string;
}

/** A task as TASK.GET and TASK.LIST show it. What does not apply to its state is left out. */
export interface TaskView {
  readonly id: string;
  readonly state: State;
  readonly priority: number;
  readonly enqueued: number;
  readonly deliveries: number;
  readonly failures: number;
  readonly stalls: number;
  readonly payload?: Buffer;
  readonly result?: Buffer;
  readonly progress?: Buffer;
  readonly error?: string;
  readonly errors: readonly TaskFailure[];
  readonly group?: string;
  readonly worker?: string;
  readonly headers: Readonly<Record<string, Buffer>>;
  readonly attempts?: number;
  readonly readySince?: number;
  readonly due?: number;
  readonly claimed?: number;
  readonly runMs?: number;
  readonly deadline?: number;
  readonly deadSince?: number;
  readonly doneSince?: number;
  readonly keptUntil?: number;
  readonly lease?: number;
  readonly leaseMs?: number;
  readonly tied?: boolean;
  readonly cancelAsked?: boolean;
  readonly retain?: number;
  readonly ttlMs?: number;
  readonly expires?: number;
  readonly unique?: string;
  readonly uniqueHeld?: boolean;
  readonly uniqueUntil?: number;
  readonly heldSince?: number;
  readonly batch?: string;
  readonly after: readonly string[];
  readonly waitsFor: readonly string[];
  readonly onDead?: string;
  readonly callbackOf?: string;
  readonly batchState?: string;
  readonly batchOpen?: number;
  readonly counts?: BatchCounts;
}

/** A batch. `open` counts its tasks that have not ended. `callback` is an id. Instants are unix times in ms. */
export interface BatchInfo extends BatchCounts {
  readonly name: string;
  readonly state: "open" | "closed" | "complete";
  readonly callback: string;
  readonly open: number;
  readonly opened: number;
  readonly closed?: number;
}

/** The load of a queue. Rates are tasks a second, -1 means unknown. */
export interface Load {
  readonly arrivalRate: number;
  readonly completionRate: number;
  readonly runMeanMs: number;
  readonly placesBusy: number;
  readonly placesFree: number;
  readonly utilisation: number;
  readonly backlog: number;
  readonly drainMs: number;
  readonly placesNeeded: number;
  readonly workersNeeded: number;
}

type Counts = Readonly<
  Record<
    | "ready"
    | "delayed"
    | "held"
    | "leased"
    | "dead"
    | "done"
    | "pushed"
    | "claimed"
    | "acked"
    | "late"
    | "failed"
    | "stalled"
    | "requeued"
    | "retried"
    | "died"
    | "cancelled"
    | "purged"
    | "dropped"
    | "forgotten"
    | "expired"
    | "duplicate"
    | "found"
    | "refused"
    | "bytes"
    | "memory"
    | "tokens"
    | "groups"
    | "batchesOpen"
    | "batchesClosed"
    | "blockedWorkers"
    | "oldestReadyMs"
    | "nextDelayedMs"
    | "pausedIn"
    | "pausedOut"
    | "inPerSecond1m"
    | "inPerSecond5m"
    | "outPerSecond1m"
    | "outPerSecond5m"
    | "waitP50Ms"
    | "waitP95Ms"
    | "waitP99Ms"
    | "runP50Ms"
    | "runP95Ms"
    | "runP99Ms",
    number
  >
>;

/** The reply of TASK.INFO: tasks by state, totals since the queue was created, rates, times and load. */
export interface Info extends Counts {
  readonly load: Load;
  readonly heldBy: string;
  readonly broken: string;
}

/** A queue's settings. Spans are ms; -1 means no limit. */
export interface Settings extends Readonly<
  Record<
    | "lease"
    | "attempts"
    | "stalls"
    | "backoffBase"
    | "backoffMax"
    | "backoffJitter"
    | "maxLen"
    | "maxBytes"
    | "deadMax"
    | "deadTtl"
    | "runMax"
    | "retain"
    | "retainMax"
    | "concurrency"
    | "rate"
    | "ratePer"
    | "groupConcurrency"
    | "groupRate"
    | "groupRatePer"
    | "groupsMax"
    | "tokensMax"
    | "errorsKept",
    number
  >
> {
  readonly backoff: string;
}

/** A group: its tasks, its weight and limits (-1: no limit), and what holds it back now. */
export interface Group {
  readonly name: string;
  readonly heldBy: string;
  readonly tasks: number;
  readonly ready: number;
  readonly leased: number;
  readonly weight: number;
  readonly concurrency: number;
  readonly rate: number;
  readonly ratePer: number;
  readonly ordered: boolean;
  readonly restsMs: number;
  readonly pausedMs: number;
}

/** A worker, by name: the leases it holds, its waiting claims, and for how many tasks these wait. */
export interface WorkerView {
  readonly name: string;
  readonly leases: number;
  readonly oldestLeaseMs: number;
  readonly blocked: number;
  readonly placesFree: number;
}

/** A schedule: every `every` ms, or a `cron` expression in the zone `tz`; its next run, its counts, its tasks. */
export interface Schedule {
  readonly name: string;
  readonly catchup: string;
  readonly nextMs: number;
  readonly next: number;
  readonly made: number;
  readonly skipped: number;
  readonly missed: number;
  readonly disabled: boolean;
  readonly payloadBytes: number;
  readonly every?: number;
  readonly cron?: string;
  readonly tz?: string;
  readonly last?: number;
  readonly lastId?: string;
  readonly payload?: Buffer;
  readonly priority: number;
  readonly group?: string;
  readonly attempts?: number;
  readonly leaseMs?: number;
  readonly ttlMs?: number;
  readonly retain?: number;
  readonly unique?: string;
  readonly headers: Readonly<Record<string, Buffer>>;
}

/** How a task ended. */
export interface Ended {
  readonly state: "done" | "dead" | "cancelled" | "expired" | "purged";
  /** The result of a done task; null if it gave none. */
  readonly value: Buffer | null;
  /** The error of a dead task; null if it gave none. */
  readonly error: string | null;
}

// ---- reading

type Read = (value: unknown) => unknown;

/** A string of the server's own, such as an id or a name. */
export function text(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString() : String(value);
}

/** Bytes of the user's own, such as a payload. */
export function data(value: unknown): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.from(value as string);
}

const texts: Read = (value) => (value as unknown[]).map(text);
const yes: Read = (value) => Boolean(Number(value));
const float: Read = (value) => Number(text(value));
const headers: Read = (value) => Object.fromEntries(pairs(value).map(([name, of]) => [name, data(of)]));

/** The names and values of a map: of RESP3, or of the flat list of RESP2 and Redis 6.2. */
export function pairs(reply: unknown): [string, unknown][] {
  if (reply instanceof Map) return [...reply].map(([name, value]) => [text(name), value]);
  if (!Array.isArray(reply)) return Object.entries(reply as object);
  // The clients' own form of a map as pairs.
  if (reply.length > 0 && Array.isArray(reply[0])) return reply.map(([name, value]) => [text(name), value]);
  const found: [string, unknown][] = [];
  for (let at = 0; at + 1 < reply.length; at += 2) found.push([text(reply[at]), reply[at + 1]]);
  return found;
}

/** Read a map: `oldest-ready-ms` becomes `oldestReadyMs`. Without a reader, numbers stay and the rest is text. */
function read<T>(reply: unknown, readers: Record<string, Read>, initial: object = {}): T {
  const found: Record<string, unknown> = { ...initial };
  for (const [name, value] of pairs(reply)) {
    const field = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
    const reader = readers[field] ?? ((one: unknown) => (typeof one === "number" ? one : text(one)));
    found[field] = value === null || value === undefined ? null : reader(value);
  }
  return found as T;
}

const BYTES = { payload: data, result: data, progress: data, headers };
const NO_HEADERS = { headers: {} };

/** The counts of a callback, out of the fields `batchTasks` and the like. */
function withCounts<T extends object>(shown: T): T {
  const fields = shown as Record<string, number>;
  if (!("callbackOf" in shown)) return shown;
  const of = (name: string): number => fields[`batch${name}`] ?? 0;
  const counts: BatchCounts = {
    tasks: of("Tasks"),
    done: of("Done"),
    dead: of("Dead"),
    cancelled: of("Cancelled"),
    expired: of("Expired"),
    purged: of("Purged"),
  };
  for (const name of ["Tasks", "Done", "Dead", "Cancelled", "Expired", "Purged"]) delete fields[`batch${name}`];
  return { ...shown, counts };
}

export function meta(reply: unknown): Meta {
  return withCounts(read<Meta>(reply, { ...BYTES, after: texts }, { ...NO_HEADERS, after: [] }));
}

export function taskView(reply: unknown): TaskView {
  const errors: Read = (value) => (value as unknown[]).map((one) => read<TaskFailure>(one, {}));
  const readers = { ...BYTES, errors, after: texts, waitsFor: texts, tied: yes, cancelAsked: yes, uniqueHeld: yes };
  return withCounts(read<TaskView>(reply, readers, { ...NO_HEADERS, errors: [], after: [], waitsFor: [] }));
}

export function batchInfo(reply: unknown): BatchInfo {
  return read(reply, {});
}

export function info(reply: unknown): Info {
  const rates = { inPerSecond1m: float, inPerSecond5m: float, outPerSecond1m: float, outPerSecond5m: float };
  const load: Read = (value) =>
    read<Load>(value, { arrivalRate: float, completionRate: float, runMeanMs: float, utilisation: float });
  return read(reply, { ...rates, load });
}

export function settings(reply: unknown): Settings {
  return read(reply, {});
}

export function group(reply: unknown): Group {
  return read(reply, { ordered: yes });
}

export function workerView(reply: unknown): WorkerView {
  return read(reply, {});
}

export function schedule(reply: unknown): Schedule {
  return read(reply, { ...BYTES, disabled: yes }, NO_HEADERS);
}

/** One task of a claim's reply. */
export function task(key: string, reply: unknown): Task {
  const [handle, payload, deliveries, more] = reply as [unknown, unknown, unknown, unknown?];
  const name = text(handle);
  const made = { id: idOf(name), key, handle: name, payload: data(payload), deliveries: Number(deliveries) };
  return more === undefined ? made : { ...made, meta: meta(more) };
}

/** The id in a handle, which is the part before the `@`; an id is returned as it is. */
export function idOf(handle: string): string {
  const at = handle.indexOf("@");
  return at < 0 ? handle : handle.slice(0, at);
}

/** The reply of a push: an id, or with UNIQUE an id and whether the task is new. */
export function pushed(reply: unknown): Pushed<never> {
  if (!Array.isArray(reply)) return { id: text(reply), isNew: true };
  return { id: text(reply[0]), isNew: Boolean(Number(reply[1])) };
}

/** The reply of TASK.RESULT: null until the task has ended. Throws `UnknownTask`. */
export function ended(reply: unknown): Ended | null {
  if (reply === null) return null;
  if (!Array.isArray(reply)) {
    throw new UnknownTask("no such task, or it ended and was not kept: push it with retainMs to keep it");
  }
  const state = text(reply[0]) as Ended["state"];
  const value: unknown = reply[1];
  if (state === "done") return { state, value: value === null ? null : data(value), error: null };
  return { state, value: null, error: value === null ? null : text(value) };
}

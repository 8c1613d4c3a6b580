/**
 * The TASK commands as values: the words to send, and a function that reads the reply. No connection, no waiting.
 *
 * Everything that the library knows about the form of commands is here.
 */

import type { Word } from "./connection.js";
import { type Data, type Payload, wordOf } from "./call.js";
import * as replies from "./replies.js";
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
  TaskView,
  WorkerView,
} from "./replies.js";

/** A command: its words, of which the second is the key, and the function that reads its reply. */
export interface Command<R> {
  readonly words: readonly Word[];
  readonly read: (reply: unknown) => R;
  /** A second copy would do more than the first, so it is not sent again. */
  readonly isOnce?: boolean;
}

/** An instant: a Date, or a unix time in ms. */
export type Instant = Date | number;

/** The options of the tasks of a push or a schedule. Spans are ms. */
export interface CommonOptions {
  /** -128 to 127, higher is claimed first; default 0. */
  priority?: number | undefined;
  /** Failures until the task is dead, instead of the queue's setting. */
  attempts?: number | undefined;
  /** The length of the task's leases, instead of the queue's setting. */
  leaseMs?: number | undefined;
  /** The task expires unless it is claimed within this many ms of being due. */
  ttlMs?: number | undefined;
  /** The group (tenant), for fairness and limits. */
  group?: string | undefined;
  /** How long the task is kept with its result once it is done. */
  retainMs?: number | undefined;
  /** At most 64, together at most 4 KiB. */
  headers?: Readonly<Record<string, Data>> | undefined;
}

/** The options of the callback of a batch. */
export interface CallbackOptions extends CommonOptions {
  /** Ready this many ms from now; a held task, from when it waits no more. */
  delayMs?: number | undefined;
  /** Ready at this instant. */
  at?: Instant | undefined;
  /** The batch that the task counts in. */
  batch?: string | undefined;
}

/** What happens to a task if one that it waits for ends otherwise than done. */
export type OnDead = "wait" | "run" | "drop";

/** The options of `pushMany`. */
export interface TaskOptions extends CallbackOptions {
  /** Held until these tasks of the queue are done; at most 1000. */
  after?: readonly replies.TaskRef[] | undefined;
  /** If one of them ends otherwise: wait until it is retried and done (the default), run, or drop this task. */
  onDead?: OnDead | undefined;
}

/** While a task of the queue holds the token, pushes with it add nothing. */
export interface UniqueOptions {
  /** The token. */
  unique?: string | undefined;
  /** Release the token at the task's first claim. */
  untilStart?: boolean | undefined;
  /** Release the token after at most this many ms. */
  forMs?: number | undefined;
  /** Hold the token for all of `forMs`, even if the task ends earlier. */
  keep?: boolean | undefined;
}

/** The options of a push of one task. */
export interface PushOptions extends TaskOptions, UniqueOptions {
  /** If a waiting task holds the token, replace its payload and headers. */
  replace?: boolean | undefined;
  /** With `replace`: that task is also due as this push says, counted from now (debounce). */
  postpone?: boolean | undefined;
  /** The same, but the task is due at most this many ms after its first push. */
  postponeUntilMs?: number | undefined;
  /** A second push with this token within 5 minutes adds nothing and gets the same reply. */
  request?: string | undefined;
}

/** What `set` changes about a waiting task. What is not given stays as it is. */
export interface SetOptions {
  /** Ready this many ms from now; 0 makes a delayed task ready. */
  delayMs?: number | undefined;
  at?: Instant | undefined;
  priority?: number | undefined;
  /** Empty for none. */
  group?: string | undefined;
  payload?: Payload | undefined;
  /** All headers from now on. */
  headers?: Readonly<Record<string, Data>> | undefined;
}

/** The options of a claim. */
export interface ClaimOptions {
  /** The length of the leases, instead of the task's and the queue's; 1 ms to 24 h. */
  leaseMs?: number | undefined;
  /** The worker's name, which TASK.INFO … WORKERS shows. */
  worker?: string | undefined;
  /** Only tasks of this group. */
  group?: string | undefined;
  /** Stop before the payloads exceed this; at least one task is claimed. */
  maxBytes?: number | undefined;
  /** Wait for all `count` tasks, at most so long after the first was ready; 1 to 1000. */
  gatherMs?: number | undefined;
  /** Finish tasks as they are claimed: at-most-once. */
  noack?: boolean | undefined;
  /** Return lease number, priority, group, headers and times too. */
  meta?: boolean | undefined;
}

/** The timing of a schedule: an interval or a cron expression. */
export interface ScheduleTiming {
  everyMs?: number | undefined;
  cron?: string | undefined;
  tz?: string | undefined;
  /** What is made up for after an outage: nothing, or the last run that was missed. */
  catchup?: "none" | "one" | undefined;
}

/** The options of a schedule's tasks. */
export interface ScheduleOptions extends ScheduleTiming, CommonOptions, UniqueOptions {}

/** What a list shows. */
export interface ListOptions {
  group?: string | undefined;
  worker?: string | undefined;
  payloads?: boolean | undefined;
  maxBytes?: number | undefined;
  reverse?: boolean | undefined;
  /** A glob pattern for the payload. */
  match?: Data | undefined;
  /** A name, and a glob pattern for the value of that header. */
  header?: readonly [string, Data] | undefined;
}

/** The limits of a group. Those that are not given keep their values. */
export interface GroupOptions {
  weight?: number | undefined;
  concurrency?: number | undefined;
  rate?: number | undefined;
  ratePerMs?: number | undefined;
  ordered?: boolean | undefined;
}

// ---- options as words

type Value = Word | undefined;

/** An option with its value, if there is one. */
function given(word: string, value: Value): Word[] {
  return value === undefined ? [] : [word, value];
}

function flag(word: string, value: boolean | undefined): Word[] {
  return value ? [word] : [];
}

const COMMON = ["priority", "attempts", "leaseMs", "ttlMs", "group", "retainMs", "headers"] as const;
const CALLBACK = [...COMMON, "delayMs", "at", "batch"] as const;
const TASK = [...CALLBACK, "after", "onDead"] as const;
const UNIQUE = ["unique", "untilStart", "forMs", "keep"] as const;

/** The names of the options of each command. The compiler checks that they are those of the types. */
export const OPTIONS = {
  push: all<PushOptions>()([...TASK, ...UNIQUE, "replace", "postpone", "postponeUntilMs", "request"]),
  pushMany: all<TaskOptions>()(TASK),
  openBatch: all<CallbackOptions>()(CALLBACK),
  schedule: all<ScheduleOptions>()([...COMMON, ...UNIQUE, "everyMs", "cron", "tz", "catchup"]),
  claim: all<ClaimOptions>()(["leaseMs", "worker", "group", "maxBytes", "gatherMs", "noack", "meta"]),
  ack: all<AckOptions>()(["result", "retainMs"]),
  fail: all<FailOptions>()(["delayMs", "dead", "progress"]),
  requeue: all<RequeueOptions>()(["delayMs", "back", "progress"]),
  extend: all<ExtendOptions>()(["leaseMs", "progress"]),
  set: all<SetOptions>()(["delayMs", "at", "priority", "group", "payload", "headers"]),
  list: all<ListOptions>()(["group", "worker", "payloads", "maxBytes", "reverse", "match", "header"]),
  setGroup: all<GroupOptions>()(["weight", "concurrency", "rate", "ratePerMs", "ordered"]),
} as const;

/** Names that must be all names of the options `T`, and no others. */
function all<T>() {
  return <const N extends readonly (keyof T)[]>(names: Exclude<keyof T, N[number]> extends never ? N : never): N =>
    names;
}

/** Throw TypeError for an unknown option. If it were ignored, `delay` would push a task that is ready at once. */
function refuseUnknown(options: object, command: keyof typeof OPTIONS): void {
  const known: readonly string[] = OPTIONS[command];
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`unknown option ${name}: the options are ${known.join(", ")}`);
  }
}

function taskWords(options: TaskOptions): Word[] {
  return [
    ...given("DELAY", options.delayMs),
    ...given("PRIORITY", options.priority),
    ...given("ATTEMPTS", options.attempts),
    ...given("LEASE", options.leaseMs),
    ...given("TTL", options.ttlMs),
    ...given("GROUP", options.group),
    ...given("RETAIN", options.retainMs),
    ...given("BATCH", options.batch),
    ...given("AT", unixMs(options.at)),
    ...headerWords(options.headers, false),
    ...afterWords(options),
  ];
}

function headerWords(headers: Readonly<Record<string, Data>> | undefined, evenNone: boolean): Word[] {
  const pairs = Object.entries(headers ?? {});
  return pairs.length || (headers && evenNone) ? ["HEADERS", pairs.length, ...pairs.flat()] : [];
}

function afterWords({ after, onDead }: TaskOptions): Word[] {
  if (!after) {
    if (onDead !== undefined)
      throw new TypeError("onDead is for a task that waits for others: give it together with after");
    return [];
  }
  const ids = after.map(idOf);
  return ids.length ? ["AFTER", ids.length, ...ids, ...given("ONDEAD", onDead)] : [];
}

function uniqueWords(options: UniqueOptions & Partial<PushOptions>): Word[] {
  const until = given("UNTIL", options.postponeUntilMs);
  return [
    ...given("UNIQUE", options.unique),
    ...(options.untilStart ? ["UNTIL", "START"] : []),
    ...given("FOR", options.forMs),
    ...flag("KEEP", options.keep),
    ...flag("REPLACE", options.replace),
    // UNTIL belongs to POSTPONE only directly after it.
    ...(options.postpone || until.length ? ["POSTPONE", ...until] : []),
  ];
}

function claimWords(
  count: number,
  blockMs: number | undefined,
  request: string | undefined,
  options: ClaimOptions,
): Word[] {
  refuseUnknown(options, "claim");
  return [
    "COUNT",
    count,
    ...given("BLOCK", blockMs),
    ...given("GATHER", options.gatherMs),
    ...given("LEASE", options.leaseMs),
    ...given("WORKER", options.worker),
    ...given("GROUP", options.group),
    ...given("BYTES", options.maxBytes),
    ...flag("NOACK", options.noack),
    ...flag("WITHMETA", options.meta),
    // A claim with NOACK has no token.
    ...(options.noack ? [] : given("REQUEST", request)),
  ];
}

/** An instant as a unix time in ms. Throws RangeError for a time in seconds: the task would be ready at once. */
function unixMs(at: Instant | undefined): number | undefined {
  if (at === undefined) return undefined;
  const ms = Math.round(Number(at));
  if (!(ms >= 1e11 && ms < 1e15)) {
    throw new RangeError(`at must be a Date or a unix time in ms, such as ${Date.now()}, not ${Number(at)}`);
  }
  return ms;
}

/** The id of a task, as the server knows it. */
export function idOf(task: replies.TaskRef): string {
  return replies.idOf(typeof task === "string" ? task : task.id);
}

// ---- produce

export function push<R>(key: string, payload: Payload<R>, options: PushOptions): Command<Pushed<R>> {
  return { words: ["TASK.PUSH", key, wordOf(payload), ...pushWords(options)], read: replies.pushed };
}

function pushWords(options: PushOptions): Word[] {
  refuseUnknown(options, "push");
  return [...taskWords(options), ...uniqueWords(options), ...given("REQUEST", options.request)];
}

export function pushMany(
  key: string,
  payloads: readonly Payload[],
  request: string,
  options: TaskOptions,
): Command<string[]> {
  refuseUnknown(options, "pushMany");
  const words = [
    "TASK.MPUSH",
    key,
    ...taskWords(options),
    "REQUEST",
    request,
    "TASKS",
    payloads.length,
    ...payloads.map(wordOf),
  ];
  return { words, read: texts };
}

// ---- batches

export function openBatch(key: string, name: string, callback: Payload, options: CallbackOptions): Command<Pushed> {
  refuseUnknown(options, "openBatch");
  const words = ["TASK.BATCH", key, "OPEN", name, ...taskWords(options), "PAYLOAD", wordOf(callback)];
  return { words, read: replies.pushed };
}

export function closeBatch(key: string, name: string): Command<boolean> {
  return { words: ["TASK.BATCH", key, "CLOSE", name], read: yes };
}

export function batchInfo(key: string, name: string): Command<BatchInfo | null> {
  return { words: ["TASK.BATCH", key, "INFO", name], read: orNull(replies.batchInfo) };
}

export function deleteBatch(key: string, name: string): Command<Removal> {
  return { words: ["TASK.BATCH", key, "DEL", name], read: (reply) => removal(Number(reply)) };
}

/** Batches in the order of their names, at most a thousand, and the name to ask with for the next ones. */
export function batches(key: string, after: string | undefined): Command<BatchInfo[]> {
  return { words: ["TASK.INFO", key, "BATCHES", ...given("AFTER", after)], read: part("batches", replies.batchInfo) };
}

// ---- work

export function claim(
  key: string,
  count: number,
  blockMs: number | undefined,
  request: string | undefined,
  options: ClaimOptions,
): Command<Task[]> {
  const words = ["TASK.CLAIM", key, ...claimWords(count, blockMs, request, options)];
  const read = (reply: unknown): Task[] => ((reply ?? []) as unknown[]).map((one) => replies.task(key, one));
  return { words, read, isOnce: Boolean(options.noack) };
}

/** What an ack says. */
export interface AckOptions {
  /** The result. */
  result?: Data | undefined;
  /** How long the task is kept with its result, instead of what the push and the queue's setting say. */
  retainMs?: number | undefined;
}

/** What a fail says. */
export interface FailOptions {
  /** The time until the next attempt, instead of the queue's backoff. */
  delayMs?: number | undefined;
  /** There is no next attempt. */
  dead?: boolean | undefined;
  /** How far the task has got, for the next attempt; at most 4096 bytes. */
  progress?: Data | undefined;
}

/** How a task is given back. */
export interface RequeueOptions {
  /** Ready after this time; without it at its old position. */
  delayMs?: number | undefined;
  /** To the back of the queue. */
  back?: boolean | undefined;
  progress?: Data | undefined;
}

/** How a lease is extended: by its own length, or by `leaseMs`, from now. */
export interface ExtendOptions {
  leaseMs?: number | undefined;
  progress?: Data | undefined;
}

type Handles = string | readonly string[];

function ackWords(options: AckOptions): Word[] {
  refuseUnknown(options, "ack");
  return [...given("RESULT", options.result), ...given("RETAIN", options.retainMs)];
}

export function ack(key: string, handles: Handles, options: AckOptions): Command<number[]> {
  return answer("TASK.ACK", key, handles, ackWords(options));
}

export function ackAndPush<R>(
  key: string,
  handle: string,
  done: AckOptions,
  payload: Payload<R>,
  options: PushOptions,
): Command<Pushed<R> | null> {
  const read = (reply: unknown): Pushed<R> | null => {
    const [count, ...made] = reply as unknown[];
    return Number(count) ? replies.pushed(made.length > 1 ? made : made[0]) : null;
  };
  return { words: ["TASK.ACK", key, handle, ...ackWords(done), "PUSH", wordOf(payload), ...pushWords(options)], read };
}

export function requeue(key: string, handles: Handles, options: RequeueOptions): Command<number[]> {
  refuseUnknown(options, "requeue");
  const words = [
    ...given("DELAY", options.delayMs),
    ...flag("BACK", options.back),
    ...given("PROGRESS", options.progress),
  ];
  return answer("TASK.REQUEUE", key, handles, words);
}

export function extend(key: string, handles: Handles, options: ExtendOptions): Command<number[]> {
  refuseUnknown(options, "extend");
  const words = [...given("LEASE", options.leaseMs), ...given("PROGRESS", options.progress)];
  return answer("TASK.EXTEND", key, handles, words);
}

export function fail(
  key: string,
  handles: Handles,
  error: string | undefined,
  options: FailOptions,
): Command<number[]> {
  refuseUnknown(options, "fail");
  const words = [...given("ERROR", error), ...given("DELAY", options.delayMs), ...flag("DEAD", options.dead)];
  return answer("TASK.FAIL", key, handles, [...words, ...given("PROGRESS", options.progress)]);
}

/** The outcome of tasks. One handle replies an integer or an error, several an array of integers. */
function answer(name: string, key: string, handles: Handles, options: Word[]): Command<number[]> {
  if (typeof handles === "string") {
    return { words: [name, key, handles, ...options], read: (reply) => [Number(reply)] };
  }
  return { words: [name, key, "HANDLES", handles.length, ...handles, ...options], read: numbers };
}

// ---- inspect

export function result(key: string, id: string, blockMs: number | undefined): Command<Ended | null> {
  return { words: ["TASK.RESULT", key, id, ...given("BLOCK", blockMs)], read: replies.ended };
}

export function get(key: string, ...task: string[]): Command<TaskView | null> {
  return { words: ["TASK.GET", key, ...task], read: orNull(replies.taskView) };
}

export function list(
  key: string,
  state: State,
  cursor: string,
  count: number,
  options: ListOptions,
): Command<{ cursor: string; tasks: TaskView[] }> {
  refuseUnknown(options, "list");
  const words = [
    "TASK.LIST",
    key,
    state,
    "CURSOR",
    cursor,
    "COUNT",
    count,
    ...given("GROUP", options.group),
    ...given("WORKER", options.worker),
    ...flag("WITHPAYLOAD", options.payloads),
    ...given("BYTES", options.maxBytes),
    ...given("MATCH", options.match),
    ...flag("REV", options.reverse),
    ...(options.header ? ["HEADER", ...options.header] : []),
  ];
  const read = (reply: unknown): { cursor: string; tasks: TaskView[] } => {
    const [after, tasks] = reply as [unknown, unknown[]];
    return { cursor: replies.text(after), tasks: tasks.map(replies.taskView) };
  };
  return { words, read };
}

export function length(key: string, state: State | undefined): Command<number> {
  return { words: ["TASK.LEN", key, ...(state ? [state] : [])], read: Number };
}

export function info(key: string): Command<Info | null> {
  return { words: ["TASK.INFO", key], read: orNull(replies.info) };
}

export function settings(key: string): Command<Settings | null> {
  return { words: ["TASK.INFO", key, "CONFIG"], read: orNull(replies.settings) };
}

export function groups(key: string, after: string | undefined): Command<Group[]> {
  return { words: ["TASK.INFO", key, "GROUPS", ...given("AFTER", after)], read: part("groups", replies.group) };
}

export function workers(key: string): Command<WorkerView[]> {
  return { words: ["TASK.INFO", key, "WORKERS"], read: part("workers", replies.workerView) };
}

export function schedules(key: string): Command<Schedule[]> {
  return { words: ["TASK.INFO", key, "CRON"], read: (reply) => ((reply ?? []) as unknown[]).map(replies.schedule) };
}

// ---- admin

/** What became of a task that was cancelled: gone, its worker is asked to stop, or null for nothing to cancel. */
export type Removal = "removed" | "asked" | null;

export function removal(number: number): Removal {
  return number === 1 ? "removed" : number === 2 ? "asked" : null;
}

export function cancel(key: string, ids: readonly string[]): Command<Removal[]> {
  return { words: ["TASK.CANCEL", key, "IDS", ids.length, ...ids], read: (reply) => numbers(reply).map(removal) };
}

export function cancelUnique(key: string, token: string): Command<Removal> {
  return { words: ["TASK.CANCEL", key, "UNIQUE", token], read: (reply) => removal(Number(reply)) };
}

export function set(key: string, ids: readonly string[], options: SetOptions): Command<boolean[]> {
  refuseUnknown(options, "set");
  const words = [
    ...given("DELAY", options.delayMs),
    ...given("PRIORITY", options.priority),
    ...given("GROUP", options.group),
    ...(options.payload === undefined ? [] : ["PAYLOAD", wordOf(options.payload)]),
    ...given("AT", unixMs(options.at)),
    ...headerWords(options.headers, true),
  ];
  if (!words.length) throw new TypeError(`nothing to change: the options are ${OPTIONS.set.join(", ")}`);
  return {
    words: ["TASK.SET", key, "IDS", ids.length, ...ids, ...words],
    read: (reply) => numbers(reply).map(Boolean),
  };
}

export function retry(key: string, ids: readonly string[]): Command<number> {
  return { words: ["TASK.RETRY", key, "IDS", ids.length, ...ids], read: Number };
}

export function retryDead(key: string, count: number, group: string | undefined): Command<number> {
  return { words: ["TASK.RETRY", key, "COUNT", count, ...given("GROUP", group)], read: Number, isOnce: true };
}

export function purge(key: string, state: State | "all", count: number, olderMs: number | undefined): Command<number> {
  return { words: ["TASK.PURGE", key, state, "COUNT", count, ...given("OLDER", olderMs)], read: Number, isOnce: true };
}

export function purgeIds(key: string, ids: readonly string[]): Command<number> {
  return { words: ["TASK.PURGE", key, "IDS", ids.length, ...ids], read: Number };
}

/** `maxLen` stands for the server's `max-len`. */
function settingName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export function configure(key: string, values: Readonly<Partial<Settings>>): Command<void> {
  const words = Object.entries(values).flatMap(([name, value]) => [settingName(name), value as Word]);
  return { words: ["TASK.CONFIG", key, "SET", ...words], read: nothing };
}

export function reset(key: string, names: readonly string[]): Command<void> {
  return { words: ["TASK.CONFIG", key, "RESET", ...names.map(settingName)], read: nothing };
}

export function setGroup(key: string, name: string, options: GroupOptions): Command<void> {
  refuseUnknown(options, "setGroup");
  const words = [
    ...given("WEIGHT", options.weight),
    ...given("CONCURRENCY", options.concurrency),
    ...given("RATE", options.rate),
    ...given("PER", options.ratePerMs),
    ...(options.ordered === undefined ? [] : ["ORDERED", options.ordered ? "yes" : "no"]),
  ];
  return { words: ["TASK.GROUP", key, "SET", name, ...words], read: nothing };
}

export function forgetGroup(key: string, name: string): Command<boolean> {
  return { words: ["TASK.GROUP", key, "DEL", name], read: yes };
}

/** What is stopped: claims, pushes or both. */
export type Direction = "out" | "in" | "all";

export function pause(key: string, direction: Direction, forMs: number | undefined): Command<void> {
  return { words: ["TASK.PAUSE", key, direction, ...given("FOR", forMs)], read: nothing };
}

export function pauseGroup(key: string, name: string, forMs: number | undefined): Command<void> {
  return { words: ["TASK.PAUSE", key, "GROUP", name, ...given("FOR", forMs)], read: nothing };
}

export function resume(key: string, direction: Direction): Command<void> {
  return { words: ["TASK.RESUME", key, direction], read: nothing };
}

export function resumeGroup(key: string, name: string): Command<void> {
  return { words: ["TASK.RESUME", key, "GROUP", name], read: nothing };
}

export function schedule(key: string, name: string, payload: Payload, options: ScheduleOptions): Command<boolean> {
  refuseUnknown(options, "schedule");
  const { everyMs, cron, tz, catchup } = options;
  const timing = [...given("EVERY", everyMs), ...given("CRON", cron), ...given("TZ", tz), ...given("CATCHUP", catchup)];
  const words = [...timing, ...taskWords(options), ...uniqueWords(options), "PAYLOAD", wordOf(payload)];
  return { words: ["TASK.CRON", key, "SET", name, ...words], read: yes };
}

export function unschedule(key: string, name: string): Command<boolean> {
  return { words: ["TASK.CRON", key, "DEL", name], read: yes };
}

export function runSchedule(key: string, name: string): Command<string> {
  return { words: ["TASK.CRON", key, "RUN", name], read: replies.text, isOnce: true };
}

// ---- reading

function nothing(): void {
  // The reply is OK, which says nothing more.
}

function yes(reply: unknown): boolean {
  return Boolean(Number(reply));
}

function texts(reply: unknown): string[] {
  return (reply as unknown[]).map(replies.text);
}

function numbers(reply: unknown): number[] {
  return (reply as unknown[]).map(Number);
}

function orNull<T>(read: (reply: unknown) => T): (reply: unknown) => T | null {
  return (reply) => (reply === null || reply === undefined ? null : read(reply));
}

/** A list in a map; empty if there is no queue. */
function part<T>(name: string, read: (reply: unknown) => T): (reply: unknown) => T[] {
  return (reply) => {
    const found = reply === null ? undefined : new Map(replies.pairs(reply)).get(name);
    return ((found ?? []) as unknown[]).map(read);
  };
}

/**
 * The payloads of workers: `{"task": "mail.send", "args": ["bob"], "kwargs": {"subject": "hi"}}` in JSON, the form that
 * the workers of every language share (docs/worker-protocol.md).
 */

import type { Word } from "./connection.js";

/** A payload that is not a call. The message names the problem without showing any of the payload. */
export class BadPayload extends Error {}

/** Named arguments for a function in Python: `call("mail.send", "bob", kwargs({ subject: "hi" }))`. */
export class Kwargs {
  constructor(readonly values: Readonly<Record<string, unknown>>) {}
}

/** Arguments that a function in Python gets by name. They come last in a call. */
export function kwargs(values: Readonly<Record<string, unknown>>): Kwargs {
  return new Kwargs(values);
}

/** A call of a function: a payload whose result has the type `R`. */
export class Call<R = unknown> {
  /** Only for the compiler. */
  declare readonly result?: R;

  constructor(
    readonly task: string,
    readonly args: readonly unknown[],
    readonly kwargs: Readonly<Record<string, unknown>>,
  ) {}

  /** The payload as JSON. Throws TypeError for arguments that JSON cannot hold, such as a bigint. */
  toString(): string {
    return JSON.stringify({ task: this.task, args: this.args, kwargs: this.kwargs });
  }
}

/** What can be pushed: a call, text (sent as UTF-8), or bytes. */
export type Payload<R = unknown> = Call<R> | string | Uint8Array;

/** Bytes of the user's own other than a payload. */
export type Data = string | Uint8Array;

/** The word for a payload. */
export function wordOf(payload: Payload): Word {
  return payload instanceof Call ? payload.toString() : payload;
}

/** The payload that makes a worker call the function `task`: `queue.push(call("mail.send", "bob"))`. */
export function call<R = unknown>(task: string, ...args: unknown[]): Call<R> {
  const last = args.at(-1);
  return last instanceof Kwargs ? new Call<R>(task, args.slice(0, -1), last.values) : new Call<R>(task, args, {});
}

/** Read a payload. Throws `BadPayload`. */
export function readCall(payload: Buffer): Call {
  let value: unknown;
  try {
    value = JSON.parse(UTF8.decode(payload));
  } catch (error) {
    throw new BadPayload(`the payload can't be read as JSON: ${(error as Error).name}`);
  }
  if (!isMap(value) || typeof value["task"] !== "string") {
    throw new BadPayload('the payload is not a call: expected {"task": name, "args": [...], "kwargs": {...}}');
  }
  const { task, args = [], kwargs: named = {} } = value as { task: string; args?: unknown; kwargs?: unknown };
  if (!Array.isArray(args) || !isMap(named)) throw new BadPayload("args must be a list and kwargs a map");
  return new Call(task, args, named);
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// ---- functions with names

type Function<A extends unknown[], R> = (...args: A) => R | Promise<R>;

/** A named function, as workers know it. `with(…)` makes the call to push, with the function's own types. */
export interface TaskFunction<A extends unknown[] = never[], R = unknown> {
  readonly name: string;
  /** The function; undefined where only the name and the types are known, as in a producer. */
  readonly run: Function<A, R> | undefined;
  /**
   * How long a finished task and its result are kept, instead of what the push and the queue's setting say; 0 keeps
   * nothing. Without it: what these say, or a minute if neither says anything.
   */
  readonly retainMs: number | undefined;
  with(...args: A): Call<R>;
}

/**
 * Name a function: `const send = task("mail.send", async (to: string) => …)`, then `queue.push(send.with("bob"))`.
 *
 * Without a function it is a declaration, for a producer: `task<[to: string], void>("mail.send")`.
 */
export function task<A extends unknown[], R>(
  name: string,
  run?: Function<A, R>,
  options: { retainMs?: number } = {},
): TaskFunction<A, R> {
  return { name, run, retainMs: options.retainMs, with: (...args) => call<R>(name, ...args) };
}

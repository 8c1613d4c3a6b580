/** Outcomes: what a function returned or threw, as ack, fail or requeue. */

import { inspect } from "node:util";

import type { BaseQueue } from "../base-queue.js";
import type { Data, Payload } from "../call.js";
import type { PushOptions } from "../commands.js";
import { CancelAsked, OutOfMemory } from "../errors.js";
import type { TaskContext } from "./context.js";

/** The server keeps 4 KiB of an error, and takes so much progress. */
const ERROR_BYTES = 4096;
export const PROGRESS_BYTES = 4096;
/** How long a result is kept if neither the function, the push nor the queue's setting says it. */
const RETAIN_MS = 60_000;

/** The text of an error whose own code throws. */
const UNSHOWN = "Error: an error that cannot be shown";
/** Frames of a stack that say nothing about the function: the worker's own, and Node's. */
const OURS = /[\\/]dist[\\/](esm|cjs)[\\/]worker[\\/]|\(?node:/;

interface FailSettings {
  /** The time until the next attempt, instead of the queue's backoff. */
  delayMs?: number;
  /** There is no next attempt. */
  dead?: boolean;
  /** How far the task has got: the next attempt gets it as `lastProgress`. At most 4096 bytes. */
  progress?: Data;
}

/** Thrown by a function to report a failed attempt, and to say what comes next. `why` is a text or another error. */
export class Fail extends Error {
  readonly how: Readonly<FailSettings>;

  constructor(why: unknown, how: FailSettings = {}) {
    super(typeof why === "string" ? why : described(why));
    this.name = "Fail";
    if (how.dead && how.delayMs !== undefined) {
      throw new TypeError("a dead task is not tried again: give delayMs or dead, not both");
    }
    checkProgress(how.progress);
    this.how = how;
  }
}

/**
 * Thrown by a function to give its task back unfinished. This does not count as a failed attempt. Without a delay the
 * task returns to its old position, so the next free worker gets it at once.
 */
export class GiveBack extends Error {
  readonly how: Readonly<Omit<FailSettings, "dead">>;

  constructor(how: Omit<FailSettings, "dead"> = {}) {
    super("given back");
    this.name = "GiveBack";
    checkProgress(how.progress);
    this.how = how;
  }
}

/** Throw RangeError for a progress that is too long. */
export function checkProgress(said: Data | undefined): void {
  const bytes = said === undefined ? 0 : Buffer.byteLength(said);
  if (bytes > PROGRESS_BYTES) throw new RangeError(`progress takes at most ${PROGRESS_BYTES} bytes, not ${bytes}`);
}

/** A step that is pushed together with the end of its task. */
export interface Step {
  readonly payload: Payload;
  readonly options: PushOptions;
}

/** How a task ends. `send` returns the ms until a failed task is ready again, -1 if it is dead. */
export type Outcome =
  | { readonly kind: "done"; readonly value: unknown; send(queue: BaseQueue): Promise<void> }
  | { readonly kind: "failed"; readonly error: string; readonly dead: boolean; send(queue: BaseQueue): Promise<number> }
  | { readonly kind: "given back"; send(queue: BaseQueue): Promise<void> };

/** The outcome of a returned value. If it can't be written, the task is dead: a retry would repeat finished work. */
export function ofValue(context: TaskContext, value: unknown, retainMs: number | undefined): Outcome {
  let result: string | undefined;
  try {
    result = value === undefined || value === null ? undefined : JSON.stringify(value);
    if (value !== undefined && value !== null && result === undefined)
      throw new TypeError(`JSON has no ${typeof value}`);
  } catch (error) {
    return failed(context, `the result can't be written as JSON: ${described(error).split("\n")[0]}`, { dead: true });
  }
  const kept = retainMs ?? (context.task.meta?.retain === null ? RETAIN_MS : undefined);
  const ack = async (queue: BaseQueue, keptMs: number | undefined): Promise<void> => {
    const said = { result, retainMs: keptMs };
    if (context.step) await queue.ackAndPush(context.task, context.step.payload, context.step.options, said);
    else await queue.ack(context.task, said);
  };
  // A full server finishes the task without keeping it. Callers that already wait still get the result.
  return {
    kind: "done",
    value,
    send: (queue) =>
      inFullServer(
        () => ack(queue, kept),
        () => ack(queue, 0),
      ),
  };
}

/** The outcome of an error; undefined if the lease is lost, so that nothing can be reported. */
export function ofError(context: TaskContext, error: unknown): Outcome | undefined {
  if (context.leaseLost) return undefined;
  try {
    return ofThrown(context, error);
  } catch {
    // Anything can be thrown: a proxy, or an object whose getters throw.
    return failed(context, UNSHOWN, {});
  }
}

function ofThrown(context: TaskContext, error: unknown): Outcome {
  if (error instanceof GiveBack) return givenBack(context, error.how);
  if (error instanceof Fail) return failed(context, error.message, error.how);
  // A requeue ends a cancelled task, like a fail, but without an error: the function stopped as it was asked to.
  const isAbort =
    error === context.signal.reason || error instanceof CancelAsked || (error as Error)?.name === "AbortError";
  if (context.cancelled && isAbort) return givenBack(context, {});
  // A result that is gone does not come back.
  return failed(context, described(error), { dead: error !== undefined && error === context.missing });
}

export function failed(context: TaskContext, why: string, how: FailSettings): Outcome {
  const error = cut(why);
  return {
    kind: "failed",
    error,
    dead: how.dead ?? false,
    send: (queue) =>
      inFullServer(
        () => queue.fail(context.task, error, how),
        () => queue.fail(context.task, error, { ...how, progress: undefined }),
      ),
  };
}

function givenBack(context: TaskContext, how: Omit<FailSettings, "dead">): Outcome {
  return {
    kind: "given back",
    send: async (queue) => {
      const requeue = (progress: Data | undefined): Promise<unknown> =>
        queue.requeue(context.task, { ...how, progress });
      await inFullServer(
        () => requeue(how.progress),
        () => requeue(undefined),
      );
    },
  };
}

/** Send something, and if the server is out of memory, less of it. */
async function inFullServer<T>(send: () => Promise<T>, less: () => Promise<T>): Promise<T> {
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof OutOfMemory)) throw error;
    return less();
  }
}

/** An error as the task's error: `TypeError: no such address`, and then the stack. */
export function described(error: unknown): string {
  try {
    if (!(error instanceof Error)) return `Error: ${typeof error === "string" ? error : inspect(error, { depth: 2 })}`;
    // A class that sets no name has that of Error.
    const name = error.name === "Error" ? error.constructor.name || "Error" : error.name;
    const head = error.message ? `${name}: ${error.message}` : name;
    const stack = typeof error.stack === "string" ? error.stack : "";
    const frames = stack.split("\n").filter((line) => /^\s+at /.test(line) && !OURS.test(line));
    return [head, ...frames].join("\n");
  } catch {
    return UNSHOWN;
  }
}

/** The beginning of a text, at most 4 KiB of UTF-8, cut between characters. */
function cut(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= ERROR_BYTES) return text;
  let end = ERROR_BYTES;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end).toString();
}

/** The library's errors, one class for each error code of the server. Errors of the connection are those of the client. */

/** The base of the library's errors. The message is that of the server's error, if there is one. */
export class TaskslotError extends Error {
  /** The code at the start of the server's error, such as `QFULL`; empty if the error is the library's own. */
  readonly code: string;
  /** The library had sent the command before and got no reply, so it may have been executed then. */
  isRepeat = false;

  constructor(message: string, code = "") {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The lease is over, but the task is not (`STALE`): it was requeued, it stalled, or another worker has it. */
export class LeaseLost extends TaskslotError {}

/** The task was cancelled while this worker holds it (`CANCELLED`). Stop, then ack, fail or requeue it. */
export class CancelAsked extends TaskslotError {}

/** A limit of the queue is reached (`QFULL`). Nothing was pushed. */
export class QueueFull extends TaskslotError {}

/** Pushes to the queue are paused (`PAUSED`). Nothing was pushed. */
export class Paused extends TaskslotError {}

/** The queue is damaged, so it can only be read (`BROKEN`). The server's log has the reason. */
export class QueueBroken extends TaskslotError {}

/** The key holds another type (`WRONGTYPE`). */
export class WrongType extends TaskslotError {}

/** The server is out of memory (`OOM`). It refuses pushes, results to be kept, progress and new settings. */
export class OutOfMemory extends TaskslotError {}

/** The server refused the command for another reason, usually a bad argument (`ERR`). Nothing was changed. */
export class Refused extends TaskslotError {}

/** There is no such task: the id is wrong, or the task ended and was not kept. */
export class UnknownTask extends TaskslotError {}

/** A task whose result is needed has not ended done. */
export class NotDone extends TaskslotError {
  /** How the task is: `dead`, `cancelled`, `expired`, `purged`; undefined if it has not ended yet. */
  readonly state: string | undefined;
  /** The error of a dead task. */
  readonly error: string | undefined;

  constructor(message: string, state?: string, error?: string) {
    super(message);
    this.state = state;
    this.error = error;
  }
}

/**
 * The server sent no reply in time, after all tries. The command may have been executed, and it can still be: a client that
 * waits for its server keeps commands, and sends them once it is back.
 */
export class NoReply extends TaskslotError {}

const BY_CODE: Record<string, typeof TaskslotError> = {
  STALE: LeaseLost,
  CANCELLED: CancelAsked,
  QFULL: QueueFull,
  PAUSED: Paused,
  BROKEN: QueueBroken,
  WRONGTYPE: WrongType,
  OOM: OutOfMemory,
};

/** Errors of a failover, a move of slots, or a server that accepts no writes for now. The same command works soon. */
const PASSING = new Set([
  "LOADING",
  "READONLY",
  "MASTERDOWN",
  "CLUSTERDOWN",
  "TRYAGAIN",
  "UNBLOCKED",
  "MOVED",
  "ASK",
  "MISCONF",
  "NOREPLICAS",
  "BUSY",
]);

/** The code of a server's error, such as `STALE`; empty for errors of the connection and of programs. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  const code = /^([A-Z][A-Z0-9]+)( |$)/.exec(error.message)?.[1] ?? "";
  // The errors of sockets begin with their code too: ECONNRESET, ETIMEDOUT.
  return code === (error as NodeJS.ErrnoException).code ? "" : code;
}

/** Whether an error of a client passes: the server is away, or it accepts no writes for now. */
export function passes(error: unknown): boolean {
  if (error instanceof NoReply) return true;
  if (error instanceof TypeError || error instanceof RangeError || error instanceof TaskslotError) return false;
  const code = codeOf(error);
  return code ? PASSING.has(code) : !/client is closed|client must be connected/i.test((error as Error)?.message ?? "");
}

/** The library's error for a server's error. Any other error is returned as it is. */
export function ofReply(error: unknown, isRepeat: boolean): unknown {
  const code = codeOf(error);
  if (!code || error instanceof TaskslotError) return error;
  const text = (error as Error).message;
  const kind = BY_CODE[code];
  const made = kind ? new kind(text.slice(code.length + 1), code) : new Refused(text, code);
  made.isRepeat = isRepeat;
  return made;
}

/** Sends commands: again while a server is away, and on connections of their own if they wait in the server. */

import { setTimeout as rest } from "node:timers/promises";

import { NoReply, TaskslotError, ofReply, passes } from "./errors.js";
import type { Command } from "./commands.js";
import type { Connection, OwnConnection } from "./connection.js";

/** The longest wait of one command in the server. Longer waits are cut into such slices. */
export const SLICE_MS = 1000;
/** How late a reply can be before its connection is given up. */
const LATE_MS = 5000;
const LATE_WAIT_MS = 2000;
/** The shortest and the longest rest between two tries. */
const RESTS_MS = [50, 2000] as const;
/** The most connections for commands that wait. More of them take turns, slice by slice. */
const MOST_WAITING = 32;

/** The connections of one client, for all queues that share it. */
export class Wire {
  readonly #connection: Connection;
  readonly #patienceMs: number;
  readonly #waiting: Waiting;

  /** `patienceMs` is how long a call keeps trying while a server is away. Then it throws its last error. */
  constructor(connection: Connection, patienceMs: number) {
    this.#connection = connection;
    this.#patienceMs = patienceMs;
    this.#waiting = new Waiting(connection);
  }

  /** Another wire for the same client that does not try again: its caller does. */
  twin(): Wire {
    return new Wire(this.#connection, 0);
  }

  /** Send a command, and again while the server is away. */
  run<R>(command: Command<R>): Promise<R> {
    return this.#patiently(command, async () =>
      command.read(await inTime(this.#connection.send(command.words), LATE_MS)),
    );
  }

  /** Send a command that can wait in the server for `waitMs`, on a connection that no other command shares. */
  wait<R>(command: Command<R>, waitMs: number): Promise<R> {
    return this.#patiently(command, () => this.#waiting.send(command, waitMs + LATE_WAIT_MS));
  }

  /** Send a command once, and give up after `mostMs`. `waits`: on a connection that no other command shares. */
  async once<R>(command: Command<R>, mostMs: number, waits = false): Promise<R> {
    try {
      return waits
        ? await this.#waiting.send(command, mostMs)
        : command.read(await inTime(this.#connection.send(command.words), mostMs));
    } catch (error) {
      throw ofReply(error, false);
    }
  }

  /**
   * Wait, until this instant at most, for something that the server reports only once, such as the end of a task that
   * is not kept. Each slice is sent before the reply to the one before it, so nothing is missed in between.
   */
  watch<R>(command: (waitMs: number) => Command<R | null>, endsAt: number): Promise<R | null> {
    return this.#patiently({}, () => this.#waiting.follow(command, endsAt));
  }

  /** Close the connections that were made here. The client stays open. */
  close(): void {
    this.#waiting.close();
  }

  async #patiently<R>({ isOnce }: { isOnce?: boolean }, send: () => Promise<R>): Promise<R> {
    const until = Date.now() + this.#patienceMs;
    for (let restMs: number = RESTS_MS[0], isRepeat = false; ; restMs = Math.min(RESTS_MS[1], restMs * 2)) {
      try {
        return await send();
      } catch (error) {
        if (!passes(error) || isOnce || Date.now() + restMs > until) throw ofReply(error, isRepeat);
      }
      isRepeat = true;
      await rest(restMs);
    }
  }
}

/** Connections for commands that wait in the server, each used by one caller at a time. */
class Waiting {
  readonly #connection: Connection;
  readonly #idle: OwnConnection[] = [];
  readonly #made = new Set<OwnConnection>();
  readonly #callers: (() => void)[] = [];
  #taken = 0;
  #isClosed = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  send<R>(command: Command<R>, mostMs: number): Promise<R> {
    return this.#with(async (own) => command.read(await inTime(own.send(command.words), mostMs)));
  }

  /** Send slices of a wait, each behind the one before it. Ends early if others need the connection. */
  follow<R>(command: (waitMs: number) => Command<R | null>, endsAt: number): Promise<R | null> {
    return this.#with(async (own) => {
      let coveredTo = Date.now();
      const ask = (): Promise<unknown> => {
        const ms = Math.max(1, Math.min(SLICE_MS, endsAt - coveredTo));
        coveredTo += ms;
        const reply = inTime(own.send(command(ms).words), 2 * SLICE_MS + LATE_WAIT_MS);
        reply.catch(() => undefined); // it is awaited when its turn comes
        return reply;
      };
      for (let next = ask(); ;) {
        const reply = next;
        const isLast = coveredTo >= endsAt || this.#callers.length > 0;
        if (!isLast) next = ask();
        const raw = await reply;
        if (raw === null && !isLast) continue;
        if (!isLast) await next; // what was asked for ends, so this comes at once
        return command(0).read(raw);
      }
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const own of this.#made) own.close();
    this.#made.clear();
    this.#idle.length = 0;
  }

  async #with<T>(use: (own: OwnConnection) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new TypeError("the queue is closed");
    if (this.#taken >= MOST_WAITING) await new Promise<void>((go) => this.#callers.push(go));
    this.#taken += 1;
    let own: OwnConnection | undefined;
    try {
      own = this.#idle.pop() ?? (await this.#make());
      const found = await use(own);
      if (!this.#isClosed) this.#idle.push(own);
      return found;
    } catch (error) {
      // After an error of the library's own, such as UnknownTask, nothing is left on the connection.
      if (own && error instanceof TaskslotError && !(error instanceof NoReply)) this.#idle.push(own);
      else if (own) this.#drop(own);
      throw error;
    } finally {
      this.#taken -= 1;
      this.#callers.shift()?.();
    }
  }

  async #make(): Promise<OwnConnection> {
    const made = this.#connection.duplicate();
    const own = await inTime(made, LATE_MS).catch((error: unknown) => {
      made.then(
        (late) => late.close(),
        () => undefined,
      );
      throw error;
    });
    if (this.#isClosed) own.close();
    else this.#made.add(own);
    return own;
  }

  #drop(own: OwnConnection): void {
    this.#made.delete(own);
    own.close();
  }
}

/** The length of the next slice of a wait that ends at this instant (unix ms), at least 1 ms. */
export function sliceMs(endsAt: number): number {
  return Math.max(1, Math.min(SLICE_MS, Math.round(endsAt - Date.now())));
}

/** A reply, or `NoReply` if it takes longer than `mostMs`; what comes later is dropped. */
export async function inTime<T>(reply: Promise<T>, mostMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NoReply(`no reply within ${mostMs} ms`)), mostMs);
  });
  try {
    return await Promise.race([reply, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A queue that is spread over many slots: the choice of the shard for each call, and claims from all shards. */

import { setTimeout as rest } from "node:timers/promises";

import { Loads, Pace } from "./balance.js";
import { BaseQueue, type Search } from "./base-queue.js";
import * as commands from "./commands.js";
import type { CallbackOptions, Command } from "./commands.js";
import { type Client, connectionOf } from "./connection.js";
import { NoReply, QueueBroken, Refused, WrongType, codeOf, passes } from "./errors.js";
import { mostAtOnce } from "./flows.js";
import type { QueueOptions } from "./queue.js";
import { type Task, type TaskRef, pairs } from "./replies.js";
import { shardNames, shardOfBatch, shardOfName } from "./shards.js";
import { Wire } from "./wire.js";

/** The longest time for a look at a shard. A node that hangs must not delay the others for longer. */
const LOOK_MS = 600;
/** How often a worker asks how many claims wait on each shard: it learns how many others look, and where workers lack. */
const SURVEY_MS = 1000;

/**
 * A logical queue of `shards` queues, spread over the slots of a cluster: `orders:{1bz}`, `orders:{fjl}` …
 *
 * Ids and handles begin with the number of their shard, `5/1795334211134-0`; `task.key` is the shard's key. The rule for
 * shards is that of docs/worker-protocol.md, the same as in the Python library: all clients of a queue must give the
 * same number. Each shard has its own limits, settings, groups, batches and tokens. Schedules are on shard 0.
 */
export class ShardedQueue extends BaseQueue {
  readonly #loads: Loads;
  readonly #pace = new Pace();
  #home: number;
  #surveyedAt = -Infinity;
  readonly #faulty = new Set<number>();

  constructor(
    client: Client,
    name: string,
    { shards = 16, patienceMs = 10_000 }: QueueOptions & { shards?: number } = {},
  ) {
    super(name, shardNames(name, shards), new Wire(connectionOf(client), patienceMs));
    this.#loads = new Loads(shards);
    this.#home = Math.floor(Math.random() * shards);
  }

  // ---- which shard

  protected locate(name: string): readonly [string, string] {
    const [, number, bare] = /^(\d+)\/(.*)$/.exec(name) ?? [];
    const key = this.keys[Number(number)];
    if (bare === undefined || key === undefined) {
      throw new RangeError(
        `an id or handle of ${this.name} begins with its shard, from 0/ to ${this.keys.length - 1}/`,
      );
    }
    return [key, bare];
  }

  #key(shard: number): string {
    return this.keys[shard] as string;
  }

  protected keyOfGroup(group: string): string {
    return this.#key(shardOfName(group, this.keys.length));
  }

  protected keyOfBatch(name: string): string {
    return this.#key(shardOfBatch(name, this.keys.length));
  }

  protected keysOfToken(token: string): readonly string[] {
    // The task may also have a group or a batch, and is on the shard of that.
    const likely = this.keyOfGroup(token);
    return [likely, ...this.keys.filter((key) => key !== likely)];
  }

  protected keyFor(after: readonly TaskRef[], options: readonly CallbackOptions[]): string | undefined {
    const byKey = new Map<string, string>();
    const note = (key: string, what: string): unknown => byKey.has(key) || byKey.set(key, what);
    for (const task of after)
      note(this.locate(typeof task === "string" ? task : task.id)[0], `task ${commands.idOf(task)}`);
    for (const { group, batch } of options) {
      if (group !== undefined) note(this.keyOfGroup(group), `group ${group}`);
      if (batch !== undefined) note(this.keyOfBatch(batch), `batch ${batch}`);
    }
    if (byKey.size > 1) {
      const two = [...byKey].slice(0, 2).map(([key, what]) => `${what} is on shard ${this.keys.indexOf(key)}`);
      throw new RangeError(`what belongs together must be on one shard, but ${two.join(" and ")}`);
    }
    return byKey.keys().next().value;
  }

  protected nameOf(key: string, id: string): string {
    return `${this.keys.indexOf(key)}/${id}`;
  }

  protected mostAtOnce(parents: number): number {
    return Math.min(100, mostAtOnce(parents));
  }

  // ---- pushes

  protected async runAt<R>(
    key: string | undefined,
    name: string | undefined,
    number: number,
    command: (key: string) => Command<R>,
  ): Promise<readonly [string, R]> {
    const at = key ?? (name === undefined ? undefined : this.keyOfGroup(name));
    const [shard, made] =
      at === undefined
        ? await this.#pushAnywhere(command)
        : ([this.keys.indexOf(at), await this.wire.run(command(at))] as const);
    this.#loads.pushed(shard, number);
    return [this.#key(shard), made];
  }

  /** Push to a shard whose node is not away. A push that may have been executed waits for its node. */
  async #pushAnywhere<R>(command: (key: string) => Command<R>): Promise<readonly [number, R]> {
    for (let tries = 0; tries < this.keys.length; tries++) {
      if (this.#loads.isStale(performance.now())) await this.#refresh().catch(onlyRefused);
      const shard = this.#loads.choose(performance.now());
      try {
        return [shard, await this.wire.once(command(this.#key(shard)), LOOK_MS)];
      } catch (error) {
        if (!passes(error) && !isPassingReply(error)) throw error;
        this.#loads.lost(shard, performance.now());
        // Elsewhere, a push that was executed after all would be executed twice.
        if (!isUndone(error)) return [shard, await this.wire.run(command(this.#key(shard)))];
      }
    }
    const shard = this.#loads.choose(performance.now());
    return [shard, await this.wire.run(command(this.#key(shard)))];
  }

  // ---- looks

  /** Ask how many tasks are ready on each shard whose node is not away. False if no node replied. */
  async #refresh(): Promise<boolean> {
    const found = await this.#look((key) => commands.length(key, "ready"));
    return [...found.values()].some((ready) => ready !== null);
  }

  /** Ask for ready tasks and waiting claims. Sets the pace by the claims, and moves home to a shard where fewer wait. */
  async #survey(): Promise<boolean> {
    const waiting = new Map<number, number>();
    const found = await this.#look((key) => {
      const read = (reply: unknown): number => {
        const fields = new Map(pairs(reply ?? []));
        waiting.set(this.keys.indexOf(key), Number(fields.get("blocked-workers") ?? 0));
        return Number(fields.get("ready") ?? 0);
      };
      return { words: commands.info(key).words, read };
    });
    this.#pace.idle = 1 + [...waiting.values()].reduce((sum, one) => sum + one, 0);
    const fewest = Math.min(...waiting.values());
    if ((waiting.get(this.#home) ?? 0) > fewest + 1) {
      const least = [...waiting].filter(([, here]) => here === fewest);
      this.#home = (least[Math.floor(Math.random() * least.length)] as [number, number])[0];
    }
    return [...found.values()].some((ready) => ready !== null);
  }

  async #look(command: (key: string) => Command<number>): Promise<Map<number, number | null>> {
    const askedAt = performance.now();
    this.#loads.seenAt = askedAt; // before the reply, so that other calls don't ask at the same time
    const asked = this.#loads.there(askedAt);
    const found = new Map<number, number | null>();
    const ask = async (shard: number): Promise<void> => {
      const ready = await this.wire.once(command(this.#key(shard)), LOOK_MS).catch((error: unknown) => {
        if (error instanceof Refused && error.code === "NOPERM") throw error;
        return null;
      });
      found.set(shard, ready);
    };
    await Promise.all(asked.map(ask));
    const now = performance.now();
    this.#loads.saw(found, now, now - askedAt);
    return found;
  }

  // ---- claims

  async claimOnce(search: Search, waitMs: number | undefined, wire: Wire = this.wire): Promise<Task[]> {
    if (search.options.gatherMs !== undefined) {
      throw new TypeError("gatherMs does not work with shards: each of them would wait for a batch of its own");
    }
    const endsAt = waitMs === undefined ? 0 : performance.now() + waitMs;
    let tasks = await this.#take(search);
    for (let mustLook = waitMs === undefined; !tasks.length; mustLook = true) {
      if (mustLook || this.#loads.isWorthALook(performance.now())) tasks = await this.#lookAndTake(search, wire);
      if (tasks.length || performance.now() >= endsAt) break;
      tasks = await this.#waitAtHome(search, endsAt, wire);
    }
    return tasks;
  }

  async #lookAndTake(search: Search, wire: Wire): Promise<Task[]> {
    const isDue = performance.now() - this.#surveyedAt >= SURVEY_MS;
    if (isDue) this.#surveyedAt = performance.now();
    // No node replies. That is not an empty queue: keep trying, then throw the client's error.
    if (!(await (isDue ? this.#survey() : this.#refresh())))
      await wire.run(commands.length(this.#key(this.#home), undefined));
    const tasks = await this.#take(search);
    this.#pace.looked(tasks.length > 0);
    return tasks;
  }

  /** Claim from the shards that are known to have tasks, preferring fuller ones, until there are enough. */
  async #take(search: Search): Promise<Task[]> {
    const full = [...this.keys.keys()].filter(
      (shard) => (this.#loads.ready[shard] ?? 0) > 0 || search.unanswered.has(shard),
    );
    const tasks: Task[] = [];
    for (const shard of this.#loads.byChance(full)) {
      const left = search.count - tasks.length;
      if (left <= 0 || this.#loads.isAway(shard, performance.now())) continue;
      const askedAt = performance.now();
      try {
        const found = await this.wire.once(this.#claim(shard, search, left, undefined), LOOK_MS);
        search.unanswered.delete(shard);
        this.#faulty.delete(shard);
        this.#loads.took(shard, found.length, left);
        tasks.push(...this.#named(shard, found));
      } catch (error) {
        // Tasks that are there are returned, since their leases run; the error comes again with the next claim.
        if (!tasks.length || isAway(error)) this.#leaveAlone(search, shard, error, performance.now() - askedAt);
        if (tasks.length) break;
      }
    }
    return tasks;
  }

  #claim(shard: number, search: Search, count: number, waitMs: number | undefined): Command<Task[]> {
    return commands.claim(this.#key(shard), count, waitMs, search.request, search.options);
  }

  /** Wait for a while on the home shard, or on the next one whose node is not away. */
  async #waitAtHome(search: Search, endsAt: number, wire: Wire): Promise<Task[]> {
    const now = performance.now();
    const waitMs = Math.max(1, Math.min(this.#pace.nextMs(), Math.round(endsAt - now)));
    const order = this.keys.map((_, step) => (this.#home + step) % this.keys.length);
    const home = order.find((shard) => !this.#loads.isAway(shard, now)) ?? this.#home;
    try {
      const found = await wire.once(this.#claim(home, search, search.count, waitMs), waitMs + LOOK_MS, true);
      search.unanswered.delete(home);
      return this.#named(home, found);
    } catch (error) {
      this.#leaveAlone(search, home, error, performance.now() - now);
      await rest(waitMs);
      return [];
    }
  }

  /** Skip a shard for a while if its server is away, or if it alone has a fault of its own. Other errors are thrown. */
  #leaveAlone(search: Search, shard: number, error: unknown, tookMs: number): void {
    const isFaulty = error instanceof QueueBroken || error instanceof WrongType;
    if (isFaulty && new Set([...this.#faulty, shard]).size < this.keys.length) this.#faulty.add(shard);
    else if (isAway(error)) search.unanswered.add(shard);
    else throw error;
    this.#loads.lost(shard, performance.now(), tookMs);
  }

  #named(shard: number, tasks: readonly Task[]): Task[] {
    const named = (name: string): string => `${shard}/${name}`;
    return tasks.map((task) => ({
      ...task,
      id: named(task.id),
      handle: named(task.handle),
      ...(task.meta && { meta: { ...task.meta, after: task.meta.after.map(named) } }),
    }));
  }
}

function isAway(error: unknown): boolean {
  return passes(error) || isPassingReply(error);
}

/** A reply such as LOADING, which the wire has already made an error of the library. */
function isPassingReply(error: unknown): boolean {
  return error instanceof Refused && passes(new Error(`${error.code} `));
}

/** Whether the command was certainly not executed: the node refused the connection, or the command. */
function isUndone(error: unknown): boolean {
  if (error instanceof NoReply) return false;
  return isPassingReply(error) || codeOf(error) !== "" || /ECONNREFUSED/.test(String((error as Error)?.message));
}

function onlyRefused(error: unknown): void {
  // Without the right to ask for lengths, the choice is random.
  if (!(error instanceof Refused)) throw error;
}

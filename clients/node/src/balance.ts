/**
 * Decides to which shard a task goes, and how often a worker looks at other shards. No connection, no clock: `now` is a
 * time in ms from `performance.now()`. A *look* asks all shards how many tasks are ready.
 *
 * The figures and their reasons are those of the Python library (clients/python/taskslot/balance.py).
 */

/** A push looks again if the last look is older than this; a worker that found nothing, if it is older than the second. */
const FRESH_MS = 100;
const AGAIN_MS = 20;
/** A shard whose node did not reply is skipped for `AWAY_TIMES` as long as the attempt took, within these bounds. */
const AWAY_TIMES = 4;
const AWAY_MS = [250, 4000] as const;
/** If a look found a node away, no push tries that node before the next look, for at most this long. */
const TRUST_MS = 10_000;
/** The weight of the usual number of ready tasks, the time it is averaged over, and the most that counts in it. */
const USUAL = 4;
const MEMORY_MS = 20_000;
const REMEMBERED = 8;

/** The number of ready tasks on each shard: as the last look found it, plus what this client has pushed since. */
export class Loads {
  readonly ready: number[];
  readonly #usual: number[];
  readonly #awayUntil = new Map<number, number>();
  readonly #random: () => number;
  seenAt = -Infinity;
  #learnedAt = -Infinity;

  constructor(number: number, random: () => number = Math.random) {
    this.ready = new Array<number>(number).fill(0);
    this.#usual = new Array<number>(number).fill(0);
    this.#random = random;
  }

  /** Whether a push should look again. */
  isStale(now: number): boolean {
    return now - this.seenAt > FRESH_MS;
  }

  /** Whether a worker that found nothing should look again, rather than wait. */
  isWorthALook(now: number): boolean {
    return now - this.#learnedAt > AGAIN_MS;
  }

  /** Record a look: the ready tasks by shard, null for a node that did not reply; and how long the look took. */
  saw(ready: ReadonlyMap<number, number | null>, now: number, tookMs: number): void {
    const news = 1 - Math.exp((this.#learnedAt - now) / MEMORY_MS);
    this.seenAt = this.#learnedAt = now;
    for (const [shard, seen] of ready) {
      if (seen === null) {
        this.lost(shard, now, tookMs);
        continue;
      }
      this.ready[shard] = seen;
      const usual = this.#usual[shard] ?? 0;
      this.#usual[shard] = usual + news * (Math.min(seen, REMEMBERED) - usual);
      this.#awayUntil.delete(shard);
    }
  }

  /** The shards whose nodes were not away a moment ago; all shards if all nodes were away. */
  there(now: number): number[] {
    const every = this.ready.map((_, shard) => shard);
    const there = every.filter((shard) => !this.isAway(shard, now));
    return there.length ? there : every;
  }

  /** Record that the shard's node did not reply within `tookMs`, and skip the shard for a while. */
  lost(shard: number, now: number, tookMs: number = AWAY_MS[0]): void {
    this.#awayUntil.set(shard, now + Math.min(AWAY_MS[1], Math.max(AWAY_MS[0], AWAY_TIMES * tookMs)));
  }

  /** Whether the shard's node was away a moment ago. */
  isAway(shard: number, now: number): boolean {
    return (this.#awayUntil.get(shard) ?? now) > now;
  }

  /** The shard for a task without group and token: the less loaded of two that are there. */
  choose(now: number): number {
    let there = this.there(now);
    if (now - this.#learnedAt < TRUST_MS) {
      const reached = there.filter((shard) => !this.#awayUntil.has(shard));
      there = reached.length ? reached : there;
    }
    const at = Math.floor(this.#random() * there.length);
    const step = 1 + Math.floor(this.#random() * (there.length - 1));
    const [one, two] = [there[at] as number, there[(at + step) % there.length] as number];
    return this.#weight(one) <= this.#weight(two) ? one : two;
  }

  #weight(shard: number): number {
    return (this.ready[shard] ?? 0) + USUAL * (this.#usual[shard] ?? 0);
  }

  /** The shards in the order in which a worker claims from them: random, but fuller shards tend to come first. */
  byChance(shards: readonly number[]): number[] {
    return shards
      .map((shard) => ({ shard, draw: this.#random() ** (1 / Math.max(1, this.ready[shard] ?? 0)) }))
      .sort((one, other) => other.draw - one.draw)
      .map(({ shard }) => shard);
  }

  /** Record a claim of `asked` tasks that got `tasks`. If it got fewer, the shard is empty now. */
  took(shard: number, tasks: number, asked: number): void {
    this.ready[shard] = tasks === asked ? Math.max(0, (this.ready[shard] ?? 0) - tasks) : 0;
  }

  /** Record tasks that this client has pushed since the last look. */
  pushed(shard: number, tasks: number): void {
    this.ready[shard] = (this.ready[shard] ?? 0) + tasks;
  }
}

/** The longest wait between two looks of a worker that is alone, and of one of many idle workers. */
const LOOK_MS = 25;
const LONGEST_LOOK_MS = 250;

/** How long a worker waits on its home shard before it looks at the others. Idle workers share the work of looking. */
export class Pace {
  idle = 1;
  #quickMs = LOOK_MS;

  /** The length of the next wait: random, a little below the present pace. */
  nextMs(): number {
    return Math.max(1, Math.round(this.#quickMs * (0.6 + 0.4 * Math.random())));
  }

  /** Set the pace after a look: quick if it found a task, otherwise slowly back to what suits the idle workers. */
  looked(found: boolean): void {
    const suits = Math.min(LONGEST_LOOK_MS, Math.max(LOOK_MS, 11 * this.idle));
    this.#quickMs = found ? LOOK_MS : Math.min(suits, this.#quickMs * 1.25);
  }
}

/** A queue in one key. */

import { BaseQueue, type Search } from "./base-queue.js";
import * as commands from "./commands.js";
import type { Command } from "./commands.js";
import { type Client, connectionOf } from "./connection.js";
import { mostAtOnce } from "./flows.js";
import type { Info, Task, TaskRef } from "./replies.js";
import { Wire } from "./wire.js";

/** How a queue uses its client. */
export interface QueueOptions {
  /**
   * How long a call keeps trying while a server is away, in ms; default 10 s. Then it throws the client's own error, or
   * `NoReply` if there was none, only silence. Either way what it asked for may have happened, or still happen.
   */
  patienceMs?: number;
}

/**
 * The queue in a key: `new Queue(client, "mail")`.
 *
 * Commands that wait in the server use connections of their own, made like the client's. All others use the client. Each
 * push and claim carries a `REQUEST` token: if it is sent again after a broken connection, nothing is pushed or leased
 * twice. Spans are ms. Text that is pushed is UTF-8; payloads and results come back as Buffers.
 */
export class Queue extends BaseQueue {
  constructor(client: Client, name: string, { patienceMs = 10_000 }: QueueOptions = {}) {
    super(name, [name], new Wire(connectionOf(client), patienceMs));
  }

  protected locate(name: string): readonly [string, string] {
    return [this.name, name];
  }

  protected keyOfGroup(): string {
    return this.name;
  }

  protected keyOfBatch(): string {
    return this.name;
  }

  protected keysOfToken(): readonly string[] {
    return this.keys;
  }

  protected keyFor(_: readonly TaskRef[]): string {
    return this.name;
  }

  protected async runAt<R>(
    _: unknown,
    __: unknown,
    ___: number,
    command: (key: string) => Command<R>,
  ): Promise<[string, R]> {
    return [this.name, await this.wire.run(command(this.name))];
  }

  protected nameOf(_: string, id: string): string {
    return id;
  }

  protected mostAtOnce(parents: number): number {
    return mostAtOnce(parents);
  }

  claimOnce(search: Search, waitMs: number | undefined, wire: Wire = this.wire): Promise<Task[]> {
    const { count, request, options } = search;
    const command = commands.claim(this.name, count, waitMs, request, options);
    const longest = (waitMs ?? 0) + (options.gatherMs ?? 0);
    return longest ? wire.wait(command, longest) : wire.run(command);
  }

  /** Counts, totals, rates, times and load; null if there is no queue yet. */
  info(): Promise<Info | null> {
    return this.wire.run(commands.info(this.name));
  }
}

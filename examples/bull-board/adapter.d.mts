// The types of adapter.mjs.

import type { BaseAdapter } from "@bull-board/api/baseAdapter";
import type { QueueAdapterOptions } from "@bull-board/api/typings/app";
import type { Queue } from "taskslot";

/** What the adapter asks of the client itself: one of ioredis, or of node-redis. */
interface Server {
  info(): Promise<string>;
  unlink(key: string): Promise<number>;
}

/** A queue of taskslot as bull-board shows it. */
export interface TaskslotAdapter extends BaseAdapter {
  readonly queue: Queue;
}

export const TaskslotAdapter: new (
  queue: Queue,
  redis: Server,
  options?: Partial<QueueAdapterOptions>,
) => TaskslotAdapter;

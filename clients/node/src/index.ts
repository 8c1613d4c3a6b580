/** Task queues with leases inside Redis and Valkey: producers and workers for Node. */

export { Queue, type QueueOptions } from "./queue.js";
export { ShardedQueue } from "./sharded-queue.js";
export type { BaseQueue, ClaimCall, HandleRef, NamedTask } from "./base-queue.js";
export type { Batch } from "./batch.js";
export {
  BadPayload,
  Call,
  Kwargs,
  call,
  kwargs,
  readCall,
  task,
  type Data,
  type Payload,
  type TaskFunction,
} from "./call.js";
export type {
  BatchCounts,
  BatchInfo,
  Ended,
  Group,
  Info,
  Load,
  Meta,
  Pushed,
  Schedule,
  Settings,
  State,
  Task,
  TaskFailure,
  TaskRef,
  TaskView,
  WorkerView,
} from "./replies.js";
export type {
  AckOptions,
  CallbackOptions,
  ClaimOptions,
  CommonOptions,
  Direction,
  ExtendOptions,
  FailOptions,
  GroupOptions,
  Instant,
  ListOptions,
  OnDead,
  PushOptions,
  Removal,
  RequeueOptions,
  ScheduleOptions,
  SetOptions,
  TaskOptions,
  UniqueOptions,
} from "./commands.js";
export { chain, chord, group, step, type Flow, type FlowIds, type StepOptions } from "./flows.js";
export type { Client, Connection, IoRedisClient, NodeRedisClient, OwnConnection, Word } from "./connection.js";
export {
  CancelAsked,
  LeaseLost,
  NoReply,
  NotDone,
  OutOfMemory,
  Paused,
  QueueBroken,
  QueueFull,
  Refused,
  TaskslotError,
  UnknownTask,
  WrongType,
} from "./errors.js";
export { Worker, type WorkerEvents, type WorkerOptions } from "./worker/worker.js";
export { current, type TaskContext } from "./worker/context.js";
export { Fail, GiveBack } from "./worker/outcomes.js";

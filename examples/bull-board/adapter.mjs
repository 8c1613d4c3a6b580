// A bull-board adapter for queues of taskslot: new TaskslotAdapter(new Queue(redis, "mail"), redis).

import { createRequire } from "node:module";

// The package exports its base class under this path only.
const { BaseAdapter } = createRequire(import.meta.url)("@bull-board/api/dist/queueAdapters/base.js");

/** The board's words for states, and ours. */
const STATE = {
  waiting: "ready", wait: "ready", delayed: "delayed", "waiting-children": "held", active: "leased", failed: "dead",
  completed: "done",
};
const STATUS = Object.fromEntries(Object.entries(STATE).map(([status, state]) => [state, status]));
STATUS.ready = "waiting";

/** A payload, result or progress as the board shows it: JSON if it is that, otherwise text. */
function shown(bytes) {
  if (bytes === undefined) return undefined;
  try {
    return JSON.parse(bytes);
  } catch {
    return bytes.toString();
  }
}

/** The call of a payload: its name, and the rest as the data. */
function callOf(payload, queueName) {
  const data = shown(payload) ?? "";
  return { name: (typeof data === "object" && data?.task) || queueName, data };
}

class Job {
  constructor(queue, view) {
    this.queue = queue;
    this.view = view;
    this.id = view.id;
    this.opts = { delay: view.due && view.due - view.enqueued };
  }

  async promote() {
    await this.queue.retry(this.id);
  }

  /** A dead task is ready again; a done one is pushed again. */
  async retry() {
    if (this.view.state === "done") await this.queue.push(this.view.payload, { headers: this.view.headers });
    else await this.queue.retry(this.id);
  }

  async remove() {
    if (!(await this.queue.purgeTasks(this.id))) await this.queue.cancel(this.id); // a leased one is asked to stop
  }

  async updateData(data) {
    await this.queue.set(this.id, { payload: JSON.stringify(data) });
  }

  async changeDelay(delayMs) {
    await this.queue.set(this.id, { delayMs });
  }

  async changePriority({ priority }) {
    await this.queue.set(this.id, { priority });
  }

  async getState() {
    return STATUS[this.view.state];
  }

  toJSON() {
    const { view } = this;
    const { name, data } = callOf(view.payload, this.queue.name);
    return {
      id: view.id,
      name,
      data,
      timestamp: view.enqueued,
      processedOn: view.claimed ?? null,
      finishedOn: view.doneSince ?? view.deadSince ?? null,
      processedBy: view.worker ?? null,
      progress: shown(view.progress) ?? 0,
      attemptsMade: view.failures + view.stalls,
      delay: this.opts.delay ?? 0,
      failedReason: view.state === "dead" ? (view.error ?? "").split("\n", 1)[0] : "",
      stacktrace: view.errors.map(({ attempt, error }) => `attempt ${attempt ?? "?"}: ${error}`),
      returnvalue: shown(view.result) ?? null,
      deduplicationId: view.unique,
      opts: {
        attempts: view.attempts, priority: view.priority, group: view.group, batch: view.batch, leaseMs: view.leaseMs,
        ttlMs: view.ttlMs, retainMs: view.retain,
        headers: Object.fromEntries(Object.entries(view.headers).map(([header, value]) => [header, `${value}`])),
      },
    };
  }
}

export class TaskslotAdapter extends BaseAdapter {
  constructor(queue, redis, options = {}) {
    super("bullmq", options); // the board knows only bull and bullmq
    this.queue = queue;
    this.redis = redis;
  }

  getName() {
    return `${this.prefix}${this.queue.name}`;
  }
  getQueueName() {
    return this.queue.name;
  }
  getQueueQualifiedName() {
    return this.queue.name;
  }
  async getFlowProducer() {
    return null;
  }
  async getRedisInfo() {
    return this.redis.info();
  }

  // ---- jobs

  getJobStatuses() {
    return ["active", "waiting", "waiting-children", "delayed", "failed", "completed"];
  }
  getStatuses() {
    return ["latest", ...this.getJobStatuses()];
  }
  async getJobCounts() {
    const info = (await this.queue.info()) ?? {};
    const counts = this.getJobStatuses().map((status) => [status, info[STATE[status]] ?? 0]);
    return { latest: 0, prioritized: 0, paused: 0, ...Object.fromEntries(counts) };
  }
  /** One page. A cursor is no offset, so page n reads all before it; what has ended comes newest first. */
  async getJobs(statuses, start = 0, end = 9) {
    const found = [];
    for (const status of statuses) {
      let at = 0;
      const state = STATE[status];
      for await (const view of this.queue.tasks(state, { payloads: true, reverse: state === "dead" || state === "done" })) {
        if (at++ >= start) found.push(new Job(this.queue, view));
        if (at > end) break;
      }
    }
    return found;
  }
  async getJob(id) {
    const view = await this.queue.get(id);
    return view && new Job(this.queue, view);
  }
  async getJobLogs() {
    return [];
  }
  async addJob(name, data, { delay, attempts, priority } = {}) {
    const payload = JSON.stringify(data?.task ? data : { task: name, args: [data], kwargs: {} });
    const { id } = await this.queue.push(payload, { delayMs: delay, attempts, priority });
    return this.getJob(id);
  }
  async clean(status, olderMs) {
    while (await this.queue.purge(STATE[status], { olderMs: olderMs || undefined }));
  }
  async empty() {
    for (const state of ["ready", "delayed", "held"]) while (await this.queue.purge(state));
  }
  async obliterate({ force = false } = {}) {
    // The board knows this text, and asks again with `force`.
    if (!force && (await this.queue.length("leased"))) throw new Error("Cannot obliterate queue with active jobs");
    await this.redis.unlink(this.queue.name);
  }
  async promoteAll() {
    for await (const view of this.queue.tasks("delayed")) await this.queue.retry(view);
  }

  // ---- the queue

  async isPaused() {
    return Boolean((await this.queue.info())?.pausedOut);
  }
  async pause() {
    await this.queue.pause();
  }
  async resume() {
    await this.queue.resume();
  }
  async getMetrics() {
    return { meta: { count: 0, prevTS: 0, prevCount: 0 }, data: [], count: 0 };
  }
  async getWorkers() {
    const workers = await this.queue.workers();
    return workers.map(({ name, leases, oldestLeaseMs }) => ({
      id: name || "-", name: name || null, addr: `${leases} leases`, age: Math.max(0, Math.round(oldestLeaseMs / 1000)),
    }));
  }
  async getGlobalConcurrency() {
    const limit = (await this.queue.settings())?.concurrency ?? -1;
    return limit > 0 ? limit : null;
  }
  async setGlobalConcurrency(limit) {
    await this.queue.configure({ concurrency: limit > 0 ? limit : -1 });
  }
  get supportsGlobalRateLimit() {
    return true;
  }
  async getConfiguredRateLimit() {
    const settings = await this.queue.settings();
    return settings && settings.rate > 0 ? { max: settings.rate, duration: settings.ratePer } : null;
  }
  async setConfiguredRateLimit({ max, duration }) {
    await this.queue.configure({ rate: max, ratePer: duration });
  }
  async removeConfiguredRateLimit() {
    await this.queue.reset("rate", "ratePer");
  }

  // ---- schedules

  async getJobSchedulers() {
    return (await this.queue.schedules()).map(({ name, cron, every, tz, next, last, lastId, made, payload }) => ({
      id: name, name, pattern: cron, every, tz: cron && tz, next, lastRun: last, lastRunJobId: lastId, iterationCount: made,
      template: { data: shown(payload) },
    }));
  }
  async getJobSchedulersCount() {
    return (await this.queue.schedules()).length;
  }
  async removeJobScheduler(name) {
    return this.queue.unschedule(name);
  }
  get supportsJobSchedulerRun() {
    return true;
  }
  async runJobSchedulerNow(name) {
    const known = (await this.queue.schedules()).some((one) => one.name === name);
    return known ? this.getJob(await this.queue.runSchedule(name)) : "not-found";
  }
  async updateJobScheduler() {
    return "not-found"; // never asked: supportsJobSchedulerUpdate is false
  }
}

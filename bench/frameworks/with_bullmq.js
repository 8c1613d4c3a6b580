// BullMQ: `with_bullmq.js work` is a worker process, without an argument it pushes. See job.py for what a job does.
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");
const { setTimeout: sleep } = require("node:timers/promises");
const { Queue, Worker } = require("bullmq");

const { BENCH_URL, BENCH_PIPE, BENCH_GATE } = process.env;
const { hostname: host, port } = new URL(BENCH_URL);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const GATE = -1;

function work() {
  const pipe = fs.openSync(BENCH_PIPE, "w");
  const run = async ({ data }) => {
    // The moment is text, because a number of JavaScript has not enough digits for nanoseconds.
    const at = BigInt(data.at);
    fs.writeSync(pipe, `${at <= 0n ? at : process.hrtime.bigint() - at}\n`);
    while (Number(at) === GATE && !fs.existsSync(BENCH_GATE)) await sleep(20);
  };
  const worker = new Worker("bench", run, { connection, concurrency: 5 });
  worker.on("error", (error) => console.error(error));
  process.on("SIGTERM", () => worker.close().then(() => process.exit(0)));
}

async function push() {
  const queue = new Queue("bench", { connection, defaultJobOptions: { removeOnComplete: true, removeOnFail: true } });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [argument, number, rate] = JSON.parse(line);
    const began = performance.now();
    const before = process.cpuUsage();
    for (let at = 0; at < number; at += 1) {
      const pause = rate ? began + (at * 1000) / rate - performance.now() : 0;
      if (pause > 0) await sleep(pause);
      await queue.add("job", { at: `${argument === null ? process.hrtime.bigint() : argument}` });
    }
    const { user, system } = process.cpuUsage(before);
    const seconds = (performance.now() - began) / 1000;
    console.log(JSON.stringify({ pushed: number, seconds, cpu_us: user + system }));
  }
  await queue.close();
}

if (process.argv[2] === "work") work();
else push();

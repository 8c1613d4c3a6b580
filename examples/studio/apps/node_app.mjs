// The studio with taskslot's worker for Node. `node node_app.mjs worker` works; `node node_app.mjs 400 120 3` pushes.
import { appendFileSync, closeSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { Queue, Worker, current, task } from "taskslot";

const { STUDIO_URL, STUDIO_LEDGER } = process.env;

// Writes down the start of a run, and its end or its failure.
async function run(kind, key, body) {
  const note = (what) =>
    appendFileSync(
      STUDIO_LEDGER,
      `${JSON.stringify({ what, kind, key, pid: process.pid, at: Date.now() / 1000 })}\n`,
    );
  note("start");
  try {
    const made = await body();
    note("end");
    return made;
  } catch (error) {
    note("failed");
    throw error;
  }
}

// A mail server that has no route to every third address, but only the first time.
function smtp(to) {
  const number = parseInt(to, 10);
  if (number % 3) return;
  try {
    closeSync(openSync(`${STUDIO_LEDGER}.${number}`, "wx"));
  } catch (error) {
    if (error.code === "EEXIST") return;
    throw error;
  }
  throw new Error("smtp: no route");
}

const thumbnail = task("thumbnail", (picture, width = 200) =>
  run("thumbnail", picture, async () => {
    await sleep(50);
    return `${picture} at ${width}`;
  }),
);
const mail = task("mail", (to) => run("mail", to, () => smtp(to)));
const nightly = task("nightly", () => run("nightly", "clean", () => null));
const albumReady = task("album_ready", (album) =>
  run("album", album, () => `${album}: ${current().counts.done} of ${current().counts.tasks}`),
);

const redis = new Redis(STUDIO_URL, { maxRetriesPerRequest: null });
redis.on("error", () => {}); // the server is away; the library tries again
const queue = new Queue(redis, "studio", { patienceMs: 60_000 });

async function work() {
  // A studio would say { cron: "30 2 * * *", tz: "Europe/Berlin" }.
  await queue.schedule("nightly", nightly.with(), { everyMs: 2000 });
  const worker = new Worker(queue, [thumbnail, mail, nightly, albumReady], { concurrency: 4, leaseMs: 3000 });
  process.exit((await worker.run()) ? 1 : 0);
}

async function produce(thumbnails, mails, albums) {
  for (let n = 0; n < Math.max(thumbnails, mails); n++) {
    if (n < thumbnails) await queue.push(thumbnail.with(`${n}.png`), { attempts: 10 });
    if (n < mails) await queue.push(mail.with(`${n}@example.org`), { attempts: 10, priority: 5 });
    if (n % 100 === 50 && n / 100 < albums) await pushAlbum(`album-${Math.floor(n / 100)}`);
    await sleep(20);
  }
  queue.close();
  redis.disconnect();
}

function pushAlbum(album) {
  return queue.withBatch(album, albumReady.with(album), async (batch) => {
    for (let n = 0; n < 20; n++) await batch.push(thumbnail.with(`${album}/${n}.png`));
  });
}

await (process.argv[2] === "worker" ? work() : produce(...process.argv.slice(2).map(Number)));

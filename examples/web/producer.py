"""Sets up the queues of the demo, and pushes tasks until it is stopped."""

from __future__ import annotations

import signal
import threading
import time

import redis
import shop
import taskslot

BATCH_EACH_S = 40.0
STOPS = threading.Event()


def prepare() -> None:
    """Limits, a pause, delayed tasks, a task that waits for others: what stands still in the demo."""
    shop.app.queue("emails").configure(retain=60_000, retain_max=2000)
    shop.app.queue("thumbnails").configure(max_len=3000)
    shop.app.queue("payments").configure(errors_kept=5)
    shop.make_thumbnail.push_many([(f"upload/{n:05}.png", 320) for n in range(90)])

    webhooks = shop.app.queue("webhooks")
    webhooks.configure(max_len=5000)
    webhooks.set_group("acme", concurrency=1)
    webhooks.set_group("globex", rate=30, rate_per_ms=60_000)
    webhooks.pause(group="umbrella")

    newsletter = shop.app.queue("newsletter")
    newsletter.pause()
    shop.write_to.push_many([(n,) for n in range(300)])

    for hours in range(1, 25):
        shop.remind.options(delay_ms=hours * 3_600_000).push_many([(f"customer{n}",) for n in range(5)])
    shop.pay.options(
        delay_ms=120_000, unique="invoice:80017", headers={"trace": "7f3a", "by": "cashier"}
    ).push(80_017, currency="EUR", card="4711")


def push_batches() -> None:
    """Open a batch, fill it, and close it; again each 40 s."""
    number = 0
    while not STOPS.is_set():
        number += 1
        try:
            with shop.app.batch(f"album-{number}", shop.print_album.step()) as batch:
                batch.push_many(shop.develop.step(f"album-{number}/{n:02}.png") for n in range(60))
        except (redis.ConnectionError, redis.TimeoutError, taskslot.TaskslotError) as error:
            print(f"album-{number}: {error}", flush=True)
        STOPS.wait(BATCH_EACH_S)


def push(per_s: float, one: shop.Push) -> None:
    """Push at an even rate. A full queue refuses some, and a server can be away."""
    began, pushed = time.monotonic(), 0
    while not STOPS.wait(min(1 / per_s, 0.2)):
        due = int((time.monotonic() - began) * per_s)
        # After a time without a server, what was missed is not made up for.
        pushed = max(pushed, due - 50)
        while pushed < due and not STOPS.is_set():
            pushed += 1
            try:
                one(pushed)
            except taskslot.QueueFull:
                continue
            except (redis.ConnectionError, redis.TimeoutError, taskslot.TaskslotError):
                break


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: STOPS.set())
    prepare()
    threads = [threading.Thread(target=push, args=load) for load in shop.LOAD]
    threads.append(threading.Thread(target=push_batches))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shop.app.close()


if __name__ == "__main__":
    main()

"""The functions of a web shop, for the demo of the page: what they do takes time, and goes wrong now and then.

The workers run them (`taskslot worker shop:app`), and producer.py pushes their tasks. DEMO_URL names the server, a node
of a cluster if DEMO_CLUSTER is set.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import redis
import taskslot
from taskslot import current

KIND = redis.RedisCluster if "DEMO_CLUSTER" in os.environ else redis.Redis
CLIENT = KIND.from_url(os.environ.get("DEMO_URL", "redis://127.0.0.1:6379"))
app = taskslot.App(CLIENT, name="shop", shards={"orders": 4})

PRICES = {"EUR": 1.0, "USD": 1.1}


def takes(first_s: float, last_s: float) -> None:
    """Work for a random time."""
    current().wait(random.uniform(first_s, last_s))


# ---- a queue that is well, and one with too few places


@app.task(queue="emails", attempts=8, backoff=(1000, 60_000))
def send_email(to: str, template: str) -> str:
    """One in forty fails once, and is tried again."""
    takes(0.03, 0.12)
    if current().task.deliveries == 1 and random.random() < 1 / 40:
        raise ConnectionResetError(f"mx.example.org closed the connection for {to}")
    return f"sent {template} to {to}"


@app.task(queue="thumbnails", retain_ms=0)
def make_thumbnail(picture: str, width: int) -> None:
    """More are pushed than the two places of its worker can make."""
    takes(0.4, 0.6)


@app.task(queue="orders", retain_ms=0)
def take_order(number: int, customer: str) -> None:
    """Spread over four shards."""
    takes(0.02, 0.06)


# ---- tasks that die, of three kinds of error


@app.task(queue="payments", attempts=2, backoff=500)
def pay(order: int, currency: str, card: str) -> str:
    """Charge a card. Some cards do not exist, some currencies are unknown, and the bank is away at times."""
    takes(0.05, 0.2)
    check_card(order, card)
    return charge(order, price_in(currency))


def check_card(order: int, card: str) -> None:
    """Nobody can mend this one: remove such tasks."""
    if card == "expired":
        raise ValueError(f"order {order}: no such card")


def price_in(currency: str) -> float:
    """A bug, which a new version would repair."""
    return 20 * PRICES[currency]


def charge(order: int, price: float) -> str:
    """The bank is away for one order in seven until somebody retries the task, so that retrying helps."""
    if order % 7 == 0 and current().task.deliveries <= 2:
        raise TimeoutError(f"bank-{order % 4}.example.org did not answer within 3000 ms")
    return f"charged {price:.2f} for order {order}"


# ---- tenants, batches, long tasks


@app.task(queue="webhooks", attempts=5, group=lambda tenant: tenant)
def call_webhook(tenant: str, event: int) -> str:
    """Each tenant is a group. Some have limits."""
    takes(0.05, 0.25)
    return f"200 OK from {tenant}"


@app.task(queue="albums", retain_ms=120_000)
def develop(picture: str) -> int:
    """A task of a batch."""
    takes(0.2, 0.7)
    if random.random() < 1 / 60:
        raise taskslot.Fail(f"{picture} is no picture", dead=True)
    return len(picture)


@app.task(queue="albums", retain_ms=600_000)
def print_album() -> str:
    """The callback of a batch."""
    takes(1, 2)
    counts = current().counts
    return f"{counts.done} of {counts.tasks} pictures printed" if counts else "printed"


@app.task(queue="videos", retain_ms=300_000)
def cut_video(name: str) -> str:
    """A long task, which says how far it is."""
    for percent in range(0, 100, 5):
        current().progress(f"{percent} %")
        if current().wait(0.6):
            current().check()
    return f"{name} is cut"


# ---- what runs by the clock


@app.task(queue="reminders")
def remind(customer: str) -> str:
    """Pushed with a delay."""
    takes(0.02, 0.05)
    return f"reminded {customer}"


@app.task(queue="newsletter")
def write_to(subscriber: int) -> None:
    """Its queue is paused."""


@app.every("20s", name="stock")
@app.task(queue="reports", unique="stock")
def count_stock() -> str:
    """Every 20 seconds."""
    takes(0.5, 2)
    return "12,400 things in stock"


@app.cron("*/2 * * * *", name="sales")
@app.cron("30 6 * * MON-FRI", tz="Europe/Berlin", name="morning")
@app.task(queue="reports", attempts=3)
def report_sales() -> dict[str, int]:
    """Every two minutes, and each morning in Berlin."""
    takes(1, 3)
    return {"orders": random.randrange(1000), "returns": random.randrange(50)}


# ---- load

Push = Callable[[int], object]


# For each queue, how many tasks are pushed a second, and how.
LOAD: list[tuple[float, Push]] = [
    (12, lambda n: send_email.push(f"customer{n % 900}@example.org", template=("welcome", "receipt")[n % 2])),
    (6, lambda n: make_thumbnail.push(f"upload/{n % 5000:05}.png", width=320)),
    (10, lambda n: take_order.push(80_000 + n, customer=f"customer{n % 900}")),
    (2, lambda n: pay.push(80_000 + n, currency=currency_of(n), card="expired" if n % 23 == 5 else "4711")),
    (6, lambda n: call_webhook.push(("acme", "acme", "globex", "initech", "umbrella")[n % 5], n)),
    (0.15, lambda n: cut_video.push(f"clip-{n}.mp4")),
    (0.5, lambda n: remind.delay(20_000 + 1000 * (n % 60)).push(f"customer{n % 900}")),
]


def currency_of(n: int) -> str:
    """Mostly one that is known."""
    return "CHF" if n % 11 == 3 else "USD" if n % 5 == 0 else "EUR"

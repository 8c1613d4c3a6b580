"""The studio with taskslot's Python worker and asyncio. `python asyncio_app.py 400 120 3` pushes its tasks."""

import asyncio
import os
import sys

import ledger
import taskslot

app = taskslot.App(os.environ["STUDIO_URL"], name="studio", patience_ms=60_000)


@app.task(queue="pictures", attempts=10)
async def thumbnail(picture: str, width: int = 200) -> str:
    """Make a thumbnail."""
    with ledger.run("thumbnail", picture):
        await asyncio.sleep(0.05)
    return f"{picture} at {width}"


@app.task(queue="mail", attempts=10, backoff=(200, 2000), retry_for=ConnectionError, priority=5)
async def mail(to: str) -> None:
    """Send a mail; tried again if the mail server can't be reached."""
    with ledger.run("mail", to):
        ledger.smtp(to)


@app.every("2s")  # a studio would say @app.cron("30 2 * * *", tz="Europe/Berlin")
@app.task(queue="pictures")
async def nightly() -> None:
    """Clean up."""
    with ledger.run("nightly", "clean"):
        pass


@app.task(queue="pictures")
async def album_ready(album: str) -> str:
    """Tell the customer that an album is ready. It runs once, after all of its thumbnails have ended."""
    counts = taskslot.current().counts
    with ledger.run("album", album):
        return f"{album}: {counts.done} of {counts.tasks}"


async def produce(thumbnails: int, mails: int, albums: int) -> None:
    """Push everything. While the server is away, each push keeps trying."""
    for n in range(max(thumbnails, mails)):
        if n < thumbnails:
            await thumbnail.apush(f"{n}.png")
        if n < mails:
            await mail.apush(f"{n}@example.org")
        if n % 100 == 50 and n // 100 < albums:
            await push_album(f"album-{n // 100}")
        await asyncio.sleep(0.02)


async def push_album(album: str) -> None:
    """Push the thumbnails of an album as a batch with a callback."""
    async with app.batch(album, album_ready.step(album)) as batch:
        for n in range(20):
            await batch.apush(thumbnail.step(f"{album}/{n}.png"))


if __name__ == "__main__":
    asyncio.run(produce(*map(int, sys.argv[1:])))

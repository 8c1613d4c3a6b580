"""taskiq with taskiq-redis: its workers import this file; run by itself it pushes."""

import asyncio

import job
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(url=job.URL)


@broker.task(task_name="job")
async def run(at: int) -> None:
    await job.run_async(at)


async def main():
    await broker.startup()
    await job.push_async(run.kiq)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())

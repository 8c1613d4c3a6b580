"""arq: its workers import this file; run by itself it pushes."""

import asyncio

import job
from arq import create_pool
from arq.connections import RedisSettings


async def run(ctx, at):
    await job.run_async(at)


class WorkerSettings:
    functions = [run]
    redis_settings = RedisSettings.from_dsn(job.URL)
    max_jobs = 5
    poll_delay = 0.01
    keep_result = 0


# For `arq --custom-log-dict`; by default it logs two lines a job.
QUIET = {"version": 1}


async def main():
    pool = await create_pool(WorkerSettings.redis_settings)
    await job.push_async(lambda at: pool.enqueue_job("run", at))
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(main())

"""Huey: its consumer imports this file; run by itself it pushes."""

import job
from huey import RedisHuey

huey = RedisHuey("bench", url=job.URL)


@huey.task()
def run(at):
    job.run(at)


if __name__ == "__main__":
    # The consumer knows the task by the name of this module.
    import with_huey

    job.push(with_huey.run)

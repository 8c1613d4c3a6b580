"""RQ: its workers import this file; run by itself it pushes."""

import job
from redis import Redis
from rq import Queue

if __name__ == "__main__":
    queue = Queue("bench", connection=Redis.from_url(job.URL))
    job.push(lambda at: queue.enqueue("job.run", at, result_ttl=0))

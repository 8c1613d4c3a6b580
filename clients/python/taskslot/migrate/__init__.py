"""Moves the jobs that wait in RQ, BullMQ or Celery into a queue of taskslot: `taskslot migrate`.

- rq.py, bullmq.py and celery.py each read what one system stores, and turn it into jobs.
- staging.py takes jobs out of the old system, in one step each, into a key where they are safe until they are pushed.
- mover.py does the whole: resume, take, push, remove.

Nothing here imports the old systems' libraries: the form in which they store jobs is all that is needed.
"""

from .job import Job, Left
from .mover import Mover, Tally, look
from .source import Source

__all__ = ["Job", "Left", "Mover", "Source", "Tally", "look"]

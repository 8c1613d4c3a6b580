"""Makes the Redis broker of Dramatiq ours, for the tests and for the programs that they start."""

import dramatiq.brokers.redis

from .brokers import InPlaceOfRedis

dramatiq.brokers.redis.RedisBroker = InPlaceOfRedis

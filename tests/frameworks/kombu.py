"""Kombu's tests of Redis, with our transport in the place of its own."""

from frameworks.suite import HERE, Suite

SUITE = Suite(
    name="kombu",
    tests=[
        "t/integration/test_redis.py",
        "t/integration/test_redis_brpop_qos.py",
        "t/integration/test_failover.py",
    ],
    packages=["pytest-freezer==0.4.9"],
    ours=HERE / "kombu_tests",
    into="t/integration",
    least=130,
    limit_s=900,
    arguments=["-p", "no:cacheprovider"],
)

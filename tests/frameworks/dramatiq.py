"""Dramatiq's tests, with our broker in the place of its Redis and RabbitMQ brokers, and of its stub of a broker."""

from frameworks.suite import HERE, Suite

SUITE = Suite(
    name="dramatiq",
    tests=["tests"],
    packages=["pika==1.4.4", "watchdog==6.0.0"],  # for its tests of RabbitMQ, and of --watch
    ours=HERE / "dramatiq_tests",
    into="tests",
    least=202,
    limit_s=1200,
    # Not the options of its pyproject.toml, which measure coverage.
    arguments=["-o", "addopts=", "--timeout=60"],
)

"""Celery's integration tests, with taskslot as the broker and Redis as the result backend."""

from frameworks.suite import HERE, Suite

SUITE = Suite(
    name="celery",
    tests=[f"t/integration/test_{name}.py" for name in ("tasks", "inspect", "canvas")],
    packages=[
        "pytest-celery>=1.3",
        "pytest-rerunfailures==16.7",
        "pytest-order==1.5.0",
        "pytest-click==1.1.0",
        "pydantic",
    ],
    ours=HERE / "celery_tests",
    into="t",
    least=300,
    limit_s=3600,
    arguments=["-p", "no:cacheprovider"],
    variables={"TEST_BROKER": "taskslot://", "TEST_BACKEND": "redis://"},
)

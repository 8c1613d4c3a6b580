"""Waits for the result of a task that is not kept: only callers that already wait get it."""

from concurrent.futures import ThreadPoolExecutor

from harness.server import wait_until


def result_of(queue, task, client, end):
    """Wait for a task's result, call `end` once the server counts the caller, and return the result.

    `client` is another connection to the task's server.
    """
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(queue.result, task, block_ms=20_000)
        wait_until(lambda: client.info("taskslot")["taskslot_result_waiters"] == 1, "a caller waits for it")
        end()
        return result.result()

"""The page of a task, on real servers: its life, what it carries, and what belongs to it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.server import wait_until
from harness.web import path_of
from taskslot import ShardedQueue, call, chain, group

from .test_web_queue import Page, in_each_state, read

MOMENTS = {
    "ready": "pushed … ready … it waits for a worker",
    "delayed": "pushed … becomes ready",
    "held": "pushed … held … until 1 task ended",
    "leased": "pushed … claimed, attempt 1 … by worker-leased … the lease ends",
    "dead": "pushed … claimed, attempt 1 … by worker-dead … attempt 1 failed … ValueError: no such user … dead",
    "done": "pushed … claimed, attempt 1 … by worker-done … done … the last attempt took … is removed",
}
CARRIED = {"leased": "Progress … half", "done": "Result … sent", "dead": "Headers … kind dead"}


def stands_in(words: str, text: str) -> bool:
    """Whether all parts between the dots stand in a text, in this order."""
    at = 0
    for part in words.split(" … "):
        at = text.find(part, at)
        if at < 0:
            return False
    return True


def test_a_task_in_each_state_tells_its_life(web, queue):
    """And what it carries: payload, headers, progress, result."""
    browser = web()
    for state, task in in_each_state(queue).items():
        page = read(browser, "/task", key="mail", id=task)
        assert stands_in(MOMENTS[state], page.text), (state, page.text)
        assert f'mail.send("{state}")' in page.text and page.is_harmless()
        own = {"leased": "Progress … half", "done": "Result … sent", "dead": "Headers … kind dead"}.get(
            state, "Payload"
        )
        assert stands_in(own, page.text), page.text


def test_each_failed_attempt_is_there_with_its_error_and_traceback(web, queue):
    """The traceback is folded, but for the last one."""
    queue.configure(errors_kept=3, backoff="fixed", backoff_base=1, backoff_jitter=0)
    task = queue.push("a")
    for number in range(1, 4):
        handle = queue.claim(worker=f"w{number}", block_ms=5000)[0]
        trace = f"Traceback (most recent call last):\n  File x.py, line {number}"
        queue.fail(handle, f"ValueError: try {number}\n{trace}", dead=number == 3)
    page = read(web(), "/task", key="mail", id=task)
    words = " … ".join(
        f"attempt {n} failed … by w{n} ValueError: try {n} Traceback … line {n}" for n in range(1, 4)
    )
    assert stands_in(words, page.text) and "3 times; 3 failures" in page.text
    assert page.html.count("<details open><summary>Traceback") == 1
    queue.retry(task)
    assert stands_in("attempt 3 failed … retried … ready", read(web(), "/task", key="mail", id=task).text)


def test_a_task_links_to_what_belongs_to_it(web, queue):
    """Its group, worker and batch, and the tasks that it waits for."""
    first, second, last = queue.push_flow(chain(call("a"), group([call("b", 1), call("b", 2)]), call("c")))
    callback = queue.open_batch("b/1", "report")
    queue.push("row", batch="b/1", group="g", unique="u", priority=5, ttl_ms=3_600_000)
    row = queue.get(unique="u").id
    queue.close_batch("b/1")
    browser = web()
    page = read(browser, "/task", key="mail", id=last)
    for one in second:
        assert path_of("/task", key="mail", id=one) in page.links
    assert first not in page.text and "until 2 tasks ended" in page.text
    page = read(browser, "/task", key="mail", id=row)
    for words in ("group g", "unique token u held", "time to live 1h00", "priority 5", "counts in b/1"):
        assert words in page.text
    queue.ack(next(task for task in queue.claim(9) if task.id == row))
    page = read(browser, "/task", key="mail", id=callback)
    assert "batch b/1 complete 1 of 1 ended: 1 done" in page.text


def test_a_task_that_is_gone_is_said_to_be_gone(web, queue, client):
    """With a link back to its queue, if that is there."""
    task = queue.push("a")
    queue.cancel(task)
    browser = web()
    for name in (task, "nonsense", "3/1-0"):
        answer = browser.get(path_of("/task", key="mail", id=name))
        page = Page(answer.text)
        assert answer.status_code == 404 and "no such task" in page.text and "/queue?key=mail" in page.links
    client.delete("mail")
    answer = browser.get(path_of("/task", key="mail", id=task))
    assert answer.status_code == 404 and "/queue?key=mail" not in Page(answer.text).links
    assert browser.get("/task?key=mail").status_code == 400


def test_a_long_payload_is_cut_and_can_be_had_as_it_is(web, queue):
    """Its size is said. The file's name and type are none that a browser would run."""
    payload = json.dumps({"page": "<script>alert(1)</script>" * 200_000}).encode()
    task = queue.push(payload)
    browser = web()
    page = read(browser, "/task", key="mail", id=task)
    assert f"the first 16,384 of {len(payload):,} bytes" in page.text
    assert len(page.html) < 60_000 and page.is_harmless()
    answer = browser.get(page.link("Download payload"))
    assert answer.content == payload and answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert browser.get(path_of("/task/part", key="mail", id=task, part="result")).status_code == 404
    assert browser.get(path_of("/task/part", key="mail", id=task, part="state")).status_code == 404


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"\x80\x05pickle\xff", "bytes, 9 B 000000 80 05 70 69 63 6b 6c 65 ff ..pickle."),
        (b"\x82\xa4task\xa1a\xa4args\x91\x01", 'MessagePack, 15 B { "task" : "a" , "args" : [ 1 ] }'),
        (b"", "Payload empty"),
        (b"line 1\nline 2", "text, 13 B line 1 line 2"),
    ],
)
def test_a_payload_is_shown_in_the_form_that_it_has(web, queue, payload, words):
    """Bytes that are no text are a hex dump."""
    page = read(web(), "/task", key="mail", id=queue.push(payload))
    assert words in page.text and page.is_harmless()


def test_a_task_of_a_shard_has_its_number(web, client):
    """So have the tasks that it waits for."""
    with ShardedQueue(client, "orders", shards=4) as queue:
        first, last = queue.push_flow(chain(call("a"), call("b")))
        page = read(web(), "/task", key="orders", shards="4", id=last)
        assert path_of("/task", key="orders", shards="4", id=first) in page.links
        assert f"shard {first[0]}" in page.text


def test_few_tasks_are_read_at_a_time(web, queue, monkeypatch):
    """Their payloads can be large, and all would be in memory at once."""
    from taskslot.web.pages.task import READ_AT_ONCE
    from taskslot.web.queue.lens import Lens

    browser, task = web(), queue.push(b"large")
    reading, go_on, get, most = [], threading.Event(), Lens.get, []

    def slow(self, *words):
        reading.append(words)
        most.append(len(reading))
        go_on.wait()
        reading.pop()
        return get(self, *words)

    monkeypatch.setattr(Lens, "get", slow)
    with ThreadPoolExecutor(3 * READ_AT_ONCE) as pool:
        pages = [pool.submit(read, browser, "/task", key="mail", id=task) for _ in range(3 * READ_AT_ONCE)]
        try:
            wait_until(lambda: len(reading) == READ_AT_ONCE, "as many as may are being read")
        finally:
            go_on.set()
        assert all("large" in page.result().text for page in pages)
    assert max(most) == READ_AT_ONCE

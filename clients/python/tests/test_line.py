"""Commands that go past the client's `execute_command`, on a connection that is kept."""

import gc
import os
import select
import threading
import weakref

import pytest
import redis
import valkey
from redis.backoff import NoBackoff
from redis.retry import Retry
from taskslot import Queue
from taskslot.line import Lent


@pytest.fixture(params=[redis, valkey], ids=["redis-py", "valkey-py"])
def library(request):
    """The client's library."""
    return request.param


@pytest.fixture
def client(library, server):
    """A client as a user makes one."""
    with (library.Redis if library is redis else library.Valkey)(port=server.port) as client:
        yield client


def test_threads_that_share_a_queue_get_their_own_replies(client):
    """More threads push than connections are kept. Each reads back what it has pushed."""
    queue, wrong = Queue(client, "mail"), []

    def push(number):
        for index in range(50):
            text = f"{number}-{index}".encode()
            if queue.get(queue.push(text)).payload != text:
                wrong.append(text)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, queue.len()) == ([], 400)


def test_a_forked_process_uses_a_connection_of_its_own(client):
    """The connection that is kept belongs to the parent."""
    queue = Queue(client, "mail")
    queue.push("first")
    if (pid := os.fork()) == 0:
        try:
            os._exit(0 if all(queue.push("child") for _ in range(200)) else 1)
        finally:
            os._exit(2)
    ids = [queue.push("parent") for _ in range(200)]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (len(set(ids)), queue.len()) == (200, 401)


def test_a_connection_that_the_server_closed_is_replaced(server):
    """This client doesn't resend, so a push on the closed connection would raise an error."""
    with redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client:
        queue = Queue(client, "mail", patience_ms=0)
        queue.push("a")
        server.client().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        queue.push("b")
        assert queue.len() == 2


def test_a_reply_that_was_not_read_is_not_taken_for_the_next_one(client, library, monkeypatch):
    """Ctrl-C came between the command and its reply."""
    queue = Queue(client, "mail")
    queue.push("a")
    read = library.connection.Connection.read_response

    def interrupted(*args, **options):
        monkeypatch.setattr(library.connection.Connection, "read_response", read)
        raise KeyboardInterrupt

    monkeypatch.setattr(library.connection.Connection, "read_response", interrupted)
    with pytest.raises(KeyboardInterrupt):
        queue.push("b")
    assert queue.get(queue.push("c")).payload == b"c"


def test_a_tool_that_records_commands_sees_all_of_them(client, monkeypatch):
    """It replaces `execute_command` of the client's class, as tracing libraries do."""
    seen, kind = [], type(client)
    execute = kind.execute_command

    def traced(self, *words, **options):
        seen.append(words[0])
        return execute(self, *words, **options)

    monkeypatch.setattr(kind, "execute_command", traced)
    with Queue(client, "mail") as queue:
        queue.push("a")
        (task,) = queue.claim(block_ms=1000)
        queue.ack(task)
    assert seen == ["TASK.PUSH", "TASK.CLAIM", "TASK.ACK"]


def test_close_returns_the_connection_to_the_clients_pool(client):
    """Until then it is in use, for all queues of this client together."""
    first, second = Queue(client, "a"), Queue(client, "b")
    for queue in (first, second):
        queue.push("x")
    pool = client.connection_pool
    assert len(pool._in_use_connections) == 1
    first.close()
    assert not pool._in_use_connections
    second.push("x")
    client.ping()
    assert len(pool._in_use_connections) == 1


def test_a_small_pool_keeps_no_connection(server):
    """The program may need all its connections. A command that is sent again needs no second one."""
    with redis.Redis(port=server.port, max_connections=1) as client:
        queue = Queue(client, "mail", patience_ms=0)
        queue.push("a")
        assert client.ping()
        server.restart(kill=True)
        queue.push("b")
        assert client.ping()


def test_a_client_that_is_not_used_any_more_is_freed(server):
    """The kept connection does not keep it, and is closed with it."""
    client = redis.Redis(port=server.port)
    Queue(client, "mail").push("a")
    pool = weakref.ref(client.connection_pool)
    del client
    gc.collect()
    assert pool() is None


def test_a_second_interrupt_leaves_no_connection_with_an_unread_reply(client, library, monkeypatch):
    """Ctrl-C came twice, also while the connection was being closed. The reply comes after the next command."""
    queue, kind = Queue(client, "mail"), library.connection.Connection
    queue.push("a")
    read, disconnect = kind.read_response, kind.disconnect

    def interrupted_read(*args, **options):
        monkeypatch.setattr(kind, "read_response", read)
        raise KeyboardInterrupt

    def interrupted_close(*args, **options):
        monkeypatch.setattr(kind, "disconnect", disconnect)
        raise KeyboardInterrupt

    monkeypatch.setattr(kind, "read_response", interrupted_read)
    monkeypatch.setattr(kind, "disconnect", interrupted_close)
    with pytest.raises(KeyboardInterrupt):
        queue.push("b")
    monkeypatch.setattr(Lent, "is_ready", lambda _: True)
    assert queue.get(queue.push("c")).payload == b"c"


def test_an_error_before_the_command_loses_no_connection(client, monkeypatch):
    """The kept connection returns to the pool."""
    queue = Queue(client, "mail")
    queue.push("a")

    def fails(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Lent, "is_ready", fails)
        queue.push("b")
    assert not client.connection_pool._in_use_connections
    queue.push("c")
    assert queue.len() == 2


@pytest.mark.parametrize("errors", [[], [valkey.TimeoutError]])
def test_a_command_is_only_sent_again_after_errors_that_the_client_resends(server, errors, monkeypatch):
    """valkey-py resends after errors of `retry_on_error` only. A claim without acks, sent again, would lose a task."""
    retry = valkey.retry.Retry(valkey.backoff.NoBackoff(), 3)
    with valkey.Valkey(port=server.port, retry=retry, retry_on_error=errors) as client:
        queue, kind = Queue(client, "mail", patience_ms=0), valkey.connection.Connection
        queue.push_many(["a", "b"])
        read = kind.read_response

        def loses(self, **options):
            monkeypatch.setattr(kind, "read_response", read)
            self.read_response(**options)
            raise valkey.ConnectionError("the reply was lost")

        monkeypatch.setattr(kind, "read_response", loses)
        with pytest.raises(valkey.ConnectionError):
            queue.claim(noack=True)
        assert queue.len() == 1


def test_a_system_without_poll_keeps_no_connection(client, monkeypatch):
    """Whether a kept connection is still open could not be seen there."""
    monkeypatch.delattr(select, "poll")
    queue = Queue(client, "mail")
    queue.push("a")
    queue.push("b")
    assert not client.connection_pool._in_use_connections

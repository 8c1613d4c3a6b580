"""Lost replies: the server has executed a command, and the library sends it again. Nothing is done twice."""

import pytest
import redis
from harness.server import wait_until
from redis.backoff import NoBackoff
from redis.retry import Retry
from taskslot import Queue, Refused, ShardedQueue, chain


class Lossy(redis.Redis):
    """A client that loses the reply to the next command with each of these names, as its twins do."""

    loses: list[str] = []
    meanwhile = staticmethod(lambda: None)  # what happens before the library sends it again

    def execute_command(self, *words, **options):
        """Execute the command, then raise an error."""
        reply = super().execute_command(*words, **options)
        if words[0] in Lossy.loses:
            Lossy.loses.remove(words[0])
            Lossy.meanwhile()
            raise redis.ConnectionError("the reply was lost")
        return reply


@pytest.fixture
def lossy(server):
    """A client that loses the replies that a test chooses."""
    Lossy.loses, Lossy.meanwhile = [], lambda: None
    with Lossy(port=server.port) as client:
        yield client


def test_a_push_whose_reply_is_lost_is_made_once(lossy):
    """This holds for one or many tasks, to a queue or to shards. The library gives each push its own token."""
    with Queue(lossy, "mail") as queue, ShardedQueue(lossy, "orders", shards=4) as sharded:
        for one in (queue, sharded):
            Lossy.loses = ["TASK.PUSH", "TASK.MPUSH"]
            ids = [one.push("a"), *one.push_many(["b", "c"])]
            assert Lossy.loses == []
            assert sorted(view.id for view in one.tasks("ready")) == sorted(ids) and len(ids) == 3


@pytest.mark.parametrize("block_ms", [None, 5000])
def test_a_claim_whose_reply_is_lost_is_made_once(lossy, block_ms):
    """The second copy returns the tasks that the first one leased."""
    with Queue(lossy, "mail") as queue:
        queue.push_many(["a", "b"])
        Lossy.loses = ["TASK.CLAIM"]
        (task,) = queue.claim(block_ms=block_ms)
        assert (Lossy.loses, task.payload, task.deliveries) == ([], b"a", 1)
        assert (queue.len("leased"), queue.len("ready")) == (1, 1)


@pytest.mark.parametrize("block_ms", [None, 5000])
def test_a_next_whose_reply_is_lost_is_made_once(lossy, block_ms):
    """The second copy gets the tasks that the first one leased. The first one has finished the task, so it gets 0."""
    with Queue(lossy, "mail") as queue:
        queue.push_many(["a", "b", "c"])
        done = queue.claim()
        Lossy.loses = ["TASK.NEXT"]
        answers, (task,) = queue.next(done, block_ms=block_ms)
        assert (Lossy.loses, answers, task.payload, task.deliveries) == ([], [0], b"b", 1)
        assert (queue.info().acked, queue.len("leased"), queue.len("ready")) == (1, 1, 1)


def test_tasks_of_a_lost_reply_are_requested_again_from_their_shard(lossy):
    """The shard is skipped for a second and has no ready task any more, but is asked all the same.

    With this many shards, it is probably not the worker's home, which would be asked anyway.
    """
    with ShardedQueue(lossy, "orders", shards=64) as queue:
        queue.push("a")
        Lossy.loses = ["TASK.CLAIM"]
        (task,) = queue.claim(block_ms=20_000)
        assert (Lossy.loses, task.payload, task.deliveries) == ([], b"a", 1)
        assert queue.len("leased") == 1


@pytest.mark.parametrize("options", [{}, {"shards": 4}])
def test_close_closes_only_the_connections_of_the_queue(make, server, options):
    """It closes the connections for waits and looks. The client still works."""
    looking, queue = server.client(), make("orders", **options)
    assert queue.len() == 0  # with the client itself
    before = len(looking.client_list())
    queue.push("a")
    assert queue.claim(block_ms=50) and queue.claim(block_ms=50) == []
    assert len(looking.client_list()) > before
    queue.close()
    wait_until(lambda: len(looking.client_list()) == before, "only the client's own connections are left")
    assert queue.push("b")


def test_an_opening_whose_reply_is_lost_is_made_once(lossy):
    """The second copy finds the batch. That is not a new one, so it is not deleted in case of an error."""
    with Queue(lossy, "mail") as queue:
        Lossy.loses = ["TASK.BATCH"]
        with queue.batch("a", "callback") as batch:
            assert (Lossy.loses, batch.callback.is_new, queue.len("held")) == ([], False, 1)


@pytest.mark.parametrize("options", [{}, {"shards": 4}])
def test_a_batch_that_is_gone_after_a_lost_reply_to_its_closing_was_closed(lossy, options):
    """The first copy completed it, and a worker was quick. Without a lost reply, a batch that is gone is an error."""
    with ShardedQueue(lossy, "mail", **options) if options else Queue(lossy, "mail") as queue:
        queue.open_batch("a", "callback")
        Lossy.loses, Lossy.meanwhile = ["TASK.BATCH"], lambda: queue.ack(queue.claim()[0])
        assert queue.close_batch("a") is False and Lossy.loses == []
        assert queue.batch_info("a") is None and queue.info().acked == 1
        with pytest.raises(Refused, match="no batch of this name"):
            queue.close_batch("a")


class LossyConnection(redis.Connection):
    """A connection that breaks instead of bringing the reply to the next CLOSE, so that the client itself resends."""

    loses = False

    def send_packed_command(self, command, *words, **options):
        """Send, and remember what."""
        self.is_close = b"CLOSE" in b"".join(command if isinstance(command, list) else [command])
        return super().send_packed_command(command, *words, **options)

    def read_response(self, *words, **options):
        """Read the reply, then break."""
        reply = super().read_response(*words, **options)
        if LossyConnection.loses and self.is_close:
            LossyConnection.loses = False
            self.disconnect()
            Lossy.meanwhile()
            raise redis.ConnectionError("the reply was lost")
        return reply


def test_a_closing_is_not_resent_by_the_client_behind_the_back_of_the_library(server):
    """It would not know that the error is the reply to a second copy."""
    retry = Retry(NoBackoff(), 3)
    pool = redis.ConnectionPool(connection_class=LossyConnection, port=server.port, retry=retry)
    with redis.Redis(connection_pool=pool) as client, Queue(client, "mail") as queue:
        queue.open_batch("a", "callback")
        LossyConnection.loses, Lossy.meanwhile = True, lambda: queue.ack(queue.claim()[0])
        assert queue.close_batch("a") is False and not LossyConnection.loses


def test_a_flow_whose_reply_is_lost_is_pushed_once(lossy):
    """Each of its commands has a token."""
    for queue in (Queue(lossy, "mail"), ShardedQueue(lossy, "orders", shards=4)):
        with queue:
            Lossy.loses = ["TASK.MPUSH"]
            ids = queue.push_flow(chain("a", "b"))
            assert Lossy.loses == [] and queue.len() == 2
            assert queue.get(ids[1]).after == (ids[0],)

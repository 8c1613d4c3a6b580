"""`taskslot metrics` as a process: what it serves, how it ends, its passwords, and what it sends by OTLP."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness.command_line import run
from harness.programs import OF_THIS_TREE, with_ctrl_c
from harness.server import wait_until
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from taskslot.metrics import Exporter
from taskslot.metrics.otlp import Push, endpoint

CLIENT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def started(*words: str, url: str = "", **variables: str):
    """The command, running: the process, and what it wrote first."""
    env = {**os.environ, **OF_THIS_TREE, "TASKSLOT_URL": url, "PYTHONUNBUFFERED": "1", **variables}
    command = [sys.executable, "-m", "taskslot", "metrics", *words]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, preexec_fn=with_ctrl_c)
    try:
        yield process, process.stderr.readline()
    finally:
        process.kill()
        process.communicate()


def scraped(said: str, accept: str = "") -> tuple[str, str]:
    """The content type and the text at the address that the command said."""
    address = re.search(r"http://\S+/metrics", said)[0].replace("0.0.0.0", "127.0.0.1")
    with CLIENT.open(urllib.request.Request(address, headers={"Accept": accept}), timeout=20) as reply:
        return reply.headers["Content-Type"], reply.read().decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_stop(server, queue, number):
    """Its first line says where. It also has figures of its own process."""
    queue.push("a")
    with started("--listen", "127.0.0.1:0", url=f"redis://127.0.0.1:{server.port}") as (process, said):
        assert said.endswith(f"/metrics shows 127.0.0.1:{server.port}\n")
        kind, text = scraped(said)
        assert (
            kind.startswith("text/plain") and 'taskslot_queue_tasks{queue="mail",state="ready"} 1.0' in text
        )
        assert "process_cpu_seconds_total" in text
        assert scraped(said, "application/openmetrics-text")[0].startswith("application/openmetrics-text")
        process.send_signal(number)
        assert process.wait(20) == 0


def test_the_options_say_what_is_shown(server, queue, client):
    """Without histograms there are no buckets. Beyond the limit, queues have no metrics of their own."""
    for name in "a", "b":
        client.execute_command("TASK.PUSH", name, "x")
    words = ("--listen", ":0", "--queues", "1", "--no-histograms")
    with started(*words, url=f"redis://127.0.0.1:{server.port}") as (_, said):
        text = scraped(said)[1]
    assert 'taskslot_queue_tasks{queue="a",state="ready"} 1.0' in text and 'queue="b"' not in text
    assert "taskslot_queues_left_out 1.0" in text and "_bucket" not in text


def test_the_command_starts_while_the_server_is_away(server):
    """It serves that the server is down, and finds it when it comes back."""
    server.kill9()
    with started("--listen", "127.0.0.1:0", url=f"redis://127.0.0.1:{server.port}") as (_, said):
        assert "taskslot_up 0.0" in scraped(said)[1]
        server.start()
        wait_until(lambda: "taskslot_up 1.0" in scraped(said)[1], "the server is found", timeout=60)


@pytest.mark.slow
def test_a_wrong_password_is_a_server_that_is_down(server, client, queue):
    """The reason is in the log, without the password."""
    client.config_set("requirepass", "right")
    url, words = f"redis://127.0.0.1:{server.port}", ("--listen", "127.0.0.1:0")
    with started(*words, url=url, TASKSLOT_PASSWORD="wr/#?@ ng") as (process, said):
        assert "taskslot_up 0.0" in scraped(said)[1]
        reason = process.stderr.readline()
        assert ("WRONGPASS" in reason or "invalid" in reason) and "wr/" not in reason


def test_the_command_can_print_the_metrics_once(server, queue):
    """The first look searches all keys that fit into it. Without a server, the status is 1."""
    queue.push("a")
    url = f"redis://127.0.0.1:{server.port}"
    assert (
        'taskslot_queue_tasks{queue="mail",state="ready"} 1.0' in run("metrics", "--once", "--url", url).lines
    )
    server.kill9()
    assert "taskslot_up 0.0" in run("metrics", "--once", "--url", url, status=1).lines


def test_a_port_that_is_taken_is_said(server):
    """In one line, which names the address."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"127.0.0.1:{other.getsockname()[1]}"
        done = run("metrics", "--listen", place, "--url", f"redis://127.0.0.1:{server.port}", status=1)
    assert done.errors == [f"taskslot: can't listen on {place}: Address already in use"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--listen", "9464"], "--listen takes host:port"),
        (["--otlp", "127.0.0.1:4318"], "--otlp takes the address of a collector"),
        (["--queues", "-1"], "--queues"),
    ],
)
def test_bad_usage_is_refused_at_once(words, said):
    """With status 2, and without a secret in the text."""
    done = run("metrics", *words, status=2)
    errors = " ".join(" ".join(done.errors).replace("│", " ").split())
    assert said in errors and "secret" not in errors


# ---- OTLP


class Collector:
    """Stands in for a collector of OpenTelemetry: it keeps what it gets, or refuses it."""

    def __init__(self):
        self.got: list[ExportMetricsServiceRequest] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/metrics" and self.headers["Content-Type"] == "application/x-protobuf":
                    collector.got.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.end_headers()

            def log_message(self, format, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def metrics(self, at: int = -1) -> dict:
        """The metrics of a message, by name."""
        (of_resource,) = self.got[at].resource_metrics
        (of_scope,) = of_resource.scope_metrics
        return {metric.name: metric for metric in of_scope.metrics}


@pytest.fixture
def collector():
    """A collector that listens."""
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def push(client, collector):
    """Sends to the collector when it is told to."""
    made = Push(Exporter(client), collector.url, interval_s=60)
    yield made
    made.stop()


def points(metric) -> dict[tuple[str, ...], float]:
    """The values of a gauge or a sum, by the values of their attributes."""
    data = metric.gauge if metric.WhichOneof("data") == "gauge" else metric.sum
    return {
        tuple(one.value.string_value for one in point.attributes): point.as_double or point.as_int
        for point in data.data_points
    }


def test_otlp_sends_the_same_figures(queue, collector, push):
    """Gauges, totals that say that they are cumulative, and whole histograms with their bounds."""
    queue.push_many(["a", "b", "c"])
    for task in queue.claim(count=2):
        queue.ack(task)
    assert push.send()
    (resource,) = [one.resource for one in collector.got[0].resource_metrics]
    assert {one.key: one.value.string_value for one in resource.attributes}["service.name"] == "taskslot"
    found = collector.metrics()
    assert points(found["taskslot.queue.tasks"])["mail", "ready"] == 1
    assert points(found["taskslot.queue.pushed"]) == {("mail",): 3}
    total = found["taskslot.queue.pushed"].sum
    assert total.is_monotonic and total.aggregation_temporality == 2  # cumulative
    assert found["taskslot.queue.oldest_ready"].unit == "s" and found["taskslot.queue.memory"].unit == "By"
    (waits,) = found["taskslot.queue.wait"].histogram.data_points
    assert (
        waits.count == sum(waits.bucket_counts) == 2
        and len(waits.bucket_counts) == len(waits.explicit_bounds) + 1
    )
    assert list(waits.explicit_bounds[:3]) == [0.001, 0.002, 0.004] and not waits.HasField("min")


def test_a_collector_that_is_away_is_said_once(queue, collector, push, caplog):
    """Until it works again. A refusal that doesn't pass counts as well."""
    collector.status = 400
    assert not push.send() and not push.send()
    collector.status = 200
    assert push.send()
    said = [record.message for record in caplog.records if record.name == "taskslot"]
    assert len(said) == 1 and said[0].startswith("metrics: the collector does not take them: ")
    assert len(caplog.records) == 1 and "400" in said[0]


def test_the_command_sends_at_intervals(server, queue, collector):
    """Without --listen it serves nothing. It ends at once, also between two messages."""
    queue.push("a")
    words = ("--otlp", collector.url, "--interval-ms", "1000")
    with started(*words, url=f"redis://127.0.0.1:{server.port}") as (process, said):
        assert said == f"taskslot metrics: sends what 127.0.0.1:{server.port} shows to 127.0.0.1\n"
        wait_until(lambda: len(collector.got) >= 2, "two messages", timeout=60)
        process.terminate()
        assert process.wait(20) == 0
    assert points(collector.metrics(0)["taskslot.queue.tasks"])["mail", "ready"] == 1


def test_the_address_of_a_collector_can_have_a_path():
    """Without one, it is that of the protocol."""
    assert endpoint("http://a:4318") == endpoint("http://a:4318/") == "http://a:4318/v1/metrics"
    assert endpoint("https://a/otlp/v1/metrics") == "https://a/otlp/v1/metrics"
    with pytest.raises(ValueError, match="takes the address"):
        endpoint("a:4318")

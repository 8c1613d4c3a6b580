"""What deploy/ has for Prometheus and Grafana, with a real Prometheus where there is one."""

import json
import re
import shutil
import signal
import subprocess
import threading
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
import yaml
from harness.server import ROOT, free_port, wait_until
from prometheus_client import start_http_server
from taskslot.metrics import Exporter, exporter, reader

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus/taskslot.rules.yml"
TESTS = DEPLOY / "prometheus/taskslot.rules.test.yml"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana/taskslot.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# What Grafana puts in place of its variables.
VARIABLES = {"$instance": ".*", "$queue": ".*", "$__rate_interval": "5s"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no Prometheus")


def promtool(*words, folder=DEPLOY / "prometheus", stdin=None, status=0) -> str:
    """Run promtool in a folder, and return all that it wrote."""
    done = subprocess.run(["promtool", *words], cwd=folder, input=stdin, capture_output=True, text=True)
    assert (done.returncode == 0) == (status == 0), done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_the_rules_and_the_sample_are_sound():
    """promtool reads them, and each alert fires and doesn't fire where it should."""
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", RULES.name)
    promtool("check", "config", "prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", TESTS.name)


def test_each_alert_fires_in_a_test():
    """Its name is among those that are expected."""
    tests = yaml.safe_load(TESTS.read_text())["tests"]
    expected = [
        sample["labels"] for one in tests for ask in one["promql_expr_test"] for sample in ask["exp_samples"]
    ]
    fired = {re.search(r'alertname="(\w+)"', labels)[1] for labels in expected}
    assert fired == {rule["alert"] for rule in ALERTS}


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_a_broken_alert_fails_the_rules_own_tests(alert, tmp_path):
    """One that never fires, and one that always does."""
    shutil.copy(TESTS, tmp_path)
    for expression in ("vector(1) > 2", "vector(1)"):
        rules = yaml.safe_load(RULES.read_text())
        for rule in rules["groups"][0]["rules"]:
            if rule["alert"] == alert:
                rule["expr"] = expression
        (tmp_path / RULES.name).write_text(yaml.safe_dump(rules))
        assert "FAILED" in promtool("test", "rules", TESTS.name, folder=tmp_path, status=1)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule):
    """It has a severity, a summary, a description, and a place in the documents that exists."""
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@needs_promtool
def test_promtool_has_nothing_to_say_about_the_metrics(client, queue):
    """Names, units and texts follow Prometheus' conventions."""
    queue.push("a")
    for task in queue.claim():
        queue.ack(task)
    queue.schedule("morning", "x", cron="0 7 * * *")
    body = Exporter(client).answer()[1].decode()
    assert promtool("check", "metrics", stdin=body) == ""


# ---- the dashboard


def test_the_panels_of_the_dashboard_lie_beside_each_other():
    """None is on top of another one, all have a title and a description, and no number is used twice."""
    taken = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["title"] and panel["description"] and panel["targets"] for panel in PANELS)


def test_the_dashboard_asks_the_chosen_source_about_the_chosen_queues():
    """Each query has its variables."""
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "instance", "queue"]
    for panel, query in queries():
        assert panel["datasource"]["uid"] == "${datasource}"
        for selector in re.findall(r"(taskslot_\w+)(\{.*?\})?", query):
            name, labels = selector
            assert '$instance"' in labels and ('$queue"' in labels) == name.startswith("taskslot_queue_"), (
                query
            )


def queries() -> list[tuple[dict, str]]:
    """All queries of the dashboard, with their panels."""
    return [(panel, target["expr"]) for panel in PANELS for target in panel["targets"]]


# ---- a real Prometheus


class Prometheus:
    """A Prometheus that scrapes one address several times a second."""

    def __init__(self, folder, target: int, rules: str = ""):
        self.port, hold = free_port()
        (folder / "rules.yml").write_text(rules)
        config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
        config["global"] = {
            "scrape_interval": "500ms",
            "scrape_timeout": "500ms",
            "evaluation_interval": "250ms",
        }
        config["rule_files"] = ["rules.yml"] if rules else []
        config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        hold.close()
        words = [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=error",
        ]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(self, path: str, **query: str):
        """What the API replies; None while it doesn't."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(query)}"
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as reply:
                return json.load(reply)["data"]
        except OSError:
            return None

    def values(self, query: str) -> list:
        """The result of a query now."""
        data = self.ask("query", query=query)
        return data["result"] if data else []

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        data = self.ask("alerts")
        alerts = data["alerts"] if data else []
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    def end(self) -> None:
        """Stop it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def watch(client, tmp_path, monkeypatch):
    """Starts a Prometheus that scrapes the server: `watch(rules)`."""
    monkeypatch.setattr(exporter, "FRESH_S", 0.0)
    monkeypatch.setattr(reader, "SCHEDULES_EVERY_S", 0.0)
    made = Exporter(client)
    http, thread = start_http_server(0, "127.0.0.1", registry=made.registry)
    started = []

    def start(rules: str = "") -> Prometheus:
        started.append(Prometheus(tmp_path, http.server_port, rules))
        wait_until(lambda: started[-1].values("taskslot_up == 1"), "the first scrape")
        return started[-1]

    yield start
    for one in started:
        one.end()
    http.shutdown()
    thread.join()
    http.server_close()
    made.close()


@contextmanager
def working(client, queue):
    """A producer and a worker on a thread of their own."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            queue.push("a")
            for task in queue.claim(worker="w", block_ms=100):
                stop.wait(0.02)
                queue.ack(task)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


@needs_prometheus
@pytest.mark.slow
def test_all_queries_of_the_dashboard_and_the_rules_give_data(server, start, client, queue, watch):
    """On a server with some of everything: a replica, a limit of memory, a warning, a schedule."""
    replica = start(port=True)
    replica.replicate(server)
    client.config_set("maxmemory", "1gb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    queue.schedule("often", "x", every_ms=1000)
    prometheus = watch(RULES.read_text())
    named = {name for rule in ALERTS for name in re.findall(r"taskslot_\w+", rule["expr"])}
    wanted = sorted(named) + [filled(query) for _, query in queries()]
    with working(client, queue):
        missing = list(wanted)

        def all_gave_data():
            missing[:] = [query for query in missing if not has_data(prometheus, query)]
            return not missing

        try:
            wait_until(all_gave_data, "all queries give data", timeout=40)
        except AssertionError:
            raise AssertionError(f"no data: {missing}") from None
    groups = prometheus.ask("rules")["groups"]
    assert [(rule["name"], rule["health"]) for rule in groups[0]["rules"]] == [
        (one["alert"], "ok") for one in ALERTS
    ]


def filled(query: str) -> str:
    """A query of the dashboard, with the values of its variables."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def has_data(prometheus: Prometheus, query: str) -> bool:
    """Whether a query has a value that is a number."""
    return any(one["value"][1] != "NaN" for one in prometheus.values(query))


@needs_prometheus
@pytest.mark.slow
def test_the_alert_fires_when_the_worker_is_stopped(client, queue, watch):
    """And not before; a worker that waits is one that works. It ends when a worker is back."""
    prometheus = watch(re.sub(r"for: \w+", "for: 1s", RULES.read_text()))
    with working(client, queue):
        ready = 'taskslot_queue_claimed_total{queue="mail"} > 5'
        wait_until(lambda: prometheus.values(ready), "some tasks are done")
        assert "TaskslotNobodyWorks" not in prometheus.firing()
    queue.push("a")
    wait_until(lambda: "TaskslotNobodyWorks" in prometheus.firing(), "the alert fires", timeout=60)
    (alert,) = [
        one
        for one in prometheus.ask("alerts")["alerts"]
        if one["labels"]["alertname"] == "TaskslotNobodyWorks"
    ]
    assert re.fullmatch(r"mail: \d+ ready and nobody works", alert["annotations"]["summary"])
    with working(client, queue):
        wait_until(lambda: "TaskslotNobodyWorks" not in prometheus.firing(), "the alert ends", timeout=60)


@needs_prometheus
@pytest.mark.slow
def test_tasks_that_die_fire_an_alert(client, queue, watch):
    """A queue that was there before is watched from its first death on."""
    prometheus = watch(RULES.read_text())
    queue.push("a")
    wait_until(lambda: prometheus.values('taskslot_queue_died_total{queue="mail"} == 0'), "the queue is seen")
    (task,) = queue.claim()
    queue.fail(task, error="no", dead=True)
    wait_until(lambda: "TaskslotTasksDie" in prometheus.firing(), "the alert fires", timeout=60)

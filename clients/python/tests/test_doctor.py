"""`taskslot doctor` on real servers: what is set up wrong is found, with what mends it. A good one has no findings."""

import re

import pytest
import redis
from harness.command_line import run
from harness.server import ROOT, wait_synced, wait_until
from taskslot import Queue
from taskslot.doctor.examine import examine
from taskslot.doctor.gather import gather
from taskslot.overview import look
from taskslot.overview import nodes as overview
from taskslot.overview.attention import Severity
from taskslot.overview.node_info import read_node

# Beside redis.conf. The harness turns some settings off for its tests, and these commands on.
GOOD = {
    "include": ROOT / "redis.conf",
    "port": True,
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "3600 1",
    "maxmemory": "1gb",
}
SINCE_7_0 = {"enable_debug_command": "no", "enable_module_command": "no"}


@pytest.fixture
def good(start, installed):
    """Starts servers as they should be, with some settings changed: `good(timeout=5)`."""
    more = SINCE_7_0 if installed.version >= (7, 0) else {}
    return lambda **changes: start(**{**GOOD, **more, **changes})


def found(server, **options) -> dict[str, object]:
    """The findings that need a person, by name."""
    with redis.Redis(port=server.port, **options) as client:
        facts = gather(client)
    names = [finding.name for finding in examine(facts) if finding.severity > Severity.KNOW]
    assert len(names) == len(set(names))
    return {finding.name: finding for finding in examine(facts) if finding.severity > Severity.KNOW}


def test_a_server_with_our_settings_has_nothing_wrong(good):
    """The settings of redis.conf, and those that the doctor asks for, are the same."""
    server = good()
    lines = run("doctor", "--url", f"redis://127.0.0.1:{server.port}").lines
    assert lines[-1].startswith("nothing wrong was found")
    assert not [line for line in lines if line.startswith(("act", "look", "could not"))]


# The setting, a bad value, and the finding.
WRONG = [
    ("appendonly", "no", "durability"),
    ("appendfsync", "no", "appendfsync"),
    ("no-appendfsync-on-rewrite", "yes", "appendfsync-on-rewrite"),
    ("maxmemory-policy", "allkeys-lru", "eviction"),
    ("maxmemory-policy", "volatile-ttl", "eviction"),
    ("maxmemory", "0", "no-maxmemory"),
    ("maxmemory", "100tb", "maxmemory"),
    ("maxmemory", "600kb", "memory"),
    ("timeout", "300", "timeout"),
    ("tcp-keepalive", "0", "tcp-keepalive"),
    ("maxclients", "14", "maxclients"),
    ("proto-max-bulk-len", "2mb", "proto-max-bulk-len"),
    ("client-output-buffer-limit", "normal 1mb 1mb 10", "client-output-buffer-limit-normal"),
]


def test_each_bad_setting_is_found_alone(good):
    """What mends it is a command that does so: after it, nothing is wrong."""
    server = good()
    with redis.Redis(port=server.port) as client:
        others = [redis.Redis(port=server.port, single_connection_client=True) for _ in range(10)]
        for name, value, finding in WRONG:
            before = client.config_get(name)[name]
            if name == "maxmemory" and value == "100tb":
                value = str(100 * 2**40)
            client.config_set(name, value)
            # The module looks at some of them every two seconds.
            wait_until(lambda wanted=[finding]: list(found(server)) == wanted, f"{name} {value} is found")
            client.config_set(name, before)
            wait_until(lambda: not found(server), f"nothing is wrong without {name} {value}")
        for other in others:
            other.close()


def test_what_mends_a_setting_is_a_command(good):
    """The text has the command as one types it."""
    server = good()
    server.configure(appendonly="no")
    finding = wait_until(lambda: found(server).get("durability"), "it is found")
    assert finding.mend == "CONFIG SET appendonly yes, and `appendonly yes` in redis.conf"


def test_commands_that_open_the_server_are_found(start):
    """The harness allows them for its tests."""
    server = start(**GOOD)
    is_old = server.installed.version < (7, 0)
    wanted = set() if is_old else {"enable-module-command", "enable-debug-command"}
    assert set(found(server)) == wanted
    effects = start(**GOOD, module_args=("allow-effects", "yes"))
    assert is_old or "allow-effects" in found(effects)


def test_a_server_without_the_module_is_found(good):
    """Its exit status is 2, and it is told how to load it."""
    server = good(module=None)
    output = run("doctor", "--url", f"redis://127.0.0.1:{server.port}", status=2)
    assert "act   no taskslot module" in output.lines
    assert any("loadmodule" in line for line in output.lines)
    ping = run("doctor", "--ping", "--url", f"redis://127.0.0.1:{server.port}", status=2)
    assert "no taskslot module" in ping.errors[0]


def test_replicas_are_looked_at_too(good):
    """A replica that accepts writes, and a primary that waits for none, with little room for them."""
    primary, replica = good(), good()
    replica.replicate(primary)
    wait_synced(primary, replica)
    # A primary calls a replica online once that has sent its first acknowledgement.
    wait_until(lambda: set(found(primary)) == {"min-replicas-to-write"}, "the replica is online")
    [alone] = found(replica).values()
    assert alone.mend == f"taskslot doctor --url redis://127.0.0.1:{primary.port}"
    with redis.Redis(port=replica.port) as client:
        client.config_set("replica-read-only", "no")
    with redis.Redis(port=primary.port) as client:
        client.config_set("min-replicas-to-write", "1")
        client.config_set("repl-backlog-size", "1mb")
        client.config_set("client-output-buffer-limit", "replica 1mb 1mb 60")
    room = {"repl-backlog-size", "client-output-buffer-limit-replica"}
    both = found(primary)
    assert set(both) == {"replica-read-only"} | room
    assert both["replica-read-only"].node == f"127.0.0.1:{replica.port}"
    with redis.Redis(port=primary.port) as client:
        client.config_set("min-replicas-to-write", "2")
    assert "no-good-replicas" in found(primary)


def test_a_queue_that_is_broken_on_a_replica_is_found(good):
    """Something wrote to the replica, so the next change of the primary does not fit."""
    primary, replica = good(min_replicas_to_write=1), good(replica_read_only="no")
    replica.replicate(primary)
    wait_synced(primary, replica)
    with redis.Redis(port=primary.port) as here, redis.Redis(port=replica.port) as there:
        # The primary takes writes from the replica's first report on.
        wait_until(lambda: here.info("replication")["min_slaves_good_slaves"] == 1, "the replica counts")
        Queue(here, "mail").push("x")
        wait_until(lambda: there.exists("mail"), "the replica has the queue")
        there.execute_command("TASK.PUSH", "mail", "y")
        there.config_set("replica-read-only", "yes")
        Queue(here, "mail").push("z")
        wait_until(lambda: there.info("taskslot")["taskslot_broken_queues"] == 1, "it is broken there")
    [finding] = found(primary).values()
    assert (finding.name, finding.node) == ("broken", f"127.0.0.1:{replica.port}")
    assert finding.severity == Severity.ACT


def test_a_clock_that_is_off_is_found(start):
    """The server's clock is ahead of this machine's by five seconds, and the module's follows slowly."""
    server = start(**GOOD, clock=True)
    server.clock.step(5000)
    found_here = found(server)
    assert found_here["clock"].what == "clock 5.0 s ahead of this machine's"


def test_a_user_with_few_rights_is_told_what_could_not_be_checked(good):
    """What the user may ask is examined; no refusal hides the rest."""
    server = good(timeout=300)
    with redis.Redis(port=server.port) as client:
        rules = ["on", ">p", "~*", "+task.help", "+info"]
        client.execute_command("ACL", "SETUSER", "looker", *rules)
    output = run("doctor", "--url", f"redis://looker:p@127.0.0.1:{server.port}")
    text = "\n".join(output.lines)
    assert "could not be checked:" in output.lines
    for what in ("CONFIG GET", "ACL GETUSER", "SCAN", "TIME"):
        assert f"{what} on 127.0.0.1:{server.port}: " in text
    assert output.lines[-1].startswith("nothing wrong was found in what could be checked")
    with redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "looker", "+config|get")
    run("doctor", "--url", f"redis://looker:p@127.0.0.1:{server.port}", status=2)
    ping = run("doctor", "--ping", "--url", f"redis://looker:p@127.0.0.1:{server.port}")
    assert ping.lines == [f"127.0.0.1:{server.port} answers: taskslot 0.2.0"]


def test_a_user_without_rights_is_not_told_that_all_is_well(good):
    """Nothing could be checked, so nothing is known."""
    server = good()
    with redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "nobody", "on", ">p")
    output = run("doctor", "--url", f"redis://nobody:p@127.0.0.1:{server.port}", status=2)
    assert "nothing could be checked: " in output.errors[0] and output.lines == []


def test_a_server_is_asked_once_for_what_it_says(good):
    """The facts and the state of the queues come from the same INFO."""
    server = good()
    with redis.Redis(port=server.port) as client:
        Queue(client, "mail").push("x")
        client.config_resetstat()
        assert gather(client).seen.infos.keys() == {"mail"}
        calls = {name: used["calls"] for name, used in client.info("commandstats").items()}
    assert (calls["cmdstat_info"], calls["cmdstat_time"]) == (1, 1)


def test_queues_that_were_not_read_in_time_are_said(good, monkeypatch):
    """A report that misses queues is not a clean one."""
    server = good()
    with redis.Redis(port=server.port) as client:
        Queue(client, "mail").push("x")
    monkeypatch.setattr(overview, "LOOK_S", -1)
    lines = run("doctor", "--url", f"redis://127.0.0.1:{server.port}").lines
    assert "      1 queue could not be read in time" in lines
    assert lines[-1].startswith("nothing wrong was found in what could be checked")


def test_the_report_can_not_control_a_terminal(good, monkeypatch):
    """A server's own texts are escaped, wherever they come."""
    server = good()
    fields = {
        "redis_version": "1\x1b[31m",
        "taskslot_version": "9\x1b[31m",
        "maxmemory_policy": "\x1b[31mall",
    }
    monkeypatch.setattr(look, "read_node", lambda *words: read_node(words[0], fields))
    text = "\n".join(run("doctor", "--url", f"redis://127.0.0.1:{server.port}", status=1).lines)
    assert r"\x1b[31mall" in text and r"taskslot 9\x1b[31m" in text and "\x1b" not in text


def test_the_rights_that_the_page_names_are_enough(good):
    """Nothing is refused, and the user can't change anything."""
    page = (ROOT / "docs/server.md").read_text()
    (rules,) = re.findall(r"ACL SETUSER doctor on >(.*)$", page, re.M)
    password, *rights = rules.split()
    server = good()
    with redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "doctor", "on", f">{password}", *rights)
        Queue(client, "mail").push("x")
    with redis.Redis(port=server.port, username="doctor", password=password) as client:
        facts = gather(client)
        assert facts.unchecked == [] and facts.seen.infos.keys() == {"mail"}
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.delete("mail")


def test_json_has_a_line_for_each_thing(good):
    """Nodes, findings, and what could not be checked are told apart by `kind`."""
    server = good(timeout=300)
    output = run("--json", "doctor", "--url", f"redis://127.0.0.1:{server.port}", status=2)
    kinds = [line["kind"] for line in output.json()]
    assert kinds[0] == "node" and set(kinds) <= {"node", "finding"}
    finding = next(line for line in output.json() if line["kind"] == "finding")
    assert (finding["severity"], finding["name"]) == ("act", "timeout")


def test_no_answer_is_as_bad_as_what_needs_somebody_now(good):
    """A server that is away, and one that asks for a password: the status 2."""
    server = good(requirepass="secret")
    wrong = run("doctor", "--url", f"redis://127.0.0.1:{server.port}", status=2)
    assert "it asks for a password" in wrong.errors[0]
    assert "refused" in run("doctor", "--url", "redis://127.0.0.1:1", status=2).errors[0]

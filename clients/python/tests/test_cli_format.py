"""Pure functions: the format of numbers, spans and payloads, and which keys are shards of one queue."""

import json
import shlex
from types import SimpleNamespace

import pytest
from harness.infos import info
from taskslot import figures, shards
from taskslot.cli import format, output
from taskslot.connection import library_for, read_address, redis_cli
from taskslot.overview.rows import SMALL, logical_queues, plausible_number, rows, shard_of_key


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-1, "–"), (0, "0ms"), (999, "999ms"), (1000, "1.0s"), (9999, "9.9s"), (10_000, "10s"), (59_999, "59s"),
        (60_000, "1m00"), (3_599_999, "59m59"), (3_600_000, "1h00"), (86_399_999, "23h59"), (86_400_000, "1d"),
        (10_000 * 86_400_000, "ever"),
    ],
)  # fmt: skip
def test_a_span_has_the_unit_that_suits_it(ms, text):
    """It is cut, never rounded up, and has five characters at most."""
    assert figures.span(ms) == text and len(text) <= 5


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (9999, "9999"), (10_000, "10.0k"), (99_949, "99.9k"), (99_950, "100k"), (999_499, "999k"),
        (999_500, "1.0M"), (1_234_567, "1.2M"), (5 * 10**9, "5.0G"), (2**53, "9007T"),
    ],
)  # fmt: skip
def test_a_count_takes_five_characters_at_most(number, text):
    """This holds also just below the next unit, where rounding could make it longer."""
    assert figures.count(number) == text and len(text) <= 5


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (0, "0"),
        (0.004, "<.01"),
        (0.0167, "0.02"),
        (0.1, "0.1"),
        (99.94, "99.9"),
        (99.96, "100"),
        (12_345, "12.3k"),
    ],
)
def test_a_small_rate_is_not_rounded_to_zero(per_second, text):
    """A slow queue must not look as if nothing happened."""
    assert figures.rate(per_second) == text


def test_a_payload_cannot_command_the_terminal():
    """Control characters, line ends and invalid UTF-8 are escaped."""
    assert format.payload(b"\x1b[31mred\n\xff\tj\xc3\xb6") == "\\x1b[31mred\\n\\xff\\tjö"


def test_json_cannot_command_the_terminal_either(capsys):
    """The JSON has the same value, with control characters escaped."""
    mean = "\x9b31m\x7f\u202e\u200d\U000e0001\udcff\x1b[0m ü 😀"
    output.json_line({"payload": mean})
    written = capsys.readouterr().out
    assert written.removesuffix("\n").isprintable() and "ü 😀" in written
    assert json.loads(written) == {"payload": mean}


SECRETS = [
    "q/z",
    "q#z",
    "q?z",
    "q@z",
    "7/z",
    "7#z",
    "7?z",
    "7@z",
    "7@8/z",
    "7/8@z",
    "/z",
    "#z",
    "?z",
    "@z",
    "q[z",
    "q]z",
]


@pytest.mark.parametrize(
    "url",
    [
        "redis://:{}@h:1",
        "redis://{}@h",
        "redis://u:{}@h/2",
        "rediss://{}:x@h",
        "unix://:{}@/s",
        "unix://{}@/s",
    ],
)
def test_no_part_of_a_password_is_shown(url):
    """A password that breaks the URL looks like a host, a port or a path. It is refused without showing any of it."""
    for secret in SECRETS:
        try:
            text = str(read_address(url.format(secret), None, None))
        except ValueError as error:
            text = str(error)
            assert "can't be read" in text and not set("z78") & set(text.replace("%23", "")), (secret, text)
        else:
            assert text in ("h:1", "h:6379", "/s"), (secret, text)


def test_columns_are_aligned():
    """Names are on the left and numbers on the right. Lines have no blanks at the end."""
    assert format.columns([("a", "1", "x"), ("long", "100", "")], frozenset({1})) == [
        "a       1  x",
        "long  100",
    ]


def test_json_of_bytes_that_are_not_text_is_base64():
    """The name of the field says so."""
    plain = output.plain({"payload": b"\xff", "result": b"ok", "headers": {"h": b"\x80"}})
    assert json.loads(json.dumps(plain)) == {
        "payload_base64": "/w==",
        "result": "ok",
        "headers": {"h_base64": "gA=="},
    }


# ---- addresses


def test_an_address_is_shown_without_its_password():
    """Errors name the server, and can be stored in logs."""
    assert str(read_address("redis://me:secret@host:7000/2", None, None)) == "host:7000"
    assert str(read_address("redis://me:secret@[::1]", None, None)) == "[::1]:6379"
    assert str(read_address("unix:///run/redis.sock", None, None)) == "/run/redis.sock"
    assert str(read_address("unix://me:secret@/run/redis.sock?db=2", None, None)) == "/run/redis.sock"


def test_the_words_that_make_redis_cli_reach_a_server_have_no_password():
    """A user alone in a URL would be read as a password, so it has an option of its own."""

    def words(url, database=0, is_cluster=0, sentinel=None):
        pool = SimpleNamespace(
            connection_kwargs={"db": database}, get_master_address=lambda: ("10.0.0.7", 6380)
        )
        client = SimpleNamespace(info=lambda part: {"cluster_enabled": is_cluster}, connection_pool=pool)
        return shlex.join(redis_cli(read_address(url, sentinel, sentinel and "main"), client))

    assert words("redis://host") == "redis-cli -u redis://host:6379"
    assert words("valkeys://me:se%40cret@[::1]:7000/2", 2) == "redis-cli -u 'rediss://[::1]:7000/2' --user me"
    assert words("redis://:secret@host:7000", is_cluster=1) == "redis-cli -c -u redis://host:7000"
    assert words("unix:///run/redis.sock?db=1", 1) == "redis-cli -s /run/redis.sock -n 1"
    assert words("rediss://", sentinel="10.0.0.1:26379") == "redis-cli -u rediss://10.0.0.7:6380"


def test_a_valkey_address_uses_valkey_py_if_it_is_installed(monkeypatch):
    """Otherwise it uses redis-py, with a scheme that redis-py knows."""
    library, url = library_for("valkeys://h:1/2")
    assert (library.__name__, url) == ("valkey", "valkeys://h:1/2")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    library, url = library_for("valkeys://h:1/2")
    assert (library.__name__, url) == ("redis", "rediss://h:1/2")


def test_sentinels_are_a_list_of_hosts():
    """They have Sentinel's default port if none is given. The service is required."""
    address = read_address("redis://", "a:1,b,[::1]:3", "main")
    assert address.sentinels == (("a", 1), ("b", 26379), ("::1", 3))
    with pytest.raises(ValueError, match="go together"):
        read_address("redis://", "a:1", None)


# ---- shards and rows


@pytest.mark.parametrize("number", [1, 2, 3, 16, 100, 16384])
def test_every_shard_is_recognized_by_its_key(number):
    """The shard's number is computed from the key."""
    assert [shard_of_key(key) for key in shards.names("orders", number)] == [
        ("orders", n) for n in range(number)
    ]


def test_other_keys_are_not_shards():
    """A tag that is not the shortest of its slot, a brace elsewhere, no tag."""
    longer = next(
        tag for tag in ("aaaa", "aaab", "aaac") if shards.tags()[shards.slot_of(tag.encode())] != tag
    )
    for key in ("orders", f"orders:{{{longer}}}", "{orders}:1", "orders:{1bz}:x", "orders:{UP}", "orders:{}"):
        assert shard_of_key(key) is None


def test_an_ordinary_hash_tag_counts_as_a_shard_only_among_many():
    """`mail:{eu}` and `mail:{us}` are separate queues: as shards their numbers would be in the thousands."""
    assert all(shard_of_key(f"mail:{{{tag}}}") for tag in ("eu", "us"))
    assert logical_queues(["mail:{eu}", "mail:{us}"]) == {}
    some = [shards.names("orders", 16)[n] for n in (2, 9, 13)]
    assert logical_queues([*some, "orders:{eu}"]) == {"orders": set(some)}


def test_a_large_number_of_shards_is_plausible_if_a_quarter_exists():
    """The missing shards just have no task yet."""
    assert plausible_number(list(range(0, 1024, 4))) == 1024
    assert plausible_number(list(range(0, 1024, 5))) < 1024
    assert plausible_number([3, 16000]) == SMALL


def test_shards_are_one_row_and_the_largest_backlog_comes_first():
    """Counts are added. A plain queue of the same name is a row of its own. `shards_apart` shows each shard."""
    infos = {key: info(ready=10) for key in shards.names("orders", 4)}
    infos |= {"orders": info(ready=3), "mail": info(ready=39), "idle": info(leased=1), "empty": info()}
    found = [(row.queue, row.shards, row.info.ready) for row in rows(infos)]
    assert found == [("orders", 4, 40), ("mail", 0, 39), ("orders", 0, 3), ("idle", 0, 0), ("empty", 0, 0)]
    assert len(rows(infos, shards_apart=True)) == 8

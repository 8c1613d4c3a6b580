"""Queues stored by earlier versions of the module can be loaded, from files that were written once."""

import json

import pytest
from harness.edges import TINY
from harness.effects import EFFECT_VERSION
from harness.queues import contents, goes_on
from harness.samples import FOLDER, rich_of, text
from harness.server import Server, parse_commands

# The version of the stored form in the samples of each version of effects.
STORED = {1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 4}
VERSIONS = list(STORED)


def contents_of(version: int) -> dict:
    """The expected contents of the samples of a version."""
    return json.loads((FOLDER / f"queues-v{version}.json").read_text())


def at_that_time(start, version: int, files: dict[str, str], **settings) -> Server:
    """A server with these samples in its directory, started one second after they were made by its clock."""
    server = start(clock=True)
    r = server.client()
    seconds, micros = r.time()
    server.clock.step(contents_of(version)["made_at"] + 1000 - seconds * 1000 - micros // 1000)
    server.stop()
    for name, sample in files.items():
        (server.dir / name).write_bytes((FOLDER / sample).read_bytes())
    return server.restart(**settings)


def holds(value: object, expected: object) -> bool:
    """Whether the value has everything that is expected. A later version can have more fields."""
    if isinstance(expected, dict):
        return isinstance(value, dict) and all(
            name in value and (is_due(name, value, expected) or holds(value[name], expected[name]))
            for name in expected
        )
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(holds, value, expected))
    return value == expected


def is_due(name: str, value: dict, expected: dict) -> bool:
    """Whether the field is `due` and about right: the queue's clock, not the wall clock, measures it."""
    return name == "due" and abs(value[name] - expected[name]) < 5000


def check(server: Server, version: int, keys: list[str]) -> None:
    """The queues equal those of the sample and can be worked on: handles, tokens, pauses, order."""
    r, sample = server.client(), contents_of(version)
    for key in keys:
        found, expected = text(contents(r, key)), sample["contents"][key]
        # Later versions also count remembered requests. Tiny pages take less.
        before = expected["info"].pop("bytes")
        assert found["info"]["bytes"] >= before or TINY
        assert holds(found, expected), "\n".join(
            f"{part}: {found[part]} is not {expected[part]}"
            for part in expected
            if not holds(found[part], expected[part])
        )
    for key in keys:
        goes_on(r, rich_of(sample["handles"][key]))


@pytest.mark.parametrize("version", VERSIONS)
def test_an_rdb_file_of_each_version_is_loaded(start, version):
    """Its queues equal those that were stored."""
    server = at_that_time(start, version, {"dump.rdb": f"queues-v{version}.rdb"})
    check(server, version, ["queue", "loaded"])


@pytest.mark.parametrize("version", VERSIONS)
def test_an_aof_of_each_version_is_loaded(start, version):
    """One queue is made of effects, the other of a rewritten part with an effect after it."""
    server = at_that_time(start, version, {"appendonly.aof": f"queues-v{version}.aof"}, appendonly="yes")
    check(server, version, ["queue", "loaded"])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_dump_of_each_version_is_restored(start, version):
    """RESTORE creates the queue that was dumped."""
    server = at_that_time(start, version, {})
    server.client().restore("queue", 0, (FOLDER / f"queue-v{version}.dump").read_bytes())
    check(server, version, ["queue"])


def test_the_current_versions_have_a_sample(r, server):
    """A new version of the stored form or of effects needs samples of its own."""
    last = VERSIONS[-1]
    r.execute_command("TASK.PUSH", "queue", "x")
    stored = [r.dump("queue"), (FOLDER / f"queue-v{last}.dump").read_bytes()]
    now, then = (int.from_bytes(dump[2:10], "big") & 0x3FF for dump in stored)
    assert now == then == STORED[last]
    commands, _ = parse_commands((FOLDER / f"queues-v{last}.aof").read_bytes())
    assert {words[2][0] for words in commands if words[0] == b"TASK._APPLY"} == {EFFECT_VERSION} == {last}
    assert len(contents_of(last)["contents"]["queue"]["tasks"]["leased"]) > 4

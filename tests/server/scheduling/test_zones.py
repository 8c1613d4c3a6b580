"""Time zones: those of the system where they are newer than those that were built in."""

import os
from pathlib import Path

import pytest
from harness.server import wait_synced
from harness.talk import Error, Talk

HOUR = 3_600_000
ZONE = Error("ERR TZ must be the name of a time zone, such as Europe/Berlin")


def tzif(rule: str) -> bytes:
    """A zone's file that says nothing but a rule as POSIX writes it: `<+02>-2` is two hours ahead of UTC."""
    block = (
        b"TZif2" + bytes(15) + b"".join(n.to_bytes(4, "big") for n in (0, 0, 0, 0, 1, 2)) + bytes(6) + b"X\0"
    )
    return block + block + f"\n{rule}\n".encode()


class Zoneinfo:
    """A folder of zones, as a distribution has one."""

    def __init__(self, path: Path, version: str = "2099a"):
        self.path = path
        self.env = {"TZDIR": str(path)}
        self.say(
            "tzdata.zi", f"# version {version}\n# This zic input file is in the public domain.\n".encode()
        )

    def say(self, name: str, data: bytes) -> None:
        """Write a file of it."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


@pytest.fixture
def zoneinfo(tmp_path):
    """A folder of zones that is newer than any."""
    return Zoneinfo(tmp_path / "zoneinfo")


def hour_of_nine(c: Talk, zone: str) -> int | Error:
    """At which hour of UTC it is nine in a zone, as a schedule of every day goes."""
    reply = c("TASK.CRON", "q", "SET", zone, "CRON", "0 9 * * *", "TZ", zone, "PAYLOAD", "x")
    return reply if isinstance(reply, Error) else about(c, zone)[b"next"] // HOUR % 24


def about(c: Talk, name: str) -> dict:
    """What INFO CRON tells of a schedule."""
    [found] = [one for one in map(c.as_map, c("TASK.INFO", "q", "CRON")) if one[b"name"] == name.encode()]
    return found


def zones_of(c: Talk) -> tuple[str, str]:
    """The release that holds on a node, and where it is from, by INFO."""
    lines = dict(line.split(":", 1) for line in c("INFO", "taskslot").decode().split("\r\n") if ":" in line)
    return lines["taskslot_time_zones"], lines["taskslot_time_zones_from"]


def test_newer_zones_of_the_system_hold(start, zoneinfo):
    """A country that changed its mind after the module was built is followed; INFO says whose word that is."""
    zoneinfo.say("America/Vancouver", tzif("<-03>3"))
    zoneinfo.say("Mars/Olympus_Mons", tzif("<+05>-5"))
    c = Talk(start(env=zoneinfo.env))
    assert zones_of(c) == ("2099a", str(zoneinfo.path))
    assert hour_of_nine(c, "America/Vancouver") == 12
    assert hour_of_nine(c, "Mars/Olympus_Mons") == 4
    # What the system leaves out, as some do with old names, is built in.
    assert hour_of_nine(c, "Asia/Calcutta") == 3


@pytest.mark.parametrize(
    "first_line",
    [
        b"# version 2025b\n",
        b"# version 2026\n",
        b"# version \n",
        b"2099\n",
        b"9999abc\n",
        b"# version 2099A\n",
        b"",
        b"\xff\n",
    ],
)
def test_older_zones_of_the_system_do_not_hold(start, zoneinfo, first_line):
    """Nor do those that don't say how old they are: what is built in is known."""
    zoneinfo.say("America/Vancouver", tzif("<-03>3"))
    zoneinfo.say("tzdata.zi", first_line)
    c = Talk(start(env=zoneinfo.env))
    version, source = zones_of(c)
    assert version >= "2026f" and source == "built-in"
    assert hour_of_nine(c, "America/Vancouver") in (16, 17)
    assert hour_of_nine(c, "Mars/Olympus_Mons") == ZONE


def test_a_folder_may_say_its_release_in_another_file(start, zoneinfo):
    """As macOS and the BSDs do."""
    (zoneinfo.path / "tzdata.zi").unlink()
    zoneinfo.say("+VERSION", b"2099b\n")
    zoneinfo.say("America/Vancouver", tzif("<-03>3"))
    c = Talk(start(env=zoneinfo.env))
    assert zones_of(c) == ("2099b", str(zoneinfo.path)) and hour_of_nine(c, "America/Vancouver") == 12


@pytest.mark.parametrize("folder", ["zoneinfo", ".", "/nowhere", "/dev/null"])
def test_a_folder_that_is_none_leaves_what_is_built_in(start, folder):
    """A relative one would lie among files that clients can have written."""
    c = Talk(start(env={"TZDIR": folder}))
    assert zones_of(c)[1] == "built-in" and hour_of_nine(c, "Asia/Calcutta") == 3


def test_a_damaged_file_of_a_zone_is_not_read(start, zoneinfo):
    """The log says so, and the zone that is built in holds; one that nobody knows otherwise is no zone."""
    sound = tzif("<-03>3")
    damaged = [
        b"",
        b"TZif",
        sound[:30],
        sound[:-3],
        b"x" * 1000,
        sound.replace(b"<-03>3", b"<-99>"),
        sound + b"x" * 70_000,
    ]
    for nth, data in enumerate(damaged):
        zoneinfo.say(f"Mars/A{nth}", data)
        zoneinfo.say("Asia/Calcutta", data)
    (zoneinfo.path / "Mars/Folder").mkdir()
    os.mkfifo(zoneinfo.path / "Mars/Pipe")
    server = start(env=zoneinfo.env)
    c = Talk(server)
    names = [*[f"A{nth}" for nth in range(len(damaged))], "Folder", "Pipe", "None"]
    assert [hour_of_nine(c, f"Mars/{name}") for name in names] == [ZONE] * len(names)
    assert hour_of_nine(c, "Asia/Calcutta") == 3
    assert "the file of time zone Mars/A1 in" in server.log()
    assert "the file of time zone Asia/Calcutta in" in server.log()


def test_the_name_of_a_zone_leads_nowhere_else(start, zoneinfo):
    """Whatever lies there."""
    outside = zoneinfo.path.parent / "Outside"
    outside.write_bytes(tzif("<+01>-1"))
    for name in ("UTC", "right/UTC", "posixrules", "a.tab", "A/B"):
        zoneinfo.say(name, tzif("<+01>-1"))
    c = Talk(start(env=zoneinfo.env))
    for name in (
        *[
            "../Outside",
            "A/../../Outside",
            str(outside),
            "A/../UTC",
            "./UTC",
            "A//B",
            "A/B/",
            "/UTC",
            "A/B\0",
            "A/./B",
        ],
        *[
            "right/UTC",
            "posixrules",
            "a.tab",
            "utc",
            "a/b",
            "",
            " UTC",
            "UTC\n",
            "A" * 65,
            b"\xff",
            "A/\u00e9",
        ],
    ):
        assert c("TASK.CRON", "q", "SET", "a", "CRON", "0 9 * * *", "TZ", name, "PAYLOAD", "x") == ZONE, name
    assert hour_of_nine(c, "A/B") == 8


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_what_was_planned_by_old_zones_is_planned_anew(start, zoneinfo, preamble):
    """A run doesn't come an hour off, after its country has changed its mind and the server has started again."""
    zoneinfo.say("Mars/Olympus_Mons", tzif("<+05>-5"))
    server = start(env=zoneinfo.env, appendonly="yes", aof_use_rdb_preamble=preamble)
    c = Talk(server)
    assert hour_of_nine(c, "Mars/Olympus_Mons") == 4
    zoneinfo.say("Mars/Olympus_Mons", tzif("<+06>-6"))
    if preamble == "no":
        c("BGREWRITEAOF")
        server.wait_until(
            lambda: b"aof_rewrite_in_progress:0" in c("INFO", "persistence"), "it is written anew"
        )
    server.restart()
    c = Talk(server)
    server.wait_until(lambda: about(c, "Mars/Olympus_Mons")[b"next"] // HOUR % 24 == 3, "it is planned anew")
    assert about(c, "Mars/Olympus_Mons")[b"made"] == 0


def test_a_replica_that_does_not_know_a_zone_applies_what_its_primary_decides(start, zoneinfo):
    """The schedule is disabled there, and the copies are equal."""
    zoneinfo.say("Mars/Olympus_Mons", tzif("<+05>-5"))
    primary, replica = start(env=zoneinfo.env, port=True, clock=True), start()
    replica.replicate(primary)
    c, r = Talk(primary), Talk(replica)
    assert hour_of_nine(c, "Mars/Olympus_Mons") == 4
    primary.clock.step(24 * HOUR)
    primary.wait_until(lambda: about(c, "Mars/Olympus_Mons")[b"made"] == 1, "a day has passed")
    wait_synced(primary, replica)
    assert about(r, "Mars/Olympus_Mons")[b"disabled"] == 1 and about(r, "Mars/Olympus_Mons")[b"made"] == 1
    assert r("TASK.LEN", "q") == 1 and r.digest() == c.digest()

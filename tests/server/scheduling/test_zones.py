"""Time zones: those of the system are used if they are newer than the built-in ones."""

import os
from pathlib import Path

import pytest
from harness.server import wait_synced
from harness.talk import Error, Talk

HOUR = 3_600_000
ZONE = Error("ERR TZ must be the name of a time zone, such as Europe/Berlin")


def tzif(rule: str) -> bytes:
    """The file of a zone that only has a POSIX rule: `<+02>-2` is two hours ahead of UTC."""
    block = (
        b"TZif2" + bytes(15) + b"".join(n.to_bytes(4, "big") for n in (0, 0, 0, 0, 1, 2)) + bytes(6) + b"X\0"
    )
    return block + block + f"\n{rule}\n".encode()


class Zoneinfo:
    """A folder of time zones, as distributions have it."""

    def __init__(self, path: Path, version: str = "2099a"):
        self.path = path
        self.env = {"TZDIR": str(path)}
        self.write(
            "tzdata.zi", f"# version {version}\n# This zic input file is in the public domain.\n".encode()
        )

    def write(self, name: str, data: bytes) -> None:
        """Write a file in the folder."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


@pytest.fixture
def zoneinfo(tmp_path):
    """A folder of zones that is newer than the built-in ones."""
    return Zoneinfo(tmp_path / "zoneinfo")


def hour_of_nine(c: Talk, zone: str) -> int | Error:
    """The hour in UTC at which it is 9:00 in a zone, as a daily schedule shows it."""
    reply = c("TASK.CRON", "q", "SET", zone, "CRON", "0 9 * * *", "TZ", zone, "PAYLOAD", "x")
    return reply if isinstance(reply, Error) else about(c, zone)[b"next"] // HOUR % 24


def about(c: Talk, name: str) -> dict:
    """The entry of a schedule in TASK.INFO CRON."""
    [found] = [one for one in map(c.as_map, c("TASK.INFO", "q", "CRON")) if one[b"name"] == name.encode()]
    return found


def zones_of(c: Talk) -> tuple[str, str]:
    """The release of the zones that a node uses, and their source, from INFO."""
    lines = dict(line.split(":", 1) for line in c("INFO", "taskslot").decode().split("\r\n") if ":" in line)
    return lines["taskslot_time_zones"], lines["taskslot_time_zones_from"]


def test_newer_zones_of_the_system_are_used(start, zoneinfo):
    """A change of a zone after the module was built is known. INFO shows the release and its source."""
    zoneinfo.write("America/Vancouver", tzif("<-03>3"))
    zoneinfo.write("Mars/Olympus_Mons", tzif("<+05>-5"))
    c = Talk(start(env=zoneinfo.env))
    assert zones_of(c) == ("2099a", str(zoneinfo.path))
    assert hour_of_nine(c, "America/Vancouver") == 12
    assert hour_of_nine(c, "Mars/Olympus_Mons") == 4
    # Zones that the system lacks, such as old names, are built in.
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
def test_older_zones_of_the_system_are_not_used(start, zoneinfo, first_line):
    """Zones without a known release are not used either."""
    zoneinfo.write("America/Vancouver", tzif("<-03>3"))
    zoneinfo.write("tzdata.zi", first_line)
    c = Talk(start(env=zoneinfo.env))
    version, source = zones_of(c)
    assert version >= "2026f" and source == "built-in"
    assert hour_of_nine(c, "America/Vancouver") in (16, 17)
    assert hour_of_nine(c, "Mars/Olympus_Mons") == ZONE


def test_the_release_can_be_in_another_file(start, zoneinfo):
    """macOS and the BSDs have it in +VERSION."""
    (zoneinfo.path / "tzdata.zi").unlink()
    zoneinfo.write("+VERSION", b"2099b\n")
    zoneinfo.write("America/Vancouver", tzif("<-03>3"))
    c = Talk(start(env=zoneinfo.env))
    assert zones_of(c) == ("2099b", str(zoneinfo.path)) and hour_of_nine(c, "America/Vancouver") == 12


@pytest.mark.parametrize("folder", ["zoneinfo", ".", "/nowhere", "/dev/null"])
def test_the_built_in_zones_are_used_without_a_valid_folder(start, folder):
    """A relative path is not valid, because clients can write files below the server's directory."""
    c = Talk(start(env={"TZDIR": folder}))
    assert zones_of(c)[1] == "built-in" and hour_of_nine(c, "Asia/Calcutta") == 3


def test_a_damaged_zone_file_is_not_used(start, zoneinfo):
    """The log has a line about it. The built-in zone is used, or the zone is unknown."""
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
        zoneinfo.write(f"Mars/A{nth}", data)
        zoneinfo.write("Asia/Calcutta", data)
    (zoneinfo.path / "Mars/Folder").mkdir()
    os.mkfifo(zoneinfo.path / "Mars/Pipe")
    server = start(env=zoneinfo.env)
    c = Talk(server)
    names = [*[f"A{nth}" for nth in range(len(damaged))], "Folder", "Pipe", "None"]
    assert [hour_of_nine(c, f"Mars/{name}") for name in names] == [ZONE] * len(names)
    assert hour_of_nine(c, "Asia/Calcutta") == 3
    assert "the file of time zone Mars/A1 in" in server.log()
    assert "the file of time zone Asia/Calcutta in" in server.log()


def test_the_name_of_a_zone_cannot_lead_to_other_files(start, zoneinfo):
    """This holds for paths outside the folder and for other files in it."""
    outside = zoneinfo.path.parent / "Outside"
    outside.write_bytes(tzif("<+01>-1"))
    for name in ("UTC", "right/UTC", "posixrules", "a.tab", "A/B"):
        zoneinfo.write(name, tzif("<+01>-1"))
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
def test_next_runs_are_computed_again_with_newer_zones(start, zoneinfo, preamble):
    """After a restart with other zones, a run is not an hour early or late."""
    zoneinfo.write("Mars/Olympus_Mons", tzif("<+05>-5"))
    server = start(env=zoneinfo.env, appendonly="yes", aof_use_rdb_preamble=preamble)
    c = Talk(server)
    assert hour_of_nine(c, "Mars/Olympus_Mons") == 4
    zoneinfo.write("Mars/Olympus_Mons", tzif("<+06>-6"))
    if preamble == "no":
        c("BGREWRITEAOF")
        server.wait_until(
            lambda: b"aof_rewrite_in_progress:0" in c("INFO", "persistence"), "the AOF is rewritten"
        )
    server.restart()
    c = Talk(server)
    server.wait_until(
        lambda: about(c, "Mars/Olympus_Mons")[b"next"] // HOUR % 24 == 3, "the next run is updated"
    )
    assert about(c, "Mars/Olympus_Mons")[b"made"] == 0


def test_a_replica_without_a_zone_applies_the_runs_of_its_primary(start, zoneinfo):
    """The schedule is disabled on the replica, and the digests are equal."""
    zoneinfo.write("Mars/Olympus_Mons", tzif("<+05>-5"))
    primary, replica = start(env=zoneinfo.env, port=True, clock=True), start()
    replica.replicate(primary)
    c, r = Talk(primary), Talk(replica)
    assert hour_of_nine(c, "Mars/Olympus_Mons") == 4
    primary.clock.step(24 * HOUR)
    primary.wait_until(lambda: about(c, "Mars/Olympus_Mons")[b"made"] == 1, "a day has passed")
    wait_synced(primary, replica)
    assert about(r, "Mars/Olympus_Mons")[b"disabled"] == 1 and about(r, "Mars/Olympus_Mons")[b"made"] == 1
    assert r("TASK.LEN", "q") == 1 and r.digest() == c.digest()

"""The parts of `taskslot serve` that need no server: the configuration, passwords, sizes, the data folder."""

import os
from pathlib import Path

import pytest
from harness.server import MODULE
from taskslot import module
from taskslot.cli.serve import url
from taskslot.programs import Version
from taskslot.serve import memory, password, settings
from taskslot.serve.errors import NotStarted
from taskslot.serve.folder import Folder, reads
from taskslot.serve.settings import Settings, configuration
from taskslot.serve.start import Prepared, Wanted, prepare

VALKEY_9, VALKEY_8 = Version("Valkey", (9, 1, 2)), Version("Valkey", (8, 0, 1))
REDIS_8, REDIS_7, REDIS_6 = (Version("Redis", number) for number in ((8, 2, 3), (7, 0, 15), (6, 2, 5)))


def test_the_options_come_last_so_neither_file_can_change_them(tmp_path):
    """The last value of a setting counts. redis.conf is first, then the user's file."""
    made = Settings("/m.so", tmp_path, 7000, ("10.0.0.1",), 5000, b"secret")
    text = configuration(made, module.settings().read_bytes(), b"port 1\nhz 20").decode()
    ours = text[text.index("\nport 1\nhz 20\n") :]
    for line in (
        'bind "10.0.0.1"',
        "port 7000",
        "maxmemory 5000",
        "protected-mode yes",
        'requirepass "secret"',
    ):
        assert f"\n{line}\n" in ours
    assert text.index("\nappendonly yes\n") < text.index("\nhz 20\n")


def test_values_are_quoted_so_that_no_byte_ends_them():
    """A path or a password with quotes, spaces, line ends and any byte stays one word."""
    assert settings.quoted(b'a "b\\\n\xff') == rb'"a \x22b\x5c\x0a\xff"'


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--requirepass", "s3cret"], "use --password-file or --make-password"),
        (["--appendfsync", "always", "--PORT", "1"], "sets port: use --port"),
        (["--masterauth", "s3cret"], "can be read by every user"),
        (["--user", "default", "on", ">s3cret"], "can be read by every user"),
        (["--daemonize", "yes"], "runs in the foreground"),
        (["appendonly", "no"], "have the form --name value"),
        (["--bind 0.0.0.0"], "each a word of its own"),
        (["--hz", "20", '--requirepass "s3cret"'], "each a word of its own"),
        (["--include", "/more.conf"], "give it to --config"),
    ],
)
def test_arguments_cannot_change_what_an_option_decides(extra, says):
    """A secret among them is refused, and not shown."""
    with pytest.raises(ValueError, match=says) as refused:
        settings.of_arguments(extra)
    assert "s3cret" not in str(refused.value)


def test_a_users_file_cannot_either(tmp_path):
    """Comments and other settings are left alone; the error names the file."""
    file = tmp_path / "own.conf"
    file.write_text("# bind 1\n\nhz 20\n  BIND 0.0.0.0\n")
    with pytest.raises(ValueError, match=r"own.conf sets bind: use --listen"):
        prepare(Wanted(config=file, data=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "bytes_"), [("0", 0), ("1gb", 2**30), ("1g", 10**9), ("512MB", 2**29), ("5000", 5000)]
)
def test_sizes_are_read_as_servers_do(text, bytes_):
    """`kb` counts in 1024s and `k` in 1000s."""
    assert memory.size(text) == bytes_


@pytest.mark.parametrize("text", ["", "1tb", "-1", "1.5gb", "lots"])
def test_other_sizes_are_refused(text):
    """The error says what a size looks like."""
    with pytest.raises(ValueError, match="such as 512mb"):
        memory.size(text)


def test_the_memory_of_a_container_counts_not_that_of_its_machine(tmp_path):
    """Version 2, where the group above has the limit, and version 1, whose group is mounted as the root."""
    own, root = tmp_path / "cgroup", tmp_path / "root"
    own.write_text("0::/pod/one\n")
    (root / "pod/one").mkdir(parents=True)
    (root / "pod/one/memory.max").write_text("max\n")
    (root / "pod/memory.max").write_text("4000\n")
    assert list(memory.limits_of_groups(own, root)) == [4000]
    own.write_text("5:cpu:/x\n4:memory:/docker/abc\n")
    (root / "memory").mkdir()
    (root / "memory/memory.limit_in_bytes").write_text("3000\n")
    assert list(memory.limits_of_groups(own, root)) == [3000]
    assert 0 < memory.default_limit() < memory.available()


def test_listening_for_other_machines_needs_a_password(tmp_path, monkeypatch):
    """Nothing is made without one."""
    monkeypatch.delenv(password.VARIABLE, raising=False)
    for address in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(ValueError, match="other machines can reach"):
            prepare(Wanted(listen=("127.0.0.1", address), data=tmp_path / "data"))
    assert not (tmp_path / "data").exists()
    monkeypatch.setenv(password.VARIABLE, "secret")
    with pytest.raises(NotStarted, match="is not an address of this machine"):
        prepare(Wanted(listen=("192.0.2.1",), data=tmp_path / "data", module=str(MODULE)))
    assert not settings.is_open(settings.addresses(["127.0.0.1,::1"]))
    with pytest.raises(ValueError, match="takes an address"):
        settings.addresses(["example.org"])


@pytest.mark.parametrize(
    ("own", "closes"),
    [
        ([("user", "default off")], True),
        ([("user", "default on >x ~* +@all")], True),
        ([("user", "default on NOPASS ~* +@all")], False),
        ([("user", "alice on >x ~* +@all")], False),
        ([("aclfile", "/etc/users.acl")], True),
        ([], False),
    ],
)
def test_users_in_the_file_replace_a_password_only_if_they_close_the_door(own, closes):
    """Without a word about `default`, everybody could still connect as that user."""
    assert settings.closes_the_door([], own) is closes


@pytest.mark.parametrize("line", ["aclfile users.acl", "user default on nopass ~* +@all"])
def test_nothing_can_make_the_server_ignore_its_password(tmp_path, line):
    """Users of an ACL file, or another user `default`, would replace it."""
    file = tmp_path / "own.conf"
    file.write_text(line)
    with pytest.raises(ValueError, match="`default`"):
        prepare(Wanted(config=file, make_password=True, data=tmp_path / "data"))
    with pytest.raises(ValueError, match="ignores its password"):
        prepare(Wanted(make_password=True, data=tmp_path / "data", extra=("--AclFile", "users.acl")))
    assert not (tmp_path / "data").exists()


def test_only_one_password_can_be_given(tmp_path, monkeypatch):
    """That of the environment is not handed on to the server's process."""
    monkeypatch.setenv(password.VARIABLE, "one")
    with pytest.raises(ValueError, match="give one of"):
        prepare(Wanted(make_password=True, data=tmp_path / "data"))
    assert password.VARIABLE not in os.environ


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"a\0b", b"x" * 5000])
def test_a_file_without_one_usable_line_is_no_password(tmp_path, content):
    """The error names the file, and shows nothing of it."""
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=str(file)) as refused:
        password.of_file(file)
    assert "xx" not in str(refused.value)
    assert "secret" not in repr(password.Password(b"secret"))


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (password.Password(b"p4ss"), '"redis://:$TASKSLOT_PASSWORD@127.0.0.1:6379"'),
        (password.Password(b"p4ss", Path("/d/my pw")), "\"redis://:$(cat '/d/my pw')@127.0.0.1:6379\""),
        (password.Password(b"p@s/w#%41"), "redis://127.0.0.1:6379"),
        (
            password.Password(b"p@s/w#%41", Path("/d/pw")),
            'redis://127.0.0.1:6379 TASKSLOT_PASSWORD="$(cat /d/pw)"',
        ),
    ],
)
def test_the_address_to_connect_to_can_be_pasted(found, says):
    """A password that a URL would have to encode goes into a variable of its own."""
    options = Settings("m.so", Path("/d"), 6379, (), 0)
    assert url(Prepared("valkey-server", (), VALKEY_9, options, found), "127.0.0.1") == says


def test_a_made_password_is_private_and_kept(tmp_path):
    """The next start finds it again, even if nobody asks for one."""
    assert password.kept_in(tmp_path) is None
    made = password.made_in(tmp_path)
    assert made.is_new and len(made.secret) >= 24
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    kept = password.kept_in(tmp_path)
    assert (kept.secret, kept.is_new) == (made.secret, False)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    """It could be somebody's home. A server's own files are fine."""
    (tmp_path / "notes.txt").touch()
    with pytest.raises(NotStarted, match=r"has other files, such as 'notes.txt'"):
        Folder(tmp_path).take()
    assert os.listdir(tmp_path) == ["notes.txt"]
    (tmp_path / "notes.txt").rename(tmp_path / "dump.rdb")
    (tmp_path / "lost+found").mkdir()  # as a volume has it
    Folder(tmp_path).take()


def test_a_folder_where_all_users_can_write_is_refused(tmp_path):
    """They could replace the configuration, and so load a module of theirs. Nothing is written."""
    tmp_path.chmod(0o777)
    with pytest.raises(NotStarted, match="all users can write in"):
        Folder(tmp_path).take()
    assert os.listdir(tmp_path) == []
    tmp_path.chmod(0o775)
    Folder(tmp_path).take()


def test_links_in_the_folder_are_not_followed(tmp_path):
    """A file elsewhere stays as it is."""
    precious, data = tmp_path / "precious", tmp_path / "data"
    precious.write_text("mine")
    data.mkdir()
    (data / "lock").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        Folder(data).take()
    (data / "lock").unlink()
    (data / "server-version.new").symlink_to(precious)
    Folder(data).mark(VALKEY_9)
    assert precious.read_text() == "mine" and (data / "server-version").read_text() == "Valkey 9.1.2\n"


def test_a_folder_that_a_server_takes_for_a_pattern_is_refused(tmp_path):
    """It would find no configuration there, and start with its own defaults, which lose tasks."""
    for name in ("a[b]", "a*", "a?"):
        with pytest.raises(NotStarted, match="for a pattern"):
            Folder(tmp_path / name).take()
    assert not os.listdir(tmp_path)


def test_a_snapshot_that_the_server_would_replace_by_nothing_is_kept(tmp_path):
    """With appendonly a server ignores dump.rdb, starts empty, and writes an empty one at its end."""
    (tmp_path / "dump.rdb").touch()
    folder = Folder(tmp_path)
    with pytest.raises(NotStarted, match="would start empty and replace it"):
        folder.refuse_unreadable(VALKEY_9, reads_snapshots=False)
    folder.refuse_unreadable(VALKEY_9, reads_snapshots=True)
    (tmp_path / "appendonlydir").mkdir()
    folder.refuse_unreadable(VALKEY_9, reads_snapshots=False)
    with pytest.raises(NotStarted, match="append-only file of a newer server"):
        folder.refuse_unreadable(REDIS_6, reads_snapshots=False)


def test_data_of_a_newer_or_another_server_is_refused(tmp_path):
    """The folder says who wrote it. Valkey reads what Redis wrote up to 7.2."""
    folder = Folder(tmp_path)
    folder.mark(VALKEY_9)
    folder.refuse_unreadable(VALKEY_9, reads_snapshots=False)
    with pytest.raises(NotStarted, match=r"is of Valkey 9.1.2, and Redis 7.0.15 can't read it"):
        folder.refuse_unreadable(REDIS_7, reads_snapshots=False)
    assert reads(REDIS_8, REDIS_7) and reads(VALKEY_8, REDIS_7) and reads(VALKEY_9, VALKEY_8)
    assert not (reads(VALKEY_8, VALKEY_9) or reads(VALKEY_9, REDIS_8) or reads(REDIS_8, VALKEY_8))


def test_what_turns_the_append_only_file_off_is_noticed():
    """The arguments come after the file."""
    own = [("appendonly", '"No"')]
    assert settings.value_of("appendonly", [], own) == "no"
    assert settings.value_of("appendonly", ["--appendonly", "yes"], own) == "yes"
    assert settings.value_of("appendonly", [], []) is None

"""Pure functions: how the page shows payloads, results and progress."""

import json

import msgpack
import pytest
from taskslot.calls import call
from taskslot.web.show.payloads import DUMP_BYTES, TEXT_BYTES, preview, shown


def text_of(data: bytes) -> str:
    """All pieces as one text."""
    return "".join(piece.text for piece in shown(data).pieces)


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"", "empty"),
        (b'{"a": [1, null]}', "JSON"),
        (b"17", "JSON"),
        (b"hello", "text"),
        ("Grüße\n".encode(), "text"),
        (b"{broken", "text"),
        (b"[" * 5000 + b"]" * 5000, "text"),
        (b"\x93\x01\x02\xc3", "MessagePack"),
        (b"\x80\x05\x95K\x00.", "bytes"),
        (b"a\x00b", "bytes"),
        (b"a\x07b", "text"),
        (b"caf\xe9", "bytes"),
    ],
)
def test_a_value_is_shown_in_the_form_that_it_has(data, form):
    """Text is valid UTF-8 without zeros; what is nested too deep to be read is text."""
    found = shown(data)
    assert (found.form, found.size, found.is_cut) == (form, len(data), False)


def test_json_is_indented_and_each_piece_has_its_kind():
    """Values stay as they were written: a long number, an escape sequence, a key that stands twice."""
    data = b'{"a":1.50,"a":[true,"x\\u00fc",{}],"n":12345678901234567890}'
    kinds = {(piece.text, piece.kind) for piece in shown(data).pieces if piece.kind}
    assert kinds == {
        ('"a"', "key"), ('"n"', "key"), ("1.50", "number"), ("true", "word"), ('"x\\u00fc"', "string"),
        ("12345678901234567890", "number"),
    }  # fmt: skip
    assert text_of(data).splitlines() == [
        "{",
        '  "a": 1.50,',
        '  "a": [',
        "    true,",
        '    "x\\u00fc",',
        "    {}",
        "  ],",
        '  "n": 12345678901234567890',
        "}",
    ]


@pytest.mark.parametrize("around", ['["{}"]', "{}"])
def test_what_could_change_how_a_line_looks_is_escaped(around):
    """Marks of direction, control characters and invisible ones, in JSON and in text."""
    hostile = "a\u202eb\u200bc\x7fd\u2028e"
    assert "a\\u202eb\\u200bc\\x7fd\\u2028e" in text_of(around.format(hostile).encode())
    assert preview(around.format(hostile).encode()).isprintable()


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (json.dumps(["ä" * 9] * 10**6).encode(), "JSON"),
        (("a" + "ä" * 10**6).encode(), "text"),
        (b'{"a": ' * 10**6, "JSON"),
        (b'{"task": "' + b"x" * 10**6, "JSON"),
    ],
)
def test_a_long_value_is_cut_between_two_characters(data, form):
    """The work and the output are bounded, and the size is that of the whole value."""
    found = shown(data)
    assert found.form == form and found.size == len(data) and found.is_cut
    assert found.shown_bytes == TEXT_BYTES and "\ufffd" not in text_of(data)
    assert TEXT_BYTES / 3 < len(text_of(data)) < TEXT_BYTES * 30


def test_a_cut_value_that_only_begins_like_json_is_text():
    """Otherwise a log line in brackets would be taken apart."""
    assert shown(b"[error] " + b"no such file, " * 10**4).form == "text"


def test_long_bytes_are_a_hex_dump_of_their_beginning():
    """With offsets and what is ASCII; the page says how many of how many bytes these are."""
    data = b"\x80pickle\xff<b>" * 10**5
    found = shown(data)
    lines = text_of(data).splitlines()
    assert (found.form, found.shown_bytes, found.size) == ("bytes", DUMP_BYTES, len(data))
    assert lines[0] == "000000  80 70 69 63 6b 6c 65 ff 3c 62 3e 80 70 69 63 6b  .pickle.<b>.pick"
    assert lines[-1].startswith("0003f0  ") and len(lines) == DUMP_BYTES / 16


def test_messagepack_is_shown_like_json_with_its_bytes_as_hex():
    """Bytes that only look like it are a dump."""
    data = msgpack.packb({"task": "a", "args": [b"\x00\xff" * 20, 1.5]})
    assert shown(data).form == "MessagePack"
    assert '"40 bytes: 00 ff' in text_of(data) and '"task": "a"' in text_of(data)
    assert shown(data + b"\x00").form == "bytes"
    assert shown(b"\xdd\xff\xff\xff\xff").form == "bytes"


def test_a_long_messagepack_value_is_cut():
    """As text it can be many times as long as it is."""
    found = shown(msgpack.packb(list(range(200, 60_000))))
    assert found.form == "MessagePack" and found.is_cut


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (call("mail.send", "bob", 3, to={"a": [1]}), 'mail.send("bob", 3, to={"a": [1]})'),
        (b'{"task": 5}', '{"task": 5}'),
        (b" two\n  lines ", "two lines"),
        (b"\x80\x05abc", "5 bytes: 80 05 61 62 63"),
        (b"\xff" * 100, "100 bytes: " + "ff " * 16 + "…"),
        (b'{"task": "a", "args": ["\\ud800"]}', 'a("\\ud800")'),
        (b"x" * 500, "x" * 119 + "…"),
    ],
)  # fmt: skip
def test_in_a_list_a_value_is_one_short_line(data, text):
    """A call of a function is shown as one."""
    assert preview(data) == text

import bz2
import codecs
import gzip
import json
import lzma

import pytest

from unmask.core.errors import UserError
from unmask.core.texts import check_characters, decode_text, json_line, one_line, printable

TEXT = "Ana has ½ a café.\r\n第二行\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_text_is_read_whatever_its_mark_says(encoding):
    assert decode_text(TEXT.encode(encoding), "it") == TEXT


@pytest.mark.parametrize(
    ("mark", "encoding"), [(codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF32_BE, "utf-32-be")]
)
def test_big_endian_marks_are_read_too(mark, encoding):
    assert decode_text(mark + TEXT.encode(encoding), "it") == TEXT


def test_no_bytes_are_no_text():
    assert decode_text(b"", "it") == decode_text(codecs.BOM_UTF8, "it") == ""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"one\ntwo caf\xe9\n", "it is not UTF-8: byte 0xe9 in line 2 begins no character; if it is latin-1"),
        (b"\xff\xfea\x00\x00\xd8a\x00", "it is not UTF-16-LE: byte 0x00"),
        ("Ana has pens".encode("utf-16-le"), "it looks like UTF-16 without the mark"),
    ],
)
def test_bytes_that_are_no_text_are_named_with_their_place(data, said):
    with pytest.raises(UserError, match=said):
        decode_text(data, "it")


def test_half_a_character_is_named():
    with pytest.raises(UserError, match=r"prompt 2 holds half a character \(\\udce9 at place 4\)"):
        check_characters("caf\udce9", "prompt 2")
    check_characters("café 👩‍👩‍👧", "prompt 2")


STEERING = ["\x1b[31mred", "\x07", "\x9b2J", "\u202egnp.exe", "\u2066x", "\x00", "\x7f", "a\rb", "\ud800", "\u2028"]


@pytest.mark.parametrize("text", STEERING)
def test_nothing_that_steers_a_terminal_is_printed(text):
    for shown in (printable(text), one_line(text), json_line(text)):
        assert not {char for char in shown if char in text and not char.isprintable()}
    assert json.loads(json_line([text])) == [text]
    json_line(text).encode()


@pytest.mark.parametrize("text", ["plain", "½ café 第二行", "👩‍👩‍👧", "a\tb\nc", "x\\[/foo]", "سلام‌ها"])
def test_everything_else_is_printed_as_it_is(text):
    assert printable(text) == text
    assert one_line(text) == text.replace("\t", " ").replace("\n", " ")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gzip.compress(b"{}", mtime=0), "it is compressed by gzip; unpack it first"),
        (bz2.compress(b"{}"), "it is compressed by bzip2"),
        (lzma.compress(b"{}"), "it is compressed by xz"),
        (b"PK\x03\x04\x14\0\x06\0", "it is a zip archive, or a sheet of a spreadsheet"),
        (b"PAR1\x15\x04\x15\xfe", "it is a table in Parquet; write its rows as JSON lines"),
    ],
)
def test_what_is_no_text_is_called_what_it_is(data, said):
    with pytest.raises(UserError, match=said):
        decode_text(data, "it")


@pytest.mark.parametrize("text", ["PAR1 is a route.\n", "BZh!\n", "%PDF is how one begins\n"])
def test_a_text_that_begins_like_one_is_a_text(text):
    assert decode_text(text.encode(), "it") == text

"""Texts on their way in and out: bytes of any encoding that says what it is, and nothing that steers a terminal."""

import codecs
import json
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

from unmask.core.errors import UserError

# Longer marks first: that of UTF-16 begins one of UTF-32.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
BIDI = {*"\u061c\u200e\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
_HALF = re.compile("[\ud800-\udfff]")
_BINARY_SIGNS = re.compile("[\0-\x08\x0e-\x1f\ufffd]")
_SIMPLE = re.compile("[ -~]*")


# What is no text, by how it begins.
BINARY = (
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (b"BZh", "compressed by bzip2; unpack it first"),
    (b"\xfd7zXZ", "compressed by xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it first"),
    (b"PK\x03\x04", "a zip archive, or a sheet of a spreadsheet; unpack it, or save the sheet as CSV"),
    (b"PAR1", "a table in Parquet; write its rows as JSON lines, one object each"),
    (b"ARROW1", "a table of Arrow; write its rows as JSON lines, one object each"),
    (b"\x89HDF", "HDF5; write its rows as JSON lines, one object each"),
    (b"SQLite format 3", "a data base; write its rows as JSON lines, one object each"),
    (b"%PDF", "a PDF; write its rows as JSON lines, one object each"),
)


def decode_text(data: bytes, name: str) -> str:
    """The text that bytes are: as the mark at their beginning says, UTF-8 without one.

    Raises UserError saying where `name` is neither, with a way to convert it.
    """
    for begins, what in BINARY:
        if data.startswith(begins) and not is_text(data):
            raise UserError(f"{name} is {what}")
    mark, encoding = next(((mark, code) for mark, code in MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: len(mark) + error.start].count(b"\n") + 1 if encoding == "utf-8" else "?"
        raise UserError(
            f"{name} is not {encoding.upper()}: byte {data[len(mark) + error.start]:#04x} in line {line} begins no "
            f"character; if it is latin-1, convert it with `iconv -f latin1 -t utf-8`"
        ) from error
    if not mark and text.count("\0") > len(text) // 4:
        raise UserError(
            f"{name} looks like UTF-16 without the mark at its beginning; "
            "convert it with `iconv -f utf-16le -t utf-8`"
        )
    return text


def is_text(data: bytes) -> bool:
    """Whether the beginning is UTF-8 without controls: a text may begin like a file of another kind."""
    return _BINARY_SIGNS.search(data[:4096].decode("utf-8", "replace")) is None


def read_text(path: Path) -> str:
    """The text of a file, by `decode_text`. Raises OSError if it cannot be read."""
    return decode_text(path.read_bytes(), str(path))


def check_characters(text: str, name: str) -> None:
    """Raise UserError where a text holds half a character, which no encoding has and no tokenizer reads."""
    if (found := _HALF.search(text)) is not None:
        raise UserError(
            f"{name} holds half a character ({ascii(found.group())[1:-1]} at place {found.start() + 1}), "
            "as bytes that are not UTF-8 become; write it as UTF-8"
        )


def printable(text: str) -> str:
    """The text without what could steer a terminal, or turn the direction of what is beside it.

    Controls but line ends and tabs, halves of characters and bidirectional marks become `�`.
    """
    if _SIMPLE.fullmatch(text):
        return text
    return "".join(char if _harmless(char) else "�" for char in text)


@cache
def _harmless(char: str) -> bool:
    if char in "\n\t":
        return True
    return char not in BIDI and unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")


def one_line(text: str) -> str:
    """`printable`, with blanks for line ends and tabs."""
    return "".join(" " if char.isspace() else char for char in printable(text))


def in_markdown(text: str) -> str:
    """A text as a cell of a Markdown table shows it: no HTML, no link, no second column."""
    shown = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|!~#])", r"\\\1", shown)


def in_code(text: str) -> str:
    """A text as it may stand between two backticks of Markdown."""
    return one_line(text).replace("`", "'")


def json_line(value: Any) -> str:
    """JSON on one line that says exactly what `value` is, and that a terminal shows as harmless letters."""
    text = json.dumps(value, ensure_ascii=False)
    if _SIMPLE.fullmatch(text):
        return text
    return "".join(char if _harmless(char) else f"\\u{ord(char):04x}" for char in text)

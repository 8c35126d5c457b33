"""Spoil a file of a checkpoint, by a seed: a value of another type or beyond any range, cut text, other bytes.

Nothing here makes another *valid* file of it: what is spoilt is to be refused in a sentence, or to make no difference.
"""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .mutate import IMPOSSIBLE, header_of, with_header

GARBAGE = (
    b"", b"\x00" * 64, b"\xff\xfe" + "x".encode("utf-16-le"), b"version https://git-lfs.github.com/spec/v1\noid 0",
    b"<!DOCTYPE html><html>", b"[" * 50_000, b"null", b"[]", b"5", b'"x"', b"{}\n{}", b"PK\x03\x04", b"\x80\x02}q\x00.",
    b"\xf0\x28\x8c\x28", b'{"format": ' + b"1" * 5000 + b"}", b"{\"a\": 1e999, ", b"\x1f\x8b\x08\x00",
)  # fmt: skip


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value inside, large lists and tables by a few of theirs."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    few = list(inside)[:40]
    return [path, *(way for key, each in few for way in leaves(each, (*path, key)))]


def spoil_value(value: Any, draws: random.Random, depth: int = 3) -> tuple[Any, str]:
    """A copy of a JSON object with one value in it spoilt, and what was done."""
    copy = json.loads(json.dumps(value))
    ways = [way for way in leaves(copy) if 0 < len(way) <= depth]
    way = draws.choice(ways)
    owner = copy
    for key in way[:-1]:
        owner = owner[key]
    owner[way[-1]] = hostile = draws.choice(IMPOSSIBLE[type(owner[way[-1]])])
    return copy, f"{'.'.join(map(str, way))} = {str(hostile)[:40]!r}"


def delete_entry(file: Path, draws: random.Random, depth: int = 3) -> str:
    """A JSON file without one of its entries, or in one case of five no file at all. Returns what was done."""
    if draws.random() < 0.2:
        file.unlink()
        return f"no {file.name}"
    value = json.loads(file.read_text(encoding="utf-8"))
    way = draws.choice([way for way in leaves(value) if 0 < len(way) <= depth])
    owner = value
    for key in way[:-1]:
        owner = owner[key]
    del owner[way[-1]]
    file.write_text(json.dumps(value), encoding="utf-8")
    return f"{file.name} without {'.'.join(map(str, way))}"


def spoil_json(file: Path, draws: random.Random) -> str:
    """One value of a JSON file, or in one case of four the file as such. Returns what was done."""
    if draws.random() < 0.25:
        return spoil_bytes(file, draws)
    value, what = spoil_value(json.loads(file.read_text(encoding="utf-8")), draws)
    file.write_text(json.dumps(value), encoding="utf-8")
    return what


def spoil_bytes(file: Path, draws: random.Random) -> str:
    """Garbage in place of a file, or a cut somewhere in it."""
    content = file.read_bytes()
    if draws.random() < 0.5:
        garbage = draws.choice(GARBAGE)
        file.write_bytes(garbage)
        return f"garbage {garbage[:20]!r}"
    cut = draws.randrange(1, max(2, int(0.9 * len(content))))
    file.write_bytes(content[:cut])
    return f"cut at {cut} of {len(content)}"


def spoil_lines(file: Path, draws: random.Random) -> str:
    """One line of a text file: no UTF-8, no line, too much of one; or garbage in place of the file."""
    if draws.random() < 0.3:
        garbage = draws.choice(GARBAGE)
        file.write_bytes(garbage)
        return f"garbage {garbage[:20]!r}"
    lines = file.read_bytes().split(b"\n")
    at = draws.randrange(1, max(2, len(lines) - 1))
    how: dict[str, Callable[[bytes], list[bytes]]] = {
        "not utf-8": lambda line: [line + b"\xff"],
        "dropped": lambda line: [],
        "doubled": lambda line: [line + b" " + line + b" " + line],
        "nul": lambda line: [b"\x00 \x00 \x00"],
    }
    name = draws.choice(sorted(how))
    file.write_bytes(b"\n".join([*lines[:at], *how[name](lines[at]), *lines[at + 1 :]]))
    return f"line {at} {name}"


def spoil_header(file: Path, draws: random.Random) -> str:
    """The header of a safetensors file: lengths, names, shapes, types and places that cannot be."""
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, rest = header_of(content)
    if draws.random() < 0.3:
        return spoil_bytes(file, draws)
    name = draws.choice([name for name in header if name != "__metadata__"])
    about = header[name]
    how: dict[str, Callable[[], Any]] = {
        "dtype": lambda: about.update(dtype=draws.choice(["F9", 5, None, "I64", "F8_E4M3", "BOOL", "U8"])),
        "shape": lambda: about.update(shape=draws.choice([[], [0], [-1], [2**40, 2**40], "x", [1.5], None, [[1]]])),
        "offsets": lambda: about.update(data_offsets=draws.choice([[0], [5, 3], [-1, 4], [0, 2**60], "x", None])),
        "dropped": lambda: header.pop(name),
        "renamed": lambda: header.update({f"{name}.x": header.pop(name)}),
        "spoilt": lambda: header.update({name: draws.choice([5, [], "x", None, {}])}),
        "metadata": lambda: header.update(__metadata__=draws.choice([5, [], {"a": 5}, "x"])),
    }
    what = draws.choice([*sorted(how), "length"])
    if what == "length":
        wrong = draws.choice([0, 7, 2**31, 2**63, length - 1, length + 9, 2**64 - 1])
        file.write_bytes(struct.pack("<Q", wrong) + content[8:])
        return f"header length {wrong}"
    how[what]()
    file.write_bytes(with_header(header, rest))
    return f"header {what} of {name}"

"""Files as kills, bad disks and careless editors leave them: a few ways to spoil bytes and JSON, by a seed.

`damage_bytes` may leave anything; `damage_value` leaves JSON in which one value cannot be what it was.
"""

import json
import random
import struct
from collections.abc import Callable, Collection, Iterator
from typing import Any

DIGITS = "9" * 5000  # more than Python turns into a number
DEEP = "[" * 20_000

# By what a value is: what it then cannot be, in any file of ours.
IMPOSSIBLE: dict[type, tuple[Any, ...]] = {
    str: (5, ["x"], {"a": 1}, True, 1.5),
    bool: (1, "true", [True], 0.5),
    int: ("4", 1.5, True, -1, 10**30, float("nan"), [4], {}),
    float: ("0.5", True, float("nan"), float("inf"), 10**400, [0.5]),
    list: (3, {"0": 1}, "x"),
    dict: (3, [1], "x"),
    type(None): ([1], {"a": 1}),
}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*at, key)
        yield from places(item, (*at, key))


def damage_value(value: Any, random: random.Random, spared: Collection[str] = ()) -> Any:
    """The value with one of its parts made impossible. spared: keys that mean nothing."""
    copy = json.loads(json.dumps(value))
    ways = [way for way in places(copy) if not set(way) & set(spared)]
    *way, last = random.choice(ways)
    inside = copy
    for key in way:
        inside = inside[key]
    inside[last] = random.choice(IMPOSSIBLE[type(inside[last])])
    return copy


def damage_bytes(data: bytes, random: random.Random) -> bytes:
    """The bytes, spoiled somewhere."""
    return random.choice(WAYS)(data, random)


def _cut(data: bytes, random: random.Random) -> bytes:
    return data[: random.randrange(len(data))]


def _flip(data: bytes, random: random.Random) -> bytes:
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :]


def _zeros(data: bytes, random: random.Random) -> bytes:
    place = random.randrange(len(data))
    return data[:place] + bytes(min(64, len(data) - place)) + data[place + 64 :]


def _insert(data: bytes, random: random.Random) -> bytes:
    place = random.randrange(len(data))
    return data[:place] + random.choice([b"\xff\xfe", b"\x00", b"\n", b"{", b"\xe9", b"\\ud800"]) + data[place:]


def _lines(data: bytes, random: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if random.random() < 0.5:
        del lines[random.randrange(len(lines))]
    else:
        random.shuffle(lines)
    return b"".join(lines)


def _number(data: bytes, random: random.Random) -> bytes:
    digits = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
    place = random.choice(digits) if digits else 0
    return data[:place] + DIGITS.encode() + data[place + 1 :]


def _whole(data: bytes, random: random.Random) -> bytes:
    small = [b"", b"[]", b"{}", b"3", b'"x"', b"null", b"\n\n", b"PK\x03\x04"]
    return random.choice([*small, DEEP.encode(), DIGITS.encode()])


WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_cut, _flip, _zeros, _insert, _lines, _number, _whole)


# ---- safetensors: eight bytes of length, a JSON header, the tensors


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and the rest."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: Any, rest: bytes) -> bytes:
    """The file again."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + rest

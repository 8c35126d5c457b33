"""Where a sampler writes when: the share of examples whose position i was revealed at step t, as a small picture."""

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

COLUMNS, ROWS = 128, 64  # a picture has at most so many; longer texts and more steps share them
COLOUR = (46, 125, 210)  # seen on white and on black


class Heat(NamedTuple):
    """share: of examples, by step (bin) and position (bin); columns sum to 1. steps, positions: how many there are."""

    share: list[list[float]]
    steps: int
    positions: int
    thirds: tuple[float, float, float]


def heat(examples: Sequence[Sequence[int]]) -> Heat | None:
    """Count over examples, each the step by position (0: not revealed). None where nothing was revealed.

    thirds: mean step of the first, middle and last third of the positions, for those who cannot see the picture.
    """
    positions = max(map(len, examples), default=0)
    steps = max((at for example in examples for at in example), default=0)
    if not steps:
        return None
    columns, rows = min(positions, COLUMNS), min(steps, ROWS)
    counts = [[0] * columns for _ in range(rows)]
    sums, seen = [0.0] * 3, [0] * 3
    for example in examples:
        for place, at in enumerate(example):
            if at:
                counts[(at - 1) * rows // steps][place * columns // positions] += 1
                sums[3 * place // positions] += at
                seen[3 * place // positions] += 1
    totals = [max(1, sum(row[column] for row in counts)) for column in range(columns)]
    share = [[count / total for count, total in zip(row, totals, strict=True)] for row in counts]
    first, middle, last = (total / max(1, count) for total, count in zip(sums, seen, strict=True))
    return Heat(share, steps, positions, (first, middle, last))


def png(share: Sequence[Sequence[float]]) -> bytes:
    """One pixel a cell: one colour, the more opaque the larger the share (by its square root)."""
    lines = b"".join(b"\0" + bytes(round(255 * value**0.5) for value in row) for row in share)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    size = struct.pack(">IIBBBBB", len(share[0]), len(share), 8, 3, 0, 0, 0)  # 8 bits, palette
    palette = chunk(b"PLTE", bytes(COLOUR) * 256) + chunk(b"tRNS", bytes(range(256)))
    body = chunk(b"IHDR", size) + palette + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def data_url(share: Sequence[Sequence[float]]) -> str:
    """The picture as it stands in a page."""
    return "data:image/png;base64," + base64.b64encode(png(share)).decode()

"""Where a sampler writes when: the share of examples whose position i was revealed at step t, as a small picture."""

import base64
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

COLUMNS, ROWS = 128, 64  # a picture has at most so many; longer texts and more steps share them
WAITING = 4096  # examples that are counted at once
COLOUR = (46, 125, 210)  # seen on white and on black


class Heat(NamedTuple):
    """share: of examples, by step (bin) and position (bin); columns sum to 1. steps, positions: how many there are."""

    share: list[list[float]]
    steps: int
    positions: int
    thirds: tuple[float, float, float]


class StepCounts:
    """How often each position was revealed at each step, counted as the examples come: no example is kept."""

    def __init__(self) -> None:
        self.examples = 0
        self._counts = np.zeros((1, 0), dtype=np.int64)  # [steps + 1, positions], step 0: not revealed
        self._waiting: dict[int, list[str]] = {}  # by number of positions

    def add(self, revealed_at: str) -> None:
        """Count an example in: its step by position, as `1 3 3 2`."""
        self.examples += 1
        positions = revealed_at.rstrip().count(" ") + 1 if revealed_at else 0
        waiting = self._waiting.setdefault(positions, [])
        waiting.append(revealed_at)
        if len(waiting) == WAITING:
            self._count()

    def _count(self) -> None:
        for positions, examples in self._waiting.items():
            if not positions or not examples:
                continue
            steps = np.fromstring(" ".join(examples), dtype=np.int64, sep=" ")
            most = int(steps.max())
            flat = steps * positions + np.tile(np.arange(positions), len(examples))
            new = np.bincount(flat, minlength=(most + 1) * positions).reshape(-1, positions)
            shape = (max(len(new), len(self._counts)), max(positions, self._counts.shape[1]))
            total = np.zeros(shape, dtype=np.int64)
            for each in (self._counts, new):
                total[: each.shape[0], : each.shape[1]] += each
            self._counts = total
        self._waiting.clear()

    def counts(self) -> np.ndarray:
        """int [steps, positions]."""
        self._count()
        return self._counts[1:]


def heat(examples: Iterable[Sequence[int]]) -> Heat | None:
    """Count over examples, each the step by position (0: not revealed). None where nothing was revealed."""
    counts = StepCounts()
    for example in examples:
        counts.add(" ".join(map(str, example)))
    return heat_of(counts)


def heat_of(counted: StepCounts) -> Heat | None:
    """What was counted as a picture. None where nothing was revealed.

    thirds: mean step of the first, middle and last third of the positions, for those who cannot see the picture.
    """
    found = counted.counts().tolist()
    if not found:
        return None
    steps, positions = len(found), len(found[0])
    columns, rows = min(positions, COLUMNS), min(steps, ROWS)
    counts = [[0] * columns for _ in range(rows)]
    sums, seen = [0.0] * 3, [0] * 3
    for step, line in enumerate(found):
        for place, count in enumerate(line):
            counts[step * rows // steps][place * columns // positions] += count
            sums[3 * place // positions] += count * (step + 1)
            seen[3 * place // positions] += count
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

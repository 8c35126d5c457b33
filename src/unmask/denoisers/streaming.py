"""Read weights into a network that was built without storage.

Each tensor goes from the mapped file straight to its place, in the precision and on the device asked for. No second
copy of the whole is ever held: a file stays mapped for 64 MiB at a time, as the pages that were read count as held.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unmask.denoisers.checkpoint import opened
from unmask.denoisers.keys import Move
from unmask.denoisers.network import Network

PORTION_BYTES = 1 << 26


class Piece(NamedTuple):
    """What is read at once: some rows of a tensor, or all of it where `rows` is None."""

    move: Move
    rows: slice | None
    bytes: int


def pieces(moves: Sequence[Move]) -> Iterator[Piece]:
    """Every move, cut into rows if it is large. What has to be split is read whole."""
    for move in moves:
        size = move.stored.bytes
        if move.split is not None or size <= PORTION_BYTES or not move.stored.shape:
            yield Piece(move, None, size)
            continue
        count = move.stored.shape[0]
        step = max(1, count * PORTION_BYTES // size)
        for start in range(0, count, step):
            stop = min(start + step, count)
            yield Piece(move, slice(start, stop), size * (stop - start) // count)


def portions(moves: Sequence[Move]) -> Iterator[list[Piece]]:
    """Pieces from one file that follow each other, 64 MiB together or one."""
    portion: list[Piece] = []
    for piece in pieces(moves):
        size = sum(other.bytes for other in portion)
        if portion and (
            size + piece.bytes > PORTION_BYTES or piece.move.stored.file != portion[0].move.stored.file
        ):
            yield portion
            portion = []
        portion.append(piece)
    if portion:
        yield portion


def stream(moves: Sequence[Move], network: Network, config: Any, device: str, dtype: torch.dtype) -> None:
    """Read every tensor into its place."""
    for portion in portions(moves):
        with opened(portion[0].move.stored.file) as file:
            for move, rows, _ in portion:
                if rows is None:
                    for name, part in zip(move.ours, move.parts(file.get_tensor(move.theirs), config), strict=True):
                        put(network, name, torch.empty(part.shape, dtype=dtype, device=device).copy_(part))
                    continue
                if rows.start == 0:
                    put(network, move.ours[0], torch.empty(move.stored.shape, dtype=dtype, device=device))
                place(network, move.ours[0])[rows].copy_(file.get_slice(move.theirs)[rows])
    network.tie()


def put(network: nn.Module, name: str, value: Tensor) -> None:
    """Make `value` the parameter or buffer of that name."""
    owner, _, leaf = name.rpartition(".")
    module = network.get_submodule(owner)
    setattr(module, leaf, nn.Parameter(value) if leaf in module._parameters else value)


def place(network: nn.Module, name: str) -> Tensor:
    """The parameter or buffer of that name, to be written to."""
    owner, _, leaf = name.rpartition(".")
    found: Tensor = getattr(network.get_submodule(owner), leaf)
    return found.detach()

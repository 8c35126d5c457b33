"""Read weights into a network that was built without storage.

Each tensor goes from the mapped file straight to its place, in the precision and on the device asked for. No second
copy of the whole is ever held: a file stays mapped for 64 MiB at a time, as the pages that were read count as held.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import PORTION_BYTES, opened
from unmask.denoisers.keys import Move
from unmask.denoisers.network import Network


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
    """Read every tensor into its place. Raises UserError naming one that holds what is no number."""
    for portion in portions(moves):
        with opened(portion[0].move.stored.file) as file:
            for move, rows, _ in portion:
                value = read(file, move, rows)
                check_finite(move.stored.file, move.theirs, value, dtype)
                if rows is None:
                    for name, part in zip(move.ours, move.parts(value, config), strict=True):
                        put(network, name, torch.empty(part.shape, dtype=dtype, device=device).copy_(part))
                    continue
                if rows.start == 0:
                    put(network, move.ours[0], torch.empty(move.stored.shape, dtype=dtype, device=device))
                place(network, move.ours[0])[rows].copy_(value)
    network.tie()


def read(file: Any, move: Move, rows: slice | None) -> Tensor:
    """Some rows of a tensor, or all of it, with the factors that an adapter adds to it."""
    name, factors = move.stored.name or move.theirs, move.stored.factors
    value: Tensor = file.get_tensor(name) if rows is None else file.get_slice(name)[rows]
    if factors is None:
        return value
    wide = torch.promote_types(value.dtype, torch.float32)
    return value.to(wide) + factors.product(slice(None) if rows is None else rows).to(wide)


def check_finite(file: Path, name: str, value: Tensor, dtype: torch.dtype | None = None) -> None:
    """Raise UserError if a tensor holds NaN or infinity, or would as `dtype`. One pass, a tenth of a copy's time."""
    if not value.numel():
        return
    ends = torch.stack(torch.aminmax(value))
    if bool(ends.to(value.dtype if dtype is None else dtype).isfinite().all()):
        return
    nans, infinite = int(value.isnan().sum()), int(value.isinf().sum())
    if not nans + infinite:
        raise UserError(
            f"{file} has {name} with values up to {float(ends.abs().max()):.4g}, too large for "
            f"{str(dtype).removeprefix('torch.')}; load it as bfloat16 or float32 (--dtype)"
        )
    raise UserError(
        f"{file} has {name} with {nans:,} values that are NaN and {infinite:,} that are infinite; the file is damaged "
        "or the training that wrote it had failed: fetch it again, or take an earlier checkpoint"
    )


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

"""Load a checkpoint of another library: recognise it, check every name and shape, then stream its tensors in.

Each tensor goes from the mapped file straight into the network, in the precision and on the device asked for. No second
copy of the whole is ever held: a file stays mapped for a quarter of a gigabyte at a time, as the pages read count.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import Checkpoint, open_checkpoint, opened
from unmask.denoisers.families import FAMILIES, recognise
from unmask.denoisers.families.base import Family
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.foreign_codec import make_codec
from unmask.denoisers.keys import Move, plan
from unmask.denoisers.network import Network

PORTION_BYTES = 1 << 28


def load_foreign(path: Path, device: str = "cpu", dtype: torch.dtype | None = None) -> TextDenoiser:
    """Load a folder, or one safetensors file with its tokenizer beside it. dtype: None keeps what is stored.

    Raises UserError naming the file, tensor or entry that is missing, damaged, left over or does not fit, or the
    families there are if it is of none of them.
    """
    checkpoint = open_checkpoint(path)
    name = recognise(checkpoint)
    family = FAMILIES[name]
    network, config = blank_network(checkpoint, family)
    moves = plan(checkpoint, network, config, family.keys, family.spellings, family.ignored)
    codec = make_codec(checkpoint.folder, family.frame, family.chat, network.config)
    stream(moves, network, config, device, checkpoint.dtype if dtype is None else dtype)
    card = {"family": name, "config": checkpoint.config}
    return TextDenoiser(network.eval(), codec, min(family.response_length, network.config.context), card)


def blank_network(checkpoint: Checkpoint, family: Family) -> tuple[Network, Any]:
    """The network without storage, and its configuration."""
    try:
        config = family.configure(checkpoint)
        with torch.device("meta"):
            return family.network(config), config
    except UserError as error:
        raise UserError(f"{checkpoint.path}: {error}") from error


def stream(moves: list[Move], network: Network, config: Any, device: str, dtype: torch.dtype) -> None:
    """Read every tensor into its place."""
    for portion in portions(moves):
        with opened(portion[0].stored.file) as file:
            for move in portion:
                for name, part in zip(move.ours, move.parts(file.get_tensor(move.theirs), config), strict=True):
                    put(network, name, torch.empty(part.shape, dtype=dtype, device=device).copy_(part))
    network.tie()


def portions(moves: list[Move]) -> Iterator[list[Move]]:
    """Moves from one file that follow each other, a quarter of a gigabyte together (of float32) or one tensor."""
    portion: list[Move] = []
    size = 0
    for move in moves:
        own = move.stored.size * 4
        if portion and (size + own > PORTION_BYTES or move.stored.file != portion[0].stored.file):
            yield portion
            portion, size = [], 0
        portion.append(move)
        size += own
    if portion:
        yield portion


def put(network: nn.Module, name: str, value: Tensor) -> None:
    """Make `value` the parameter or buffer of that name."""
    owner, _, leaf = name.rpartition(".")
    module = network.get_submodule(owner)
    setattr(module, leaf, nn.Parameter(value) if leaf in module._parameters else value)

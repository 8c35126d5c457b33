"""Load a checkpoint of another library: recognise it, check every name and shape, then stream its tensors in."""

import warnings
from pathlib import Path
from typing import Any

import torch

from unmask.core.errors import UserError
from unmask.core.memory import free_bytes
from unmask.denoisers.checkpoint import Checkpoint, open_checkpoint
from unmask.denoisers.families import FAMILIES, recognise
from unmask.denoisers.families.base import Family
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.foreign_codec import make_codec
from unmask.denoisers.keys import plan, tied_names
from unmask.denoisers.network import Network, begin_anew
from unmask.denoisers.streaming import place, put, stream


def load_foreign(
    path: Path,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    new_head: int | None = None,
    template: str | None = None,
) -> TextDenoiser:
    """Load a folder, or one safetensors file with its tokenizer beside it.

    dtype: None keeps what is stored. new_head: the seed of an output head for a checkpoint saved without one; None
    refuses such a checkpoint. What was begun anew stands in the card. template: how prompts are written, see
    `make_codec`.
    Raises UserError naming the file, tensor or entry that is missing, damaged, left over or does not fit, or the
    families there are if it is of none of them.
    """
    checkpoint = open_checkpoint(path)
    name = recognise(checkpoint)
    family = FAMILIES[name]
    network, config = blank_network(checkpoint, family)
    names, head = (family.keys, family.spellings, family.ignored), head_names(network)
    moves = plan(checkpoint, network, config, *names, lacking=() if new_head is None else head)
    begun = sorted(head.difference(*(move.ours for move in moves)))
    if new_head is not None and not begun:
        raise UserError(f"the checkpoint in {path} has its output head, so none is to be begun; leave out --new-head")
    codec = make_codec(checkpoint.folder, family.frame, network.config, template, checkpoint.called)
    dtype = checkpoint.dtype if dtype is None else dtype
    warn_if_large(checkpoint, device, dtype)
    stream(moves, network, config, device, dtype)
    card: dict[str, Any] = {"family": name, "config": checkpoint.config}
    if new_head is not None:
        card["begun anew"] = begun
        for missing in begun:
            put(network, missing, torch.empty(place(network, missing).shape, dtype=dtype, device=device))
        begin_anew(network, torch.Generator().manual_seed(new_head), begun)
    return TextDenoiser(network.eval(), codec, min(family.response_length, network.config.context), card)


def head_names(network: Network) -> set[str]:
    """Names of the weights of the output head that are its own."""
    return {name for name in network.state_dict() if name.startswith("head.")} - tied_names(network)


def warn_if_large(checkpoint: Checkpoint, device: str, dtype: torch.dtype) -> None:
    """Warn where the weights are larger than what is free."""
    needed, free = sum(stored.size for stored in checkpoint.tensors.values()) * dtype.itemsize, free_bytes(device)
    if free is not None and needed > free:
        name = str(dtype).removeprefix("torch.")
        warnings.warn(
            f"the weights take {needed / 1e9:.1f} GB as {name} and {free / 1e9:.1f} GB are free on "
            f"{device}; `unmask inspect {checkpoint.path}` says what would fit",
            stacklevel=3,
        )


def blank_network(checkpoint: Checkpoint, family: Family) -> tuple[Network, Any]:
    """The network without storage, and its configuration."""
    try:
        config = family.configure(checkpoint)
        with torch.device("meta"):
            return family.network(config), config
    except UserError as error:
        raise UserError(f"{checkpoint.path}: {error}") from error

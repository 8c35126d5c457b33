"""Load a checkpoint of another library: recognise it, check every name and shape, then stream its tensors in."""

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from unmask.core.errors import UserError
from unmask.core.memory import free_bytes
from unmask.denoisers.checkpoint import Checkpoint, differ
from unmask.denoisers.families import FAMILIES, recognise
from unmask.denoisers.families.base import Family
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.foreign_codec import make_codec
from unmask.denoisers.keys import SHOWN, Found, Move, Names, look, plan, tied_names, ties
from unmask.denoisers.network import Network, begin_anew, blank
from unmask.denoisers.quantised import refuse_quantised
from unmask.denoisers.streaming import place, put, stream


class Fitting(NamedTuple):
    """A family's network for a checkpoint, without storage, and what to read into it. left_out: tensors it has no use
    for."""

    network: Network
    config: Any
    moves: list[Move]
    left_out: list[str]


def load_checkpoint(
    checkpoint: Checkpoint,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    new_head: int | None = None,
    template: str | None = None,
    ignore_extra: bool = False,
) -> TextDenoiser:
    """Load what was opened.

    dtype: None keeps what is stored. new_head: the seed of an output head for a checkpoint saved without one; None
    refuses such a checkpoint. template: how prompts are written, see `make_codec`. ignore_extra: leave out tensors of
    no known use outside the network; heads that are known to be no language model's are left out in any case. What was
    begun anew or left out stands in the card.
    Raises UserError naming the file, tensor or entry that is missing, damaged, left over or does not fit, or the
    families there are if it is of none of them.
    """
    refuse_quantised(checkpoint)
    name = recognise(checkpoint)
    family = FAMILIES[name]
    network, config, moves, left_out = fit_together(checkpoint, family, new_head is not None, ignore_extra, read=True)
    head = head_names(network)
    begun = sorted(head.difference(*(move.ours for move in moves)))
    if new_head is not None and not begun:
        raise UserError(
            f"the checkpoint in {checkpoint.path} has its output head, so none is to be begun; leave out --new-head"
        )
    codec = make_codec(checkpoint.folder, family.frame, network.config, template, checkpoint.called)
    dtype = checkpoint.dtype if dtype is None else dtype
    warn_if_large(checkpoint, device, dtype)
    known = family.names()
    if told := [each for each in left_out if not known.skip.fullmatch(known.find(each))]:  # others are always there
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        warnings.warn(
            f"left out of {checkpoint.path}, as no part of the language model: {', '.join(told[:SHOWN])}{more}",
            stacklevel=3,
        )
    stream(moves, network, config, device, dtype)
    card: dict[str, Any] = {"family": name, "config": checkpoint.config}
    if left_out:
        card["left out"] = left_out
    if checkpoint.adapter is not None:
        card["adapter"] = str(checkpoint.adapter)
    if new_head is not None:
        card["begun anew"] = begun
        for missing in begun:
            put(network, missing, torch.empty(place(network, missing).shape, dtype=dtype, device=device))
        begin_anew(network, torch.Generator().manual_seed(new_head), begun)
    return TextDenoiser(network.eval(), codec, min(family.response_length, network.config.context), card)


def fit_together(
    checkpoint: Checkpoint, family: Family, new_head: bool = False, ignore_extra: bool = False, read: bool = False
) -> Fitting:
    """The network of a checkpoint and what goes into it; names and shapes are checked.

    read: compare tensors that stand there twice, too: an output head that is stored is kept where it differs from the
    embedding that the configuration ties it to. Raises UserError if two tensors for one place differ.
    """
    network, config = blank_network(checkpoint, family)
    if read:
        names = family.names(network.state_dict())
        found = look(checkpoint.tensors, names, ignore_extra)
        for one, other in found.again:
            if differ(checkpoint.tensors[one], checkpoint.tensors[other]):
                raise UserError(
                    f"{checkpoint.path} has {one} and {other}, which are one tensor by their names and differ; "
                    "remove the one that is not meant"
                )
        if holds_own_head(network, names, found):
            config = replace(config, tied=False)
            network = blank(family.network, config)
    names = family.names(network.state_dict())
    left_out = look(checkpoint.tensors, names, ignore_extra).left_out
    moves = plan(checkpoint, network, config, names, head_names(network) if new_head else (), ignore_extra)
    return Fitting(network, config, moves, sorted(left_out))


def holds_own_head(network: Network, names: Names, found: Found) -> bool:
    """Whether a weight that is tied by the configuration is stored beside the other, and differs from it."""
    theirs = {target.names: name for name, target in names.table.items()}
    for second, first in ties(network).items():
        pair = [found.there.get(theirs.get((name,), "")) for name in (second, first)]
        if pair[0] is not None and pair[1] is not None and differ(pair[0][1], pair[1][1]):
            return True
    return False


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
    """The network without storage, and its configuration. Raises UserError if it is deeper than what is stored."""
    try:
        config = family.configure(checkpoint)
        stored = family.names().layers(checkpoint.tensors)
        if config.layers > stored:
            raise UserError(f"config.json has {config.layers} layers, and the weights are of {stored}; they do not fit")
        return blank(family.network, config), config
    except UserError as error:
        raise UserError(f"{checkpoint.path}: {error}") from error

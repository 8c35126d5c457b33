"""What a checkpoint is and how much memory it needs, from its configuration and the headers of its files alone."""

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from unmask.core.errors import UserError
from unmask.core.memory import free_bytes
from unmask.denoisers.base import WIDE_PIECE_ELEMENTS, chunk_rows
from unmask.denoisers.chat import read_chat_template
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.codec import BARE, OWN, read_names
from unmask.denoisers.families import FAMILIES, recognise
from unmask.denoisers.folder import read_shape
from unmask.denoisers.foreign import fit_together
from unmask.denoisers.foreign_codec import choose_template
from unmask.denoisers.network import NetworkConfig
from unmask.denoisers.quantised import refuse_quantised


class Need(NamedTuple):
    """Bytes in one precision. batch: of one pass over a batch of canvases, about. fits: None where nobody knows."""

    dtype: str
    weights: int
    batch: int
    fits: bool | None


@dataclass(frozen=True)
class Inspection:
    """What `unmask inspect` says.

    family:     one of `FAMILIES`, or "unmask" for our own format.
    stored:     dtype and bytes of the weights on disk, and the number of files.
    template:   how prompts are written: bare, chat, or a text with {prompt} in it.
    free:       bytes free on the device; None where that is not known.
    rows, positions: the batch the needs are counted for.
    left_out:   tensors that are no part of the network. adapter: the folder of the LoRA adapter that is merged in.
    """

    name: str
    family: str
    about: str
    parameters: int
    stored_dtype: str
    stored_bytes: int
    files: int
    network: dict[str, Any]
    vocabulary: int
    mask_token: int
    context: int
    response_length: int
    template: str
    device: str
    free: int | None
    rows: int
    positions: int
    needs: tuple[Need, ...]
    left_out: tuple[str, ...] = ()
    adapter: str | None = None


def examine(
    name: str,
    checkpoint: Checkpoint,
    device: str = "cpu",
    rows: int = 8,
    positions: int | None = None,
    ignore_extra: bool = False,
) -> Inspection:
    """Look at a checkpoint, and say what it needs on `device` for batches of `rows` canvases of `positions` each.

    positions: twice the response length unless given, at most the context.
    Raises UserError if it is of no known family, or its tensors do not fit its configuration.
    """
    family, about, config, length, left_out = identify(checkpoint, ignore_extra)
    if positions is not None and positions > config.context:
        raise UserError(f"a canvas of {positions} positions is longer than the context of {config.context}")
    columns = min(2 * length, config.context) if positions is None else positions
    dtype = checkpoint.dtype
    count = sum(stored.size for stored in checkpoint.tensors.values())
    free = free_bytes(device)
    needs = []
    for each in dict.fromkeys((dtype, torch.bfloat16, torch.float32)):
        weights, batch = count * each.itemsize, batch_bytes(config, rows, columns, each)
        needs.append(Need(short(each), weights, batch, None if free is None else weights + batch <= free))
    return Inspection(
        name=name,
        family=family,
        about=about,
        parameters=count,
        stored_dtype=short(dtype),
        stored_bytes=sum(stored.bytes for stored in checkpoint.tensors.values()),
        files=len({stored.file for stored in checkpoint.tensors.values()}),
        network=config.to_dict(),
        vocabulary=config.vocabulary,
        mask_token=config.mask_token,
        context=config.context,
        response_length=length,
        template=template_of(checkpoint),
        device=device,
        free=free,
        rows=rows,
        positions=columns,
        needs=tuple(needs),
        left_out=tuple(left_out),
        adapter=None if checkpoint.adapter is None else str(checkpoint.adapter),
    )


def identify(checkpoint: Checkpoint, ignore_extra: bool = False) -> tuple[str, str, NetworkConfig, int, list[str]]:
    """Family, what it is, the shape of its network, the length of a response, and the tensors that are left out.

    Names and shapes are checked.
    """
    if "format" in checkpoint.config:
        shape, length = read_shape(checkpoint.path / "config.json", checkpoint.config)
        return "unmask", "a denoiser fitted with unmask", shape.config, length, []
    refuse_quantised(checkpoint)
    name = recognise(checkpoint)
    family = FAMILIES[name]
    network, _, _, left_out = fit_together(checkpoint, family, ignore_extra=ignore_extra)
    return name, family.about, network.config, min(family.response_length, network.config.context), left_out


def template_of(checkpoint: Checkpoint) -> str:
    """How prompts are written unless told otherwise, from the files beside the weights."""
    names = read_names(checkpoint.folder / "codec.json") if (checkpoint.folder / "codec.json").is_file() else {}
    if "format" in checkpoint.config:
        template = str(names.get("template", OWN))
        return BARE if template == names.get("bare") else template
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is what is shown here
        chosen = choose_template(
            checkpoint.folder, read_chat_template(checkpoint.folder) is not None, checkpoint.called
        )
    return str(names.get("template", chosen))


def batch_bytes(config: NetworkConfig, rows: int, positions: int, dtype: torch.dtype) -> int:
    """About what one pass holds beside the weights: the widest moment of a block, and a chunk of vocabulary rows.

    Attention scores are not held by the kernels in use. Of the logits one chunk is held, and two float32
    temporaries of a piece of it.
    """
    hidden = int(getattr(config, "hidden", 4 * config.width))
    block = rows * positions * (4 * config.width + 3 * hidden) * dtype.itemsize
    chunk = min(rows * positions, chunk_rows(config.vocabulary, dtype.itemsize)) * config.vocabulary
    return block + chunk * dtype.itemsize + min(chunk, WIDE_PIECE_ELEMENTS) * 2 * 4


def short(dtype: torch.dtype) -> str:
    """`bfloat16`."""
    return str(dtype).removeprefix("torch.")

"""Tiny random checkpoints in the real layout of each family, and what an independent implementation makes of them.

A family joins the contract by one entry of `TINY`, in `tests/denoisers/families/entries.py`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor


class Tiny(NamedTuple):
    """write:     a checkpoint into an empty folder; returns what to give `load_denoiser`.
    reference: from that path to a function from tokens [B, L] (no padding) to the logits [B, L, V] at each position,
               by other code than ours; V may leave the mask token out.
    mask:      the mask token.
    mask_name: what the tokenizer calls it.
    """

    write: Callable[[Path], Path]
    reference: Callable[[Path], Callable[[Tensor], Tensor]]
    mask: int
    mask_name: str


def random_weights(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, Tensor]:
    """The same on every machine for ever: numpy's frozen generator. Norms lie around one, logits spread well.

    Embeddings are small, so that the epsilon of the norms shows.
    """
    draws = np.random.RandomState(seed)  # its stream never changes
    found = {}
    for name, shape in shapes.items():
        value = torch.from_numpy(draws.standard_normal(tuple(shape)).astype(np.float32))
        norm = len(shape) == 1 and "bias" not in name
        value = value * 0.03 if "wte" in name or "embed" in name else value
        found[name] = 1 + 0.2 * value if norm else 0.3 * value if len(shape) == 1 else value * 2 * shape[-1] ** -0.5
    return found


def byte_tokenizer(*added: Iterable[str]) -> Tokenizer:
    """Every byte a token, then the added ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(added))
    return tokenizer


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2))


def write_shards(folder: Path, weights: Mapping[str, Tensor], count: int) -> None:
    """As the hub has it: `model-00001-of-00002.safetensors`, and an index of which tensor is where."""
    names = list(weights)
    where = {}
    for shard in range(count):
        file = f"model-{shard + 1:05d}-of-{count:05d}.safetensors"
        here = names[shard::count]
        save_file({name: weights[name].contiguous() for name in here}, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(here, file)
    size = sum(value.numel() * value.element_size() for value in weights.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": where})


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a folder or file."""
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    return {name: value for file in files for name, value in load_file(file).items()}


def rewrite(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the tensors of a checkpoint; those that are new go into the last file."""
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    weights = read_weights(path)
    home = {name: file for file in files for name in load_file(file)}
    change(weights)
    for file in files:
        mine = {name: value for name, value in weights.items() if home.get(name, files[-1]) == file}
        save_file({name: value.clone() for name, value in mine.items()}, file, metadata={"format": "pt"})


def everywhere(length: int) -> Tensor:
    """[1, 1, L, L]: an additive mask that hides nothing, so that a causal class of transformers sees both sides."""
    return torch.zeros(1, 1, length, length)

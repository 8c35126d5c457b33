"""A LoRA adapter of peft on top of the checkpoint it was made from: W + (alpha / r) B A, added while W is read.

    adapter_config.json         {"peft_type": "LORA", "base_model_name_or_path": "...", "r": 16, "lora_alpha": 32, ...}
    adapter_model.safetensors   base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight   [r, columns]
                                base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight   [rows, r]
                                base_model.model.lm_head.weight            of `modules_to_save`, in place of the base's

(Hu et al. 2021, arXiv 2106.09685; with `use_rslora` alpha / sqrt(r), Kalajdzievski 2023, arXiv 2312.03732.) What is
another arithmetic, as DoRA, is refused by name.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from unmask.core.errors import UserError
from unmask.core.files import read_json
from unmask.core.typed import brief
from unmask.denoisers.checkpoint import (
    ADAPTER,
    ADAPTER_CONFIG,
    DTYPES,
    INDEX,
    PICKLED,
    Checkpoint,
    Factors,
    Stored,
    opened,
    read_header,
)
from unmask.denoisers.entries import entry
from unmask.denoisers.families import FAMILIES, recognise
from unmask.denoisers.foreign import blank_network
from unmask.denoisers.keys import WRAPPERS, Names, expand, look, ties
from unmask.denoisers.streaming import check_finite

FACTOR = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.[^.]+)??(?:\.weight)?")
# Entries that make it another arithmetic, or another network, wherever they are set.
OTHERWISE = (
    "use_dora", "use_qalora", "use_bdlora", "fan_in_fan_out", "lora_bias", "layer_replication",
    "trainable_token_indices", "target_parameters", "alora_invocation_tokens", "arrow_config", "velora_config",
)  # fmt: skip
PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")  # those that leave the base's weights as they are


def adapter_in(path: Path) -> Path | None:
    """The folder of the adapter that `path` means, None if it means none.

    Raises UserError if full weights stand beside it, and nothing says which of both is meant.
    """
    if path.is_file():
        return path.parent if path.name in (ADAPTER, ADAPTER_CONFIG) else None
    if not (path / ADAPTER_CONFIG).is_file() and not (path / ADAPTER).is_file():
        return None
    pickles = ("pytorch_model", "model")
    others = sorted(
        file.name
        for file in path.glob("*")
        if file.name == INDEX
        or (file.suffix == ".safetensors" and file.name != ADAPTER)
        or (file.suffix in PICKLED and file.name.startswith(pickles))
    )
    if others:
        raise UserError(
            f"{path} has full weights ({others[0]}) and an adapter ({ADAPTER_CONFIG}): which is meant? Give "
            f"{path / ADAPTER} for the adapter on its base, or move the adapter_* files away for the weights alone"
        )
    return path


def base_name(folder: Path) -> str:
    """What the adapter was made from, as a path or a name. Raises UserError if nothing says so."""
    named = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise UserError(
            f"{folder} is an adapter and {ADAPTER_CONFIG} has no `base_model_name_or_path`; write there which "
            "checkpoint it was made from, as a folder or as owner/name on the hub"
        )
    beside = folder / named
    return str(beside) if not Path(named).is_absolute() and beside.is_dir() else named


def merge(base: Checkpoint, folder: Path) -> Checkpoint:
    """The checkpoint with the adapter of `folder` in it. The tokenizer is the adapter's where it has one.

    Raises UserError naming the entry, file or tensor that is missing, cannot be, or does not fit the base.
    """
    family = FAMILIES[recognise(base)]
    network, _ = blank_network(base, family)
    tensors = merged(base.path, base.tensors, network, family.names(network.state_dict()), folder)
    reads = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "vocab.txt"))
    return replace(base, tensors=tensors, adapter=folder, reader=folder if reads else base.reader)


def merge_own(base: Path, folder: Path, network: nn.Module, tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """The same for the tensors of a denoiser of our own format, whose names are those of its network."""
    own = {name: name for name in network.state_dict()}
    return merged(base, tensors, network, Names(expand(own, own), {"blocks.{i}.": ""} | own), folder)


def merged(
    base: Path, stored: Mapping[str, Stored], network: nn.Module, names: Names, folder: Path
) -> dict[str, Stored]:
    """The tensors of a base by their names on disk, with what the adapter adds to them or puts in their place.

    Where head and embedding are one and the adapter changes either, the other stays as it was, as in peft.
    """
    path, config = folder / ADAPTER_CONFIG, read_json(folder / ADAPTER_CONFIG)
    check_config(path, config)
    file = folder / ADAPTER
    if not file.is_file():
        pickled = sorted(other.name for other in folder.glob("adapter_model*") if other.suffix in PICKLED)
        what = f"{pickled[0]} is pickled and never opened; save it as {ADAPTER}" if pickled else "fetch it again"
        raise UserError(f"there is no {ADAPTER} in {folder}: {what}")
    there, tensors = look(stored, names).there, dict(stored)
    ours = {target.names: name for name, target in names.table.items()}
    tied = {ours[(second,)]: ours[(first,)] for second, first in ties(network).items()}

    def find(name: str) -> str:
        """The base's name, by its own or by ours, which `unmask learn` writes."""
        own = names.find(name)
        return own if own in names.table else ours.get((WRAPPERS.sub("", name),), own)

    def part(own: str) -> None:
        """Give head and embedding a tensor each where they are one, and one of them is `own`."""
        for pair in tied.items():
            if own in pair and bool(config.get("ensure_weight_tying")):
                raise UserError(
                    f"{path} has `ensure_weight_tying` true and changes {own}, and in {base} head and embedding are "
                    "one; merge it with peft"
                )
            for missing, other in (pair, pair[::-1]):
                if own in pair and missing not in there and other in there:
                    there[missing] = missing, there[other][1]
                    tensors[missing] = there[other][1]

    def once(changed: dict[str, str], own: str, name: str) -> None:
        if changed.setdefault(own, name) != name:
            raise UserError(f"{file} has {changed[own]} and {name}, which are one by their names; copy it again")

    def put(own: str, name: str, value: Stored) -> None:
        once(whole, own, name)
        part(own)
        tensors[there[own][0] if own in there else own] = value

    factors: dict[str, dict[str, Stored]] = {}
    standing_in: dict[str, tuple[str, Stored]] = {}
    whole: dict[str, str] = {}  # name in the base -> name in the adapter
    added: dict[str, str] = {}
    for name, value in read_header(file).items():
        check_tensor(name, value)
        if found := FACTOR.fullmatch(name):
            factors.setdefault(found[1], {})[f"{found[2] or ''}{found[3]}"] = value
            continue
        own = find(name)
        if own in names.stand_ins:
            standing_in[names.stand_ins[own]] = name, value
            continue
        if own not in names.table:
            raise UserError(f"{file} has {name}, which is neither a factor nor a tensor of the base {base}")
        put(own, name, value)
    for own, (name, value) in standing_in.items():
        if own not in whole:
            put(own, name, value)
    if not factors and not whole:
        raise UserError(f"{file} holds no tensors of an adapter; copy it again from where it came")
    for module, parts in sorted(factors.items()):
        own = find(f"{module}.weight")
        if own not in names.table:
            own = find(module)  # a table that is no module, as an embedding may be
        part(own)
        if own not in there:
            raise UserError(f"{file} has factors for {module}, which is no part of the base {base}")
        once(added, own, module)
        where = there[own][0]
        tensors[where] = tensors[where]._replace(factors=read_factors(path, config, module, parts, tensors[where]))
    return tensors


def check_config(path: Path, config: Mapping[str, Any]) -> None:
    """Raise UserError, naming the entry, where an adapter is of another kind than LoRA as it was published."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UserError(f"{path} has `peft_type` {brief(kind)}, and only LORA can be merged")
    for name in OTHERWISE:
        if config.get(name):
            what = f"`{name}` {brief(config[name])}"
            raise UserError(f"{path} has {what}, which cannot be merged here; merge it with peft")
    start = config.get("init_lora_weights", True)
    if not any(start is plain or (isinstance(plain, str) and start == plain) for plain in PLAIN_STARTS):
        raise UserError(
            f"{path} has `init_lora_weights` {brief(start)}, which changes the base's weights; convert it to plain "
            "LoRA with peft, or merge it there"
        )


def check_tensor(name: str, stored: Stored) -> None:
    """Raise UserError if a tensor of an adapter is no number we add, or is none at all."""
    if "lora_magnitude_vector" in name:
        raise UserError(f"{stored.file} has {name}: DoRA cannot be merged here; merge it with peft")
    if stored.dtype not in DTYPES:
        raise UserError(f"{stored.file} has {name} as {stored.dtype}, not as one of {', '.join(DTYPES)}")
    with opened(stored.file) as file:
        check_finite(stored.file, name, file.get_tensor(name))


def read_factors(
    path: Path, config: Mapping[str, Any], module: str, parts: Mapping[str, Stored], stored: Stored
) -> Factors:
    """The two factors of a module. Raises UserError if one is missing, or they do not multiply to its shape."""
    turned = "embedding_A" in parts
    down, up = (parts.get(f"{'embedding_' if turned else ''}{part}") for part in "AB")
    if down is None or up is None or len(parts) != 2:
        raise UserError(f"the adapter in {path.parent} has one of the two factors of {module} only")
    rank = pattern(path, config, "rank_pattern", module, entry(config, "r", int, file=ADAPTER_CONFIG))
    alpha = pattern(path, config, "alpha_pattern", module, entry(config, "lora_alpha", float, file=ADAPTER_CONFIG))
    rows, columns = reversed(stored.shape) if turned else stored.shape
    if rank < 1 or (down.shape, up.shape) != ((rank, columns), (rows, rank)):
        raise UserError(
            f"the adapter in {path.parent} has factors of shape {list(down.shape)} and {list(up.shape)} for {module}, "
            f"and with r = {rank:g} they should be [{rank:g}, {columns}] and [{rows}, {rank:g}]"
        )
    if alpha < 0:
        raise UserError(f"{path} has `lora_alpha` {alpha:g} for {module}, which should not be negative")
    by_root = entry(config, "use_rslora", bool, False, file=ADAPTER_CONFIG)
    return Factors(down, up, alpha / (math.sqrt(rank) if by_root else rank), turned)


def pattern(path: Path, config: Mapping[str, Any], name: str, module: str, default: float) -> float:
    """The value that a pattern gives a module, `default` where none does; the first that fits its end is meant."""
    patterns = config.get(name) or {}
    if not isinstance(patterns, dict):
        raise UserError(f"{path} has `{name}` {brief(patterns)}, which should be an object")
    for key, value in patterns.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise UserError(f"{path} has `{name}` {brief(config[name])}, which should hold numbers")
        try:
            whole = key if key.startswith("^") else rf"(?:.*\.)?(?:{key})$"
            if re.match(whole, WRAPPERS.sub("", module)):
                return float(value) if name == "alpha_pattern" else value
        except re.error:
            raise UserError(f"{path} has `{name}` with {key!r}, which is no pattern") from None
    return default

"""One file that holds everything a training run needs to go on as if nothing had happened.

Weights, optimizer state and counters live in one safetensors file, written under a temporary name and renamed,
so that a run killed at any moment finds either the last checkpoint or the one before. Nothing is ever pickled.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from unmask.core.entries import at_least, parse_object, reader
from unmask.core.errors import UserError
from unmask.core.files import replacing
from unmask.core.typed import brief
from unmask.denoisers.folder import write_weights
from unmask.train.processes import Processes
from unmask.train.sharding import full, placed_like

VERSION = "1"


class Checkpoint(NamedTuple):
    """tensors: by dotted name. meta: JSON values (the update reached, the configuration, the best so far)."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def save_checkpoint(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write both in one go. Raises UserError if the disk refuses."""
    unique = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        # one entry: the library writes several in an order of its own, and equal runs would differ in their bytes
        write_weights(temporary, unique, {"meta": json.dumps(meta | {"version": VERSION})})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote. Raises UserError naming the file if it is damaged or foreign."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"checkpoint {path} is damaged ({error}); delete it to start again, or restore it") from error
    try:
        meta = parse_object(metadata["meta"])
    except (KeyError, ValueError):
        meta = {"version": "none"}
    version = meta.pop("version", metadata.get("version"))
    if version != VERSION:
        raise UserError(
            f"{path} is not a checkpoint of this version of unmask (found {brief(version)}); delete it to start again"
        )
    return Checkpoint(tensors, meta)


def find_checkpoint(processes: Processes, path: Path) -> Checkpoint | None:
    """The main process's checkpoint, on every process; None if it has none yet. UserError if it is damaged."""
    found = processes.on_main(lambda: load_checkpoint(path) if path.exists() else None)
    meta = processes.from_main(lambda: found and found.meta)
    if meta is None:
        return None
    return Checkpoint(processes.tensors_from_main(found.tensors if found else {}), meta)


class Progress(NamedTuple):
    """What every run keeps in its checkpoint. update: the last one done. validation: its numbers, if it has some."""

    update: int
    validation: dict[str, Any] | None = None


read_progress = reader(Progress, update=at_least(0), validation=lambda numbers: all(map(is_number, numbers.values())))


def is_number(value: Any) -> bool:
    """Whether a JSON value is one; NaN is, where there was nothing to measure on."""
    return type(value) in (int, float)


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Turn the errors of putting a checkpoint's tensors back into a UserError naming the file."""
    try:
        yield
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        what = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise UserError(
            f"checkpoint {path} does not fit this run ({what}); delete it to start again, or restore it"
        ) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """Flatten an optimizer's state to named tensors: PREFIX.<parameter index>.<name>. Sharded state is gathered."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": full(value) if isinstance(value, Tensor) else torch.tensor(value)
        for index, entries in state.items()
        for name, value in entries.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str) -> None:
    """Put back what `optimizer_tensors` took out; the groups keep the options they were built with."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix + "."):
            index, entry = name[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[entry] = value
    for number, parameter in enumerate(each for group in optimizer.param_groups for each in group["params"]):
        for entry, value in state.get(number, {}).items():
            if value.shape == parameter.shape:
                state[number][entry] = placed_like(value, parameter)
            elif value.dim():
                raise ValueError(f"{prefix}.{number}.{entry} has shape {list(value.shape)}")
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)

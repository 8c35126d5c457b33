"""Tensors in numbered files, each written in one go: what a long preparation keeps, and takes up where it was."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.entries import parse_object
from unmask.core.errors import UserError
from unmask.core.files import replacing
from unmask.core.typed import brief
from unmask.denoisers.folder import write_weights


def shard_path(folder: Path, number: int) -> Path:
    """Where shard `number` stands."""
    return folder / f"shard-{number:05d}.safetensors"


def missing_shards(folder: Path, shards: int) -> Iterator[int]:
    """The numbers of those that are yet to be made, found one by one."""
    return (number for number in range(shards) if not shard_path(folder, number).exists())


def write_shard_file(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write both in one go. Raises UserError if the disk refuses."""
    with replacing(path) as temporary:
        write_weights(
            temporary, {name: value.contiguous() for name, value in tensors.items()}, {"meta": json.dumps(meta)}
        )


@contextmanager
def reading_shard(path: Path, expected: dict[str, Any]) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """Its tensors and its meta. What goes wrong inside, or is not as `expected`, is a UserError naming the file."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = parse_object((file.metadata() or {}).get("meta", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if any(meta.get(name) != value for name, value in expected.items()):
            raise ValueError(f"it says {brief(meta)}")
        yield tensors, meta
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it, and it is made again") from error


def check_tensor(value: Tensor, name: str, dtype: str, *shape: int | None) -> Tensor:
    """The tensor, if it is of that kind (`long`, `bool`, `float`) and shape (None: any). Raises ValueError."""
    kinds = {"long": value.dtype == torch.long, "bool": value.dtype == torch.bool, "float": value.is_floating_point()}
    fits = len(shape) == value.dim() and all(b in (None, a) for a, b in zip(value.shape, shape, strict=True))
    if not kinds[dtype] or not fits:
        raise ValueError(f"{name} is {str(value.dtype).removeprefix('torch.')} {list(value.shape)}")
    return value


def check_canvas(canvas: Canvas) -> Canvas:
    """The canvas, if its tensors belong together. Raises ValueError."""
    rows, length = canvas.tokens.shape if canvas.tokens.dim() == 2 else (-1, -1)
    for name, dtype in (("tokens", "long"), ("masked", "bool"), ("valid", "bool")):
        check_tensor(getattr(canvas, name), name, dtype, rows, length)
    for name in ("step", "budget", "row"):
        check_tensor(getattr(canvas, name), name, "long", rows)
    return canvas


def check_seen(seen: dict[str, Tensor], masked: int) -> dict[str, Tensor]:
    """What stays of a denoiser's words at so many masked positions, if its tensors belong together. ValueError."""
    shapes: dict[str, tuple[str, *tuple[int | None, ...]]] = {
        "hidden": ("float", masked, None), "top2": ("float", masked, 2), "top2_tokens": ("long", masked, 2),
        "entropy": ("float", masked), "log_probs": ("float", masked),
    }  # fmt: skip
    for name, value in seen.items():
        check_tensor(value, name, *shapes[name])
    return seen

"""A checkpoint as another library wrote it: config.json and the headers of its safetensors files, nothing more.

What is in it is known before a single weight is read. Pickled weights are never opened.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from unmask.core.errors import UserError
from unmask.core.files import read_json

INDEX = "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
CONVERT = (
    "pickled weights are never opened, since that can run any code; where you trust them, convert them to safetensors "
    "as docs/guides/checkpoints.md shows"
)


class Stored(NamedTuple):
    """A tensor on disk. dtype: as safetensors calls it, F32 or BF16 or another."""

    file: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return torch.Size(self.shape).numel()

    @property
    def bytes(self) -> int:
        """What it takes on disk; nothing where the dtype is none of ours."""
        return self.size * DTYPES[self.dtype].itemsize if self.dtype in DTYPES else 0


@dataclass(frozen=True)
class Checkpoint:
    """What is known of a checkpoint before its weights are read.

    path:    its folder, or the one safetensors file it is.
    config:  of its config.json, {} where there is none.
    tensors: by their names.
    """

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Stored]

    @property
    def folder(self) -> Path:
        """Where tokenizer and configuration stand."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def called(self) -> tuple[str, ...]:
        """What people call it: its folder, its repository if it lies in the hub's cache, what config.json says."""
        hub = [part for part in self.folder.resolve().parts if part.startswith("models--")]
        said = self.config.get("_name_or_path")
        return (self.folder.resolve().name, *hub[-1:], *([said] if isinstance(said, str) else []))

    @property
    def dtype(self) -> torch.dtype:
        """What most of its weights are stored in. Raises UserError if that is nothing we compute in."""
        counts: dict[str, int] = {}
        for stored in self.tensors.values():
            counts[stored.dtype] = counts.get(stored.dtype, 0) + stored.size
        name = max(counts, key=lambda name: counts[name], default="F32")
        if name not in DTYPES:
            raise UserError(
                f"the weights in {self.path} are stored as {name}, quantised; give a checkpoint in one of "
                f"{', '.join(DTYPES)}"
            )
        return DTYPES[name]


def open_checkpoint(path: Path) -> Checkpoint:
    """Look into a folder or a single safetensors file.

    Raises UserError naming the file that is missing, pickled, damaged or not safetensors.
    """
    if path.suffix in PICKLED:
        raise UserError(f"{path}: {CONVERT}")
    folder = path if path.is_dir() else path.parent
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    tensors: dict[str, Stored] = {}
    for file in find_files(path):
        tensors |= read_header(file)
    return Checkpoint(path, config, tensors)


def find_files(path: Path) -> list[Path]:
    """The safetensors files of a checkpoint: one, or the shards that its index names."""
    if path.is_file():
        return [path]
    if (path / INDEX).is_file():
        named = read_json(path / INDEX).get("weight_map")
        if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
            raise UserError(f"{path / INDEX} is damaged: it has no `weight_map`; copy it again from where it came")
        names = sorted(set(named.values()))
        absent = [name for name in names if not (path / name).is_file()]
        if absent:
            raise UserError(
                f"{len(absent)} of {len(names)} shards that {INDEX} names are missing from {path}, "
                f"{absent[0]} first; fetch them again"
            )
        return [path / name for name in names]
    found = sorted(path.glob("*.safetensors"))
    if (path / "model.safetensors") in found:
        return [path / "model.safetensors"]
    if len(found) == 1:
        return found
    if found:
        some = ", ".join(file.name for file in found[:3])
        raise UserError(f"{path} has {len(found)} safetensors files and no {INDEX}; name one of them ({some}, ...)")
    pickled = sorted(file.name for file in path.glob("*") if file.suffix in PICKLED)
    if pickled:
        raise UserError(f"{path} has {pickled[0]} and no safetensors: {CONVERT}")
    raise UserError(f"there are no safetensors in {path}; is this the folder you meant?")


@contextlib.contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A safetensors file, mapped into memory until the block ends. Raises UserError if it is damaged or no such."""
    try:
        with safe_open(file, "pt") as found:
            yield found
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is damaged or not safetensors ({error}); copy it again from where it came") from error


def read_header(file: Path) -> dict[str, Stored]:
    """What a safetensors file holds, without its weights."""
    with opened(file) as found:
        slices = {name: found.get_slice(name) for name in found.keys()}  # noqa: SIM118  # it is no mapping
        return {name: Stored(file, tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}

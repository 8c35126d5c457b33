"""A checkpoint as another library wrote it: config.json and the headers of its safetensors files, nothing more.

What is in it is known before a single weight is read. Pickled weights are never opened.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from unmask.core.errors import UserError
from unmask.core.files import read_json, seems

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = re.compile(r"(.+)-(\d{1,9})-of-(\d{1,9})\.safetensors")
NETWORKS = {"model", "transformer", "backbone", "bert", "base_model", "module"}  # what may stand before every name
MOST_SHARDS = 100_000
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
PORTION_BYTES = 1 << 26  # of a file that is mapped at a time
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
CONVERT = (
    "pickled weights are never opened, since that can run any code; where you trust them, convert them to safetensors "
    "as docs/guides/checkpoints.md shows"
)


class Factors(NamedTuple):
    """What LoRA adds to a matrix: scale * B A, of [rank, columns] and [rows, rank] (Hu et al. 2021, arXiv 2106.09685).

    turned: the sum is of the transpose, as for embeddings. None of it is held between two pieces.
    """

    down: "Stored"
    up: "Stored"
    scale: float
    turned: bool = False

    def product(self, rows: slice) -> torch.Tensor:
        """Those rows of what is added, in float32."""
        with opened(self.down.file) as file:
            a, b = (file.get_tensor(part.name).float() for part in (self.down, self.up))
        product: torch.Tensor = (b @ a[:, rows]).T if self.turned else b[rows] @ a
        return self.scale * product


class Stored(NamedTuple):
    """A tensor on disk. dtype: as safetensors calls it, F32 or BF16 or another. name: in its file.

    factors: what an adapter adds to it while it is read.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str
    name: str = ""
    factors: Factors | None = None

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
    adapter: the folder of the LoRA adapter that is merged in, None for none.
    reader:  the folder of the tokenizer, where it is not that of the weights.
    """

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Stored]
    adapter: Path | None = None
    reader: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the tokenizer stands."""
        return self.reader or (self.path if self.path.is_dir() else self.path.parent)

    @property
    def called(self) -> tuple[str, ...]:
        """What people call it: its folder, its repository if it lies in the hub's cache, what config.json says."""
        hub = [part for part in self.folder.resolve().parts if part.startswith("models--")]
        said = self.config.get("_name_or_path")
        own = (self.folder.absolute().name, self.folder.resolve().name)  # a link may have a name of its own
        return (*own, *hub[-1:], *([said] if isinstance(said, str) else []))

    @property
    def dtype(self) -> torch.dtype:
        """What most of its weights are stored in; buffers of whole numbers do not count.

        Raises UserError if nothing is stored as what we compute in.
        """
        counts: dict[str, int] = {}
        for stored in self.tensors.values():
            counts[stored.dtype] = counts.get(stored.dtype, 0) + stored.size
        name = max(counts, key=lambda name: (name in DTYPES, counts[name]), default="F32")
        if name not in DTYPES:
            raise UserError(
                f"the weights in {self.path} are stored as {name}, quantised; give a checkpoint in one of "
                f"{', '.join(DTYPES)}"
            )
        return DTYPES[name]


def open_checkpoint(path: Path) -> Checkpoint:
    """Look into a folder or a single safetensors file.

    Raises UserError naming the file that is missing, pickled, damaged or not safetensors, or a tensor that is there
    twice.
    """
    if path.suffix in PICKLED:
        raise UserError(f"{path}: {CONVERT}")
    folder = path if path.is_dir() else path.parent
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    tensors: dict[str, Stored] = {}
    for file in find_files(path):
        header = read_header(file)
        for name in sorted(tensors.keys() & header.keys()):
            if differ(tensors[name], header[name]):
                raise UserError(
                    f"{name} is in {tensors[name].file} and another one in {file.name}; they are of different saves"
                )
        tensors |= header
    return Checkpoint(path, config, without_outer(tensors))


def without_outer(tensors: dict[str, Stored]) -> dict[str, Stored]:
    """The tensors without what all their names begin with, as `student.`, unless a network of a family is called so."""
    while len(first := {name.partition(".")[0] for name in tensors}) == 1 and not first & NETWORKS:
        if any("." not in name for name in tensors):
            break
        tensors = {name.partition(".")[2]: stored for name, stored in tensors.items()}
    return tensors


def find_files(path: Path) -> list[Path]:
    """The safetensors files of a checkpoint: one, or its shards.

    A whole `model.safetensors` comes before an index, which may be older. Shards without an index are known by their
    names. Raises UserError if files are missing, or if they are several and none is the whole.
    """
    if path.is_file():
        if (shard := SHARD.fullmatch(path.name)) and int(shard[3]) > 1:
            raise UserError(f"{path} is one of {int(shard[3])} shards; give the folder that holds them all")
        return [path]
    if (path / WHOLE).is_file() and WHOLE not in read_index(path):
        return [path / WHOLE]
    if names := read_index(path):
        return present(path, names, f"that {INDEX} names")
    found = sorted(file for file in path.glob("*.safetensors") if file.name != ADAPTER)
    if len(found) == 1 and not SHARD.fullmatch(found[0].name):
        return found
    if found:
        shards = [match for file in found if (match := SHARD.fullmatch(file.name))]
        wholes = {(match[1], len(match[2]), match[3]) for match in shards}
        if len(shards) == len(found) and len(wholes) == 1 and int(shards[0][3]) < MOST_SHARDS:
            ((stem, digits, count),) = wholes
            names = [f"{stem}-{i + 1:0{digits}d}-of-{count}.safetensors" for i in range(int(count))]
            return present(path, names, "of a checkpoint without an index")
        some = ", ".join(file.name for file in found[:3])
        raise UserError(
            f"{path} has {len(found)} safetensors files and no {INDEX}; name one of them ({some}, ...) if it is a "
            "whole checkpoint, or leave only the shards of one there"
        )
    pickled = sorted(file.name for file in path.glob("*") if file.suffix in PICKLED)
    if pickled:
        raise UserError(f"{path} has {pickled[0]} and no safetensors: {CONVERT}")
    if quantised := sorted(file.name for file in path.glob("*.gguf")):
        raise UserError(f"{path} has {quantised[0]} and no safetensors: GGUF is quantised; give what it was made from")
    raise UserError(f"there are no safetensors in {path}; is this the folder you meant?")


def read_index(folder: Path) -> list[str]:
    """The names of the shards in the index of a folder, none where it has no index.

    Raises UserError if it is damaged, or names what is no safetensors file of that folder.
    """
    path = folder / INDEX
    if not path.is_file():
        return []
    named = read_json(path).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise UserError(f"{path} is damaged: it has no `weight_map`; copy it again from where it came")
    names = sorted(set(named.values()))
    for name in names:
        if Path(name).name != name or "\\" in name or "\0" in name:
            raise UserError(f"{path} names the shard {name!r}, and a shard stands in the folder of its index")
        if Path(name).suffix in PICKLED:
            raise UserError(f"{path} names the shard {name}: {CONVERT}")
        if not name.endswith(".safetensors"):
            raise UserError(f"{path} names the shard {name!r}, which is no safetensors file; copy it again")
    return names


def present(folder: Path, names: list[str], which: str) -> list[Path]:
    """The files of these names. Raises UserError saying how many are missing, and which first."""
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise UserError(
            f"{len(absent)} of {len(names)} shards {which} are missing from {folder}, {absent[0]} first; "
            "fetch them again"
        )
    return [folder / name for name in names]


@contextlib.contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A safetensors file, mapped into memory until the block ends. Raises UserError if it is damaged or no such."""
    try:
        with safe_open(file, "pt") as found:
            yield found
    except (SafetensorError, OSError) as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: Exception) -> UserError:
    """What to say of a safetensors file that cannot be read."""
    what = seems(file)
    if file.is_symlink() and not file.exists():
        return UserError(f"{file} is a link to {os.readlink(file)}, which is not there; fetch the file itself")
    if file.is_dir():
        return UserError(f"{file} is a folder and no safetensors file; give the one that is in it, or fetch it again")
    if what is None:
        why = str(error).partition("\n")[0]
        return UserError(f"{file} is damaged or not safetensors ({why}); copy it again from where it came")
    return UserError(f"{file} is damaged or not safetensors: {what}")


def read_header(file: Path) -> dict[str, Stored]:
    """What a safetensors file holds, without its weights."""
    with opened(file) as found:
        slices = {name: found.get_slice(name) for name in found.keys()}  # noqa: SIM118  # it is no mapping
        return {name: Stored(file, tuple(part.get_shape()), part.get_dtype(), name) for name, part in slices.items()}


def differ(one: Stored, other: Stored) -> bool:
    """Whether two tensors hold other numbers, an adapter's among them; read in pieces of at most 64 MiB."""
    if one.shape != other.shape or one.factors != other.factors or not {one.dtype, other.dtype} <= DTYPES.keys():
        return True
    wide = torch.promote_types(DTYPES[one.dtype], DTYPES[other.dtype])
    rows = one.shape[0] if one.shape else 0
    step = max(1, rows * PORTION_BYTES // max(1, one.bytes, other.bytes))
    for start in range(0, max(rows, 1), step):
        with opened(one.file) as first, opened(other.file) as second:
            rest = slice(start, start + step) if one.shape else ...
            a, b = first.get_slice(one.name)[rest], second.get_slice(other.name)[rest]
            if not torch.equal(a.to(wide), b.to(wide)):
                return True
    return False

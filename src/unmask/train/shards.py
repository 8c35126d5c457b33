"""Tensors in numbered files, each written in one go: what a long preparation keeps, and takes up where it was."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from unmask.core.errors import UserError
from unmask.core.files import replacing
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
            meta = json.loads((file.metadata() or {}).get("meta", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if any(meta.get(name) != value for name, value in expected.items()):
            raise ValueError(f"it says {meta}")
        yield tensors, meta
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it, and it is made again") from error

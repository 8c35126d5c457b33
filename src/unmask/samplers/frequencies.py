"""How often each token occurs in a corpus, as a small file."""

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from unmask.core.errors import UserError
from unmask.core.files import read_json, write_json


def write_counts(path: Path, counts: Tensor) -> None:
    """Write how often each token occurs (long [V]) as `{"counts": [...]}`."""
    write_json(path, {"counts": counts.tolist()})


@lru_cache(maxsize=8)
def read_log_frequencies(path: str) -> Tensor:
    """float64 [V]: log of (count + 1) / (sum of counts + V), so that no token is impossible.

    `path` holds `{"counts": [...]}`, a whole number of at least 0 for every token. Raises UserError naming the file.
    """
    counts = read_json(Path(path)).get("counts")
    if not isinstance(counts, list) or not counts:
        raise UserError(f'{path} has no counts: write {{"counts": [...]}}, a number for each token of the vocabulary')
    for token, count in enumerate(counts):
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise UserError(f"{path}: the count of token {token} must be a whole number of at least 0, got {count}")
    smoothed = torch.tensor(counts, dtype=torch.float64) + 1
    return (smoothed / smoothed.sum()).log()

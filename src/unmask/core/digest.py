"""What tells two things apart: a sha256 of what they are made of."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass

import torch
from torch import nn


def text_digest(text: str) -> str:
    """Sixteen hex digits of the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest(value: object) -> str:
    """sha256 of what a sampler or a network is made of: weights, options, nested in any way.

    Functions count by name only. The device does not matter.
    """
    state = hashlib.sha256()
    _feed(state.update, value)
    return state.hexdigest()


def _feed(update: Callable[[bytes], None], value: object) -> None:
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        update(f"{value.dtype}{list(value.shape)}".encode())
        update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    elif isinstance(value, nn.Module):
        _feed(update, [type(value).__qualname__, getattr(value, "config", None), dict(value.state_dict())])
    elif is_dataclass(value) and not isinstance(value, type):
        told = [f for f in fields(value) if "since" not in f.metadata or getattr(value, f.name) != f.default]
        _feed(update, [type(value).__qualname__, {f.name: getattr(value, f.name) for f in told}])
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            _feed(update, (str(key), value[key]))
    elif isinstance(value, list | tuple):
        update(f"({len(value)}".encode())
        for item in value:
            _feed(update, item)
    elif callable(value):
        update(f"{getattr(value, '__qualname__', type(value).__qualname__)};".encode())
    else:
        update(f"{type(value).__name__}:{value!r};".encode())

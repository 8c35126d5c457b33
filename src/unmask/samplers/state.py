"""A sampler's state as rows: any nest of tensors whose first axis is the row."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from operator import attrgetter, itemgetter
from typing import Any

import torch
from torch import Tensor

from unmask.samplers.base import State


def map_tensors(function: Callable[..., Tensor], state: State, *others: State) -> State:
    """Apply `function` to the tensors of `state` (and those that stand in the same place in `others`).

    Goes into tuples, NamedTuples, lists, dicts and dataclasses; anything else must not depend on the row and
    is kept as `state` has it.
    """

    def at(place: Callable[[Any], Any]) -> Any:
        return map_tensors(function, place(state), *map(place, others))

    if isinstance(state, Tensor):
        return function(state, *others)
    if is_dataclass(state) and not isinstance(state, type):
        return replace(state, **{f.name: at(attrgetter(f.name)) for f in fields(state)})
    if isinstance(state, dict):
        return {key: at(itemgetter(key)) for key in state}
    if isinstance(state, tuple | list):
        parts = [at(itemgetter(i)) for i in range(len(state))]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    return state


def take_rows(state: State, rows: Tensor) -> State:
    """The given rows (long or bool index) of a state: what `Canvas.take` does to a canvas."""
    return map_tensors(lambda tensor: tensor[rows], state)


def where_rows(chosen: Tensor, state: State, other: State) -> State:
    """Row by row `state` where `chosen` (bool [B]), else `other`."""

    def pick(one: Tensor, two: Tensor) -> Tensor:
        return torch.where(chosen.reshape(-1, *[1] * (one.dim() - 1)), one, two)

    return map_tensors(pick, state, other)

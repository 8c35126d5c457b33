"""A sampler's state as rows: any nest of tensors whose first axis is the row."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from operator import attrgetter, itemgetter
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from unmask.samplers.base import State


@runtime_checkable
class HasRows(Protocol):
    """A part of a state that has rows but is no tensor with the row first."""

    def take_rows(self, rows: Tensor) -> Self:
        """The given rows (long or bool index)."""
        ...

    def where_rows(self, chosen: Tensor, other: Self) -> Self:
        """Row by row this one where `chosen` (bool [B]), else `other`."""
        ...


def map_rows(function: Callable[..., Any], state: State, *others: State) -> State:
    """Apply `function` to what has rows in `state` (and what stands in the same place in `others`).

    That is every tensor and every `HasRows`. Goes into tuples, NamedTuples, lists, dicts and dataclasses; anything
    else must not depend on the row and is kept as `state` has it.
    """

    def at(place: Callable[[Any], Any]) -> Any:
        return map_rows(function, place(state), *map(place, others))

    if state is None:
        return None
    if isinstance(state, Tensor | HasRows):
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
    return map_rows(lambda part: part[rows] if isinstance(part, Tensor) else part.take_rows(rows), state)


def where_rows(chosen: Tensor, state: State, other: State) -> State:
    """Row by row `state` where `chosen` (bool [B]), else `other`."""

    def pick(one: Any, two: Any) -> Any:
        if not isinstance(one, Tensor):
            return one.where_rows(chosen, two)
        return torch.where(chosen.reshape(-1, *[1] * (one.dim() - 1)), one, two)

    return map_rows(pick, state, other)

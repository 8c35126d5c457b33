"""A split as a read-only sequence that makes each example when it is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

from unmask.tasks.base import Example


@dataclass(frozen=True)
class Lazy(Sequence[Example]):
    """`make(i)` for i in 0..length-1; slices are lists. Nothing is kept."""

    make: Callable[[int], Example]
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        chosen = range(self.length)[index]  # resolves negative indices, raises IndexError outside
        return [self.make(i) for i in chosen] if isinstance(chosen, range) else self.make(chosen)

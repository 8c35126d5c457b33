"""The records of one sampler, budget and seed as numbers alone: a million of them fit in memory."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from unmask.evaluate.records import Record

Cell = tuple[str, int, int]  # sampler, budget, seed


class Judged(NamedTuple):
    """What a comparison needs of a record."""

    prompt: str
    reference: str | None
    correct: bool


class Tally:
    """One cell. A record of an example that is there already takes the place of the earlier one."""

    def __init__(self, sampler: str, budget: int, seed: int) -> None:
        self.sampler, self.budget, self.seed = sampler, budget, seed
        self.orders: dict[str | None, None] = {}  # an ordered set: of learned orders, None for a heuristic
        self.again = 0  # records that took the place of another
        self._place: dict[str, int] = {}
        self._prompts: list[str] = []
        self._references: list[str | None] = []
        self._correct = bytearray()
        self.steps, self.nfe, self.content = array("q"), array("q"), array("q")  # of each
        self._seconds = array("d")

    def add(self, record: Record, texts: Callable[[Any, Any], Any] = lambda text, same: text) -> None:
        """Count a record in. texts: gives, for a text, the one like it that is to be held in its place."""
        self.orders[record.order] = None
        place = self._place.get(record.id)
        if place is None:
            self._place[texts(record.id, record.id)] = len(self._prompts)
            self._prompts.append(texts(record.prompt, record.prompt))
            self._references.append(texts(record.reference, record.reference))
            self._correct.append(record.correct)
            self._seconds.append(record.seconds)
            self.steps.append(record.steps)
            self.nfe.append(record.nfe)
            self.content.append(record.content)
            return
        self.again += 1
        self._prompts[place], self._references[place] = record.prompt, record.reference
        self._correct[place], self._seconds[place] = record.correct, record.seconds
        self.steps[place], self.nfe[place], self.content[place] = record.steps, record.nfe, record.content

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Tally":
        """Of records of one cell, at least one."""
        first, *rest = records
        found = cls(first.sampler, first.budget, first.seed)
        for record in (first, *rest):
            found.add(record)
        return found

    @property
    def cell(self) -> Cell:
        """Which one it is."""
        return self.sampler, self.budget, self.seed

    @property
    def learned(self) -> bool:
        """Whether a learned order wrote the texts: the first does say so."""
        return next(iter(self.orders)) is not None

    @property
    def right(self) -> int:
        """How many are right."""
        return sum(self._correct)

    @property
    def each_seconds(self) -> Sequence[float]:
        """Of each, its share of its batch's wall time."""
        return self._seconds

    @property
    def seconds(self) -> float:
        """Of all together."""
        return sum(self._seconds)

    def __len__(self) -> int:
        return len(self._prompts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __contains__(self, name: object) -> bool:
        return name in self._place

    def __getitem__(self, name: str) -> Judged:
        place = self._place[name]
        return Judged(self._prompts[place], self._references[place], bool(self._correct[place]))


class Tallies:
    """All cells of a file, in the order of their first records. Texts that stand in many of them are held once."""

    def __init__(self) -> None:
        self.cells: dict[Cell, Tally] = {}
        self._texts: dict[Any, Any] = {}

    def add(self, record: Record) -> Tally:
        """Count a record in; the cell it belongs to."""
        cell = record.sampler, record.budget, record.seed
        found = self.cells.get(cell)
        if found is None:
            found = self.cells[cell] = Tally(*cell)
        found.add(record, self._texts.setdefault)
        return found

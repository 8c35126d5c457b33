"""Sums by themselves: a drill for denoisers, and the plainest task with an order worth learning.

One example:
    prompt    "46-36, 7*6, 45/9"
    response  "<<46-36=10>> <<7*6=42>> <<45/9=5>> #### 5"
    answer    "5"
Three or four equations that do not depend on each other; the answer is the last result. Numbers are as in
`wordprob`: whole, 1 to 50, factors and divisors 2 to 9. Endless and seeded; the splits differ in their seeds only.
Mixed into a fit (`unmask fit --mix arithmetic=0.4`) it teaches the arithmetic that word problems show too rarely.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unmask.core.errors import UserError
from unmask.tasks.base import ENDLESS, Example, check_split, extract_final
from unmask.tasks.sequence import Lazy

LARGEST = 50


def equation(draw: random.Random) -> tuple[str, int]:
    """An expression and its result, both sides within 1..LARGEST."""
    kind = draw.choice("++--*/3")
    if kind == "+":
        total = draw.randint(2, LARGEST)
        first = draw.randint(1, total - 1)
        return f"{first}+{total - first}", total
    if kind == "-":
        first = draw.randint(2, LARGEST)
        second = draw.randint(1, first - 1)
        return f"{first}-{second}", first - second
    if kind == "3":
        total = draw.randint(3, LARGEST)
        low, high = sorted(draw.sample(range(1, total), 2))
        if draw.random() < 0.5:
            return f"{low}+{high - low}+{total - high}", total
        return f"{total}-{low}-{high - low}", total - high
    factor = draw.randint(2, 9)
    other = draw.randint(1, LARGEST // factor)
    if kind == "/":
        return f"{factor * other}/{factor}", other
    pair = (factor, other) if draw.random() < 0.5 else (other, factor)
    return f"{pair[0]}*{pair[1]}", factor * other


@dataclass(frozen=True)
class Arithmetic:
    """Drills without a story. See the head of this file."""

    name: str = "arithmetic"
    splits: tuple[str, ...] = ("train", "validation", "test")
    response_length: int = 56

    def examples(self, split: str) -> Sequence[Example]:
        """Example i of a split is a pure function of both."""
        check_split(split, self)

        def make(index: int) -> Example:
            draw = random.Random(f"arithmetic/v1/{split}/{index}")
            drawn = [equation(draw) for _ in range(draw.randint(3, 4))]
            prompt = ", ".join(expression for expression, _ in drawn)
            written = " ".join(f"<<{expression}={result}>>" for expression, result in drawn)
            answer = str(drawn[-1][1])
            return Example(f"arithmetic/{split}/{index}", prompt, f"{written} #### {answer}", answer)

        return Lazy(make, ENDLESS)

    def extract(self, text: str) -> str | None:
        """What follows the last `####`."""
        return extract_final(text)

    def correct(self, text: str, example: Example) -> bool:
        """Whether the final answer is the right one."""
        return self.extract(text) == example.answer


def load(data: str | Path | None) -> Arithmetic:
    """The task. Raises UserError if given data: it makes its own."""
    if data is not None:
        raise UserError(f"task `arithmetic` makes its own problems and reads no data: leave out `{data}`")
    return Arithmetic()

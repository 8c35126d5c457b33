"""Arithmetic word problems made on the spot: offline, endless, seeded.

    prompt    "Lily packs 72 limes into bags of 9. She sells each bag for 4 dollars. Lily has 14 cousins.
               How many dollars does she get for all the bags?"
    response  "<<72/9=8>> <<8*4=32>> #### 32"
    answer    "32"

Two to five operations, in a chain or with branches that meet; all numbers and results are whole and in 1..50.
About a third of the problems carry a sentence with a number that does not matter. The response is one of the
equally likely ways to write the solution down (`wordprob_writing`): `<<4*8=32>>` would do as well. The task
`wordprob-plain` has the same problems, each solution written in the order in which the text makes its steps possible.

Example i of a split is a pure function of (split, i). A hash of (template, its numbers in ascending order)
says which of train, validation and test may use these numbers, so the splits share none; `test-templates` has
stories that none of the others has.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

from unmask.core.errors import UserError
from unmask.tasks.base import ENDLESS, Example, check_split, extract_final
from unmask.tasks.sequence import Lazy
from unmask.tasks.wordprob_templates import (
    FOODS,
    HE,
    HELD_OUT,
    ITEMS,
    PARTS,
    PERSONAL_DISTRACTORS,
    PLACES,
    PLAIN_DISTRACTORS,
    SEEN,
    SHE,
    TIMES,
    Distractor,
    Template,
)
from unmask.tasks.wordprob_writing import Step, rearranged, sequence

VERSION = "v1"  # of the problems
WRITING = "v1"  # of how their solutions are written
LARGEST = 50  # of any number that matters: small enough to be learned on two CPU cores
DISTRACTED = 0.35  # share of problems with a sentence that does not matter
BUCKETS = {
    "train": range(90),
    "validation": range(90, 95),
    "test": range(95, 100),
    "test-templates": range(100),
}
_MOST_TRIES = 100_000  # far above what any template needs; a template that needs more is a bug

Word = TypeVar("Word")


class Story(NamedTuple):
    """A template ready to be filled."""

    template: Template
    sentences: tuple[str, ...]  # format strings; the last one is the question
    steps: tuple[Step, ...]
    ranges: dict[str, tuple[int, int]]  # of each number of the template
    literals: dict[str, int]  # numbers that stand in the steps themselves
    distractors: tuple[Distractor, ...]


class Problem(NamedTuple):
    """A filled story, with what it was made of."""

    story: Story
    numbers: dict[str, int]
    distractor: Distractor | None
    question: str
    plain: str  # the response in the one way of `wordprob-plain`
    response: str  # in one of the ways of `wordprob`
    answer: str


def parse(template: Template) -> Story:
    """Split a template into sentences, steps and ranges, and find the distractors that fit it."""
    text = re.sub(r"{(\w+):(\w+)}", r"{\1_\2}", template.text)
    steps = tuple(
        Step(tuple(re.split(r"[-+*/]", step)), tuple(re.findall(r"[-+*/]", step)))
        for step in template.steps.split("; ")
    )
    ranges = {}
    for item in template.ranges.split(", "):
        name, low, high = re.fullmatch(r"(\w) (\d+)-(\d+)", item).groups()  # type: ignore[union-attr]
        ranges[name] = _within(int(low), int(high))
    literals = {x: int(x) for step in steps for x in step.operands if x.isdigit()}
    pool = PLAIN_DISTRACTORS + (PERSONAL_DISTRACTORS if "{name}" in text else ())
    return Story(
        template=template,
        sentences=tuple(re.split(r"(?<=\.) ", text)),
        steps=steps,
        ranges=ranges,
        literals=literals,
        distractors=tuple(d for d in pool if not any(word in text.lower() for word in d.clashes)),
    )


def _within(low: int, high: int) -> tuple[int, int]:
    """A range of a template, kept to 1..LARGEST; one that starts high is moved down."""
    return (min(low, LARGEST // 3), min(high, LARGEST))


def solve(steps: Sequence[Step], numbers: dict[str, int]) -> list[str] | None:
    """The steps as `<<a+b=c>>`, or None if a result is not a whole number in 1..50."""
    scope = dict(numbers)
    written = []
    for position, (operands, operators) in enumerate(steps, start=1):
        result = scope[operands[0]]
        expression = str(result)
        for operator, operand in zip(operators, operands[1:], strict=True):
            value = scope[operand]
            if operator == "+":
                result += value
            elif operator == "-":
                result -= value
            elif operator == "*":
                result *= value
            else:
                result, remainder = divmod(result, value)
                if remainder:
                    return None
            if not 1 <= result <= LARGEST:
                return None
            expression += f"{operator}{value}"
        scope[f"r{position}"] = result
        written.append(f"<<{expression}={result}>>")
    return written


def bucket(key: str, numbers: dict[str, int]) -> int:
    """0..99: decides the split; the order of the numbers does not matter."""
    return zlib.crc32(f"{key}:{sorted(numbers.values())}".encode()) % 100


# Only Random.random() is drawn from: the language fixes its stream, but not that of choice() and randrange().
def _pick(rng: Random, choices: Sequence[Word]) -> Word:
    return choices[int(rng.random() * len(choices))]


def _pick_others(rng: Random, choices: Sequence[Word], count: int) -> list[Word]:
    """`count` different ones, in random order."""
    left = list(choices)
    return [left.pop(int(rng.random() * len(left))) for _ in range(count)]


def _integer(rng: Random, low: int, high: int) -> int:
    return low + int(rng.random() * (high - low + 1))


def _words(rng: Random) -> dict[str, str]:
    """People and things for one problem."""
    name, other, third = _pick_others(rng, HE + SHE, 3)
    he, him, his = ("he", "him", "his") if name in HE else ("she", "her", "her")
    item, item2, spare = _pick_others(rng, ITEMS, 3)
    return {
        "name": name,
        "other": other,
        "third": third,
        "he": he,
        "him": him,
        "his": his,
        "He": he.capitalize(),
        "item": item,
        "item2": item2,
        "spare": spare,
        "food": _pick(rng, FOODS),
        "place": _pick(rng, PLACES),
    }


def write(steps: Sequence[Step], numbers: dict[str, int], rng: Random) -> list[str]:
    """The steps as `<<a+b=c>>` in one of their equivalent ways, all equally likely."""
    rearrangements = [rearranged(step, rng) for step in steps]
    # where a rearrangement leaves 1..50 half way (5-9+8), all stay as they were
    written = solve(rearrangements, numbers) or solve(steps, numbers)
    assert written is not None
    return [written[number] for number in sequence(steps, rng)]


def _numbers(rng: Random, story: Story, allowed: range) -> tuple[dict[str, int], list[str]]:
    """Draw until the numbers fall into an allowed bucket and all results are whole and small."""
    for _ in range(_MOST_TRIES):
        numbers = {name: _integer(rng, low, high) for name, (low, high) in story.ranges.items()}
        if bucket(story.template.key, numbers) in allowed:
            steps = solve(story.steps, numbers | story.literals)
            if steps is not None:
                return numbers, steps
    raise AssertionError(f"template {story.template.key} has next to no valid numbers")


STORIES = {
    **dict.fromkeys(("train", "validation", "test"), tuple(parse(template) for template in SEEN)),
    "test-templates": tuple(parse(template) for template in HELD_OUT),
}


def problem(split: str, index: int, kind: str = "wordprob", stories: Sequence[Story] | None = None) -> Problem:
    """Problem `index` of a split; `kind` and `stories` are those of another task of this shape."""
    rng = Random(f"{kind}/{VERSION}/{split}/{index}")
    story = _pick(rng, STORIES[split] if stories is None else stories)
    numbers, steps = _numbers(rng, story, BUCKETS[split])
    slots: dict[str, str | int] = {**_words(rng), **numbers}
    if "k" in numbers:
        slots["k_times"], slots["k_part"] = TIMES[numbers["k"]], PARTS[numbers["k"]]
    sentences = list(story.sentences)
    distractor = None
    if rng.random() < DISTRACTED:
        distractor = _pick(rng, story.distractors)
        sentences.insert(int(rng.random() * len(sentences)), distractor.text)  # never after the question
        slots["x"] = _integer(rng, *distractor.range)
    question = " ".join(sentences).format_map(slots)
    answer = steps[-1].rpartition("=")[2].removesuffix(">>")
    plain = f"{' '.join(steps)} #### {answer}"
    style = Random(f"{kind}/{VERSION}/{split}/{index}/writing {WRITING}")
    written = f"{' '.join(write(story.steps, numbers | story.literals, style))} #### {answer}"
    return Problem(story, numbers, distractor, question, plain, written, answer)


@dataclass(frozen=True)
class WordProblems:
    """The task; see the module for an example."""

    name: str = "wordprob"
    plain: bool = False  # write every solution in the one way of the text
    splits: tuple[str, ...] = tuple(BUCKETS)
    response_length: int = 56  # five steps of ten tokens, `####`, two digits and the end make 54
    stories: tuple[Story, ...] | None = None  # of another task of this shape (`wordprob_one_step`)

    def examples(self, split: str) -> Sequence[Example]:
        """An endless split."""
        check_split(split, self)

        def make(index: int) -> Example:
            made = problem(split, index) if self.stories is None else problem(split, index, self.name, self.stories)
            response = made.plain if self.plain else made.response
            return Example(f"{self.name}/{split}/{index}", made.question, response, made.answer)

        return Lazy(make, ENDLESS)

    def extract(self, text: str) -> str | None:
        """What follows the last `####`."""
        return extract_final(text)

    def correct(self, text: str, example: Example) -> bool:
        """Whether the final answer is the right one; the steps are not looked at."""
        return extract_final(text) == example.answer


def load(data: str | Path | None) -> WordProblems:
    """The task; it reads no data, so `data` must be None."""
    return load_into(WordProblems(), data)


def load_plain(data: str | Path | None) -> WordProblems:
    """The same problems with solutions written in one way; it reads no data either."""
    return load_into(WordProblems("wordprob-plain", plain=True), data)


def load_into(task: WordProblems, data: str | Path | None) -> WordProblems:
    """The task as it is. Raises UserError if there are data: it makes its own."""
    if data is not None:
        raise UserError(f"task `{task.name}` makes its own problems and reads no data: leave out `{data}`")
    return task

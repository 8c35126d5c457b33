"""Word problems of one step: what `wordprob`, whose stories have two to five, hardly ever asks.

    prompt    "Ana has 3 pens and buys 4 more. How many pens does Ana have now?"
    response  "<<3+4=7>> #### 7"
    answer    "7"

A task of its own, so that `wordprob` and what was learned and measured on it stay what they are. To teach a denoiser
both: `unmask fit --preset wordprob --mix arithmetic=0.4 wordprob-one-step=0.1`. People, things, numbers, splits and the
sentences that do not matter are those of `wordprob`; there is no split of other stories.
"""

from pathlib import Path

from unmask.tasks.wordprob import WordProblems, load_into, parse
from unmask.tasks.wordprob_templates import Template

NAME = "wordprob-one-step"
_ONE = (
    Template(
        "one-has-and-buys",
        "{name} has {a} {item} and buys {b} more. How many {item} does {name} have now?",
        "a+b",
        "a 2-40, b 2-40",
    ),
    Template(
        "one-had-and-gave",
        "{name} had {a} {item} and gave {b} of them to {other}. How many {item} does {name} have now?",
        "a-b",
        "a 4-50, b 2-40",
    ),
    Template(
        "one-boxes",
        "{name} fills {a} boxes with {b} {item} each. How many {item} does {name} have?",
        "a*b",
        "a 2-9, b 2-25",
    ),
    Template(
        "one-shared",
        "{name} shares {a} {food} equally among {b} friends. How many {food} does each friend get?",
        "a/b",
        "a 4-50, b 2-9",
    ),
    Template(
        "one-together",
        "{name} has {a} {item} and {other} has {b} {item}. How many {item} do they have together?",
        "a+b",
        "a 2-40, b 2-40",
    ),
    Template(
        "one-difference",
        "{name} picked {a} {food} and {other} picked {b}. How many more {food} did {name} pick than {other}?",
        "a-b",
        "a 4-50, b 2-40",
    ),
    Template(
        "one-cost",
        "One of the {item} costs {a} dollars. How many dollars do {b} of them cost?",
        "a*b",
        "a 2-9, b 2-25",
    ),
    Template(
        "one-times-as-many",
        "{other} has {a} {item}. {name} has {k:times} as many {item} as {other}. How many {item} does {name} have?",
        "a*k",
        "a 2-25, k 2-5",
    ),
    Template(
        "one-part",
        "{name} has {a} {food} and eats {k:part} them. How many {food} does {he} eat?",
        "a/k",
        "a 4-50, k 2-5",
    ),
    Template(
        "one-left",
        "There are {a} people in the {place}, and {b} go home. How many people are left in the {place}?",
        "a-b",
        "a 4-50, b 2-40",
    ),
)
STORIES = tuple(parse(template) for template in _ONE)


def load(data: str | Path | None) -> WordProblems:
    """The task; it reads no data, so `data` must be None."""
    task = WordProblems(NAME, splits=("train", "validation", "test"), stories=STORIES)
    return load_into(task, data)

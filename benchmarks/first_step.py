"""How much the bundled denoiser knows before it has written anything.

    python benchmarks/first_step.py docs/records/first-step

Validation problems of `wordprob`, all positions written in one step and one position per step (`top-prob`): how many
answers are right, and what share of the tokens the first step already writes as the slow decode does. Temperature 0.
"""

import json
import sys
from pathlib import Path

import unmask
from unmask.evaluate.records import provenance

COUNT = 400
SAMPLER = "top-prob"


def main(folder: Path) -> None:
    """Measure, and write record.json."""
    denoiser, task = unmask.load_denoiser("wordprob"), unmask.make_task("wordprob")
    examples = [task.examples("validation")[number] for number in range(COUNT)]
    prompts = [example.prompt for example in examples]
    first, slow = (unmask.decode(denoiser, prompts, sampler=SAMPLER, budget=budget) for budget in (1, 56))
    right = [
        sum(task.correct(answer.text or "", example) for answer, example in zip(answers, examples, strict=True))
        for answers in (first, slow)
    ]
    pairs = [(one.tokens, other.tokens, other.content) for one, other in zip(first, slow, strict=True)]
    content = [[a == b for a, b in zip(one[:count], other, strict=False)] for one, other, count in pairs]
    every = [[a == b for a, b in zip(one, other, strict=True)] for one, other, _ in pairs]
    record = {
        "settings": {"task": "wordprob", "split": "validation", "count": COUNT, "sampler": SAMPLER},
        "answers_right": {"one step": right[0] / COUNT, "one position per step": right[1] / COUNT},
        "tokens_as_in_the_slow_decode": {"content": share(content), "end tokens included": share(every)},
        **provenance("cpu"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def share(same: list[list[bool]]) -> float:
    """Of all tokens of all texts."""
    return sum(map(sum, same)) / sum(map(len, same))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Stories of one step: true, in splits that share no numbers, and apart from `wordprob`."""

import re

from unmask.tasks import make_task
from unmask.tasks.wordprob import STORIES as LONGER
from unmask.tasks.wordprob import problem
from unmask.tasks.wordprob_one_step import STORIES

COUNT = 400


def test_every_story_has_one_equation_that_is_true_and_answers() -> None:
    task = make_task("wordprob-one-step")
    for split in task.splits:
        for number in range(COUNT):
            example = task.examples(split)[number]
            found = re.fullmatch(r"<<(\d+)([-+*/])(\d+)=(\d+)>> #### (\d+)", example.response)
            assert found is not None, example
            a, sign, b, result, answer = found.groups()
            assert result == answer == example.answer
            exact = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b), "/": int(a) / int(b)}
            assert exact[sign] == int(result)
            assert task.correct(example.response, example)


def test_splits_share_no_numbers_and_no_story_is_one_of_wordprob() -> None:
    task = make_task("wordprob-one-step")
    prompts = {split: {task.examples(split)[n].prompt for n in range(COUNT)} for split in task.splits}
    assert not prompts["train"] & prompts["test"]
    assert not prompts["train"] & prompts["validation"]
    keys = {story.template.key for stories in LONGER.values() for story in stories}
    assert not keys & {story.template.key for story in STORIES}
    used = {problem("train", n, task.name, STORIES).story.template.key for n in range(COUNT)}
    assert used == {story.template.key for story in STORIES}

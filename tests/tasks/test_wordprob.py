"""The generated problems: true equations, from numbers that the question gives, in splits that share none."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from random import Random

import pytest

from unmask.core.errors import UserError
from unmask.tasks import make_task
from unmask.tasks import wordprob_templates as templates
from unmask.tasks.base import Example, rough_length
from unmask.tasks.wordprob import (
    BUCKETS,
    DISTRACTED,
    STORIES,
    Problem,
    Story,
    bucket,
    parse,
    problem,
    solve,
    write,
)
from unmask.tasks.wordprob_templates import HELD_OUT, SEEN, Template
from unmask.tasks.wordprob_writing import Step, rearranged

COUNT = {"train": 3000, "validation": 1000, "test": 1000, "test-templates": 1000}
WORDS = {
    "half": 2,
    "Half": 2,
    "twice": 2,
    "third of": 3,
    "three times": 3,
    "quarter of": 4,
    "four times": 4,
    "fifth of": 5,
    "five times": 5,
    "dozen": 12,
}
GOLDEN = {  # of questions with their plain responses, and with the responses as written
    "train": (
        "22e70996d2da6a49a5b4b91f48c799966fe8c4d01e74d385bb24b24a569fd661",
        "5cc0eac9693f78b01f291f1c446e306f8a8cce6664b51cec020e4330e58d11ee",
    ),
    "validation": (
        "98bd54d2fc33cdeedea33c2d62c4a66197436b9fb874e68ec149ba486aee0898",
        "6b110cf099f3c358c29afbbd73264fbf7a7a3a90759f45d3a985a9c41a001747",
    ),
    "test": (
        "3964882e766bad009299f1a6f92100779df3027d7617df81203fc0b067205be4",
        "ba3f1a9ddb1a9c9ee56cd288299fba5ac1e1bea67b3899f9da4d678a5f623c7a",
    ),
    "test-templates": (
        "f869297c68bebf3b6cbfca0f86bf025cdc34bdbc7ebb78265716633408fc7e06",
        "9380d44bed2563c37ff645e185ddcbbb8eec947874b63c3fccaad50cd8980eaf",
    ),
}


@pytest.fixture(scope="module")
def problems() -> dict[str, list[Problem]]:
    return {split: [problem(split, index) for index in range(count)] for split, count in COUNT.items()}


@pytest.fixture(scope="module")
def everything(problems: dict[str, list[Problem]]) -> list[Problem]:
    return [made for split in problems for made in problems[split]]


def operations(story: Story) -> int:
    return sum(len(step.operators) for step in story.steps)


def uses(story: Story) -> Counter[str]:
    """How often each earlier result is used."""
    return Counter(x for step in story.steps for x in step.operands if re.fullmatch(r"r\d", x))


def branches(story: Story) -> bool:
    """Whether a step combines two results that do not depend on one another."""
    below: dict[str, set[str]] = {}
    for position, step in enumerate(story.steps, start=1):
        results = [x for x in step.operands if x in below]
        if any(a not in below[b] and b not in below[a] for a in results for b in results if a != b):
            return True
        below[f"r{position}"] = set(results).union(*(below[x] for x in results))
    return False


def digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()


@pytest.mark.slow
def test_version_1_of_problems_and_of_writing_are_frozen(problems: dict[str, list[Problem]]) -> None:
    for split, (plain, written) in GOLDEN.items():
        first = problems[split][:300]
        assert digest(f"{made.question}\n{made.plain}\n" for made in first) == plain, split
        assert digest(f"{made.question}\n{made.response}\n" for made in first) == written, split


def test_example_worked_by_hand() -> None:
    for name, response in (
        ("wordprob", "<<4*2=8>> <<24+8=32>> #### 32"),
        ("wordprob-plain", "<<2*4=8>> <<8+24=32>> #### 32"),
    ):
        assert make_task(name).examples("validation")[21] == Example(
            id=f"{name}/validation/21",
            prompt="Sara is 2 years old. Oscar is four times as old as Sara. How old will Oscar be in 24 "
            "years?",
            response=response,
            answer="32",
        )


@pytest.mark.slow
def test_every_equation_is_true_and_small(everything: list[Problem]) -> None:
    for made in everything:
        assert re.fullmatch(r"(<<\d+([-+*/]\d+){1,2}=\d+>> )+#### \d+", made.response), made.response
        for expression, result in re.findall(r"<<(.*?)=(\d+)>>", made.response):
            assert eval(expression) == int(result), made.response  # both sides are digits and operators
            assert all(1 <= int(x) <= 50 for x in re.findall(r"\d+", expression))
            assert 1 <= int(result) <= 50
        assert made.response.endswith(f"={made.answer}>> #### {made.answer}")


@pytest.mark.slow
def test_every_operand_is_in_the_question_or_an_earlier_result(everything: list[Problem]) -> None:
    for made in everything:
        known = {int(x) for x in re.findall(r"\d+", made.question)}
        known |= {value for word, value in WORDS.items() if word in made.question}
        for expression, result in re.findall(r"<<(.*?)=(\d+)>>", made.response):
            assert {int(x) for x in re.findall(r"\d+", expression)} <= known, (made.question, made.response)
            known.add(int(result))


def test_every_number_of_a_template_and_every_result_is_used() -> None:
    for story in STORIES["train"] + STORIES["test-templates"]:
        operands = {x for step in story.steps for x in step.operands}
        slots = set(re.findall(r"{(\w)(?:_\w+)?}", " ".join(story.sentences)))
        assert slots == set(story.ranges), story.template.key
        assert slots <= operands, story.template.key
        assert set(uses(story)) == {f"r{i}" for i in range(1, len(story.steps))}, story.template.key


@pytest.mark.slow
def test_multiplication_has_a_small_factor_mostly(everything: list[Problem]) -> None:
    factors = [re.split(r"\*", x) for made in everything for x in re.findall(r"\d+\*\d+", made.response)]
    assert sum(min(int(a), int(b)) <= 9 for a, b in factors) > 0.97 * len(factors)


def test_template_counts() -> None:
    assert len(SEEN) >= 48
    assert len(HELD_OUT) >= 10
    keys = [template.key for template in SEEN + HELD_OUT]
    assert len(set(keys)) == len(keys)
    assert len({template.text for template in SEEN + HELD_OUT}) == len(keys)
    assert len(templates.PERSONAL_DISTRACTORS + templates.PLAIN_DISTRACTORS) >= 15
    assert len(set(templates.HE + templates.SHE)) >= 40


@pytest.mark.slow
def test_held_out_templates_are_only_in_their_split(problems: dict[str, list[Problem]]) -> None:
    seen, held_out = {template.key for template in SEEN}, {template.key for template in HELD_OUT}
    for split, made in problems.items():
        used = {each.story.template.key for each in made}
        assert used == (held_out if split == "test-templates" else seen), split


def test_operation_counts_and_shapes() -> None:
    count = Counter(operations(story) for story in STORIES["train"])
    share = {n: count[n] / len(SEEN) for n in sorted(count)}
    assert share == pytest.approx({2: 0.30, 3: 0.33, 4: 0.22, 5: 0.15}, abs=0.03)
    assert {operations(story) for story in STORIES["test-templates"]} == {2, 3, 4, 5}
    assert sum(branches(story) for story in STORIES["train"]) >= 15
    assert sum(not branches(story) for story in STORIES["train"]) >= 15
    assert any(len(step.operators) == 2 for story in STORIES["train"] for step in story.steps)


@pytest.mark.slow
def test_splits_share_no_numbers(problems: dict[str, list[Problem]]) -> None:
    used: dict[str, set[tuple[str, tuple[int, ...]]]] = defaultdict(set)
    for split, made in problems.items():
        for each in made:
            used[split].add((each.story.template.key, tuple(sorted(each.numbers.values()))))
            assert bucket(each.story.template.key, each.numbers) in BUCKETS[split]
    splits = list(used)
    for i, split in enumerate(splits):
        for other in splits[:i]:
            assert not used[split] & used[other]


def test_bucket_ranges_do_not_meet() -> None:
    ranges = [BUCKETS[split] for split in ("train", "validation", "test")]
    assert sorted(number for chosen in ranges for number in chosen) == list(range(100))
    assert bucket("x", {"a": 3, "b": 5}) == bucket("x", {"a": 5, "b": 3})


@pytest.mark.slow
def test_examples_nearly_unique(problems: dict[str, list[Problem]]) -> None:
    for split, made in problems.items():
        assert len({each.question for each in made}) > 0.97 * len(made), split


@pytest.mark.slow
def test_the_plain_response_is_a_function_of_the_question_and_the_other_is_not(everything: list[Problem]) -> None:
    answers: dict[str, str] = {}
    for made in everything:
        assert answers.setdefault(made.question, made.plain) == made.plain
    assert 0.6 < sum(made.plain != made.response for made in everything) / len(everything) < 0.8


@pytest.mark.slow
def test_both_responses_say_the_same(everything: list[Problem]) -> None:
    """The same equations but for the order of theirs and of their operands, each after what it uses."""
    for made in everything:
        one, other = (
            sorted(tuple(sorted(re.findall(r"\d+|[-+*/=]", equation))) for equation in re.findall(r"<<(.*?)>>", text))
            for text in (made.plain, made.response)
        )
        assert one == other, (made.plain, made.response)
        assert made.plain.rpartition("####")[2] == made.response.rpartition("####")[2]


def test_every_way_of_writing_is_equally_likely() -> None:
    """Two products that add up: 2 * 2 * 2 ways of operands, 2 of branches. 16 bins, chi-square within 5 sd."""
    steps = (Step(("a", "b"), ("*",)), Step(("c", "d"), ("*",)), Step(("r1", "r2"), ("+",)))
    numbers = {"a": 4, "b": 3, "c": 2, "d": 5}
    count = Counter(" ".join(write(steps, numbers, Random(f"{seed}"))) for seed in range(4000))
    assert len(count) == 16
    assert "<<5*2=10>> <<4*3=12>> <<10+12=22>>" in count
    chi_square = sum((found - 250) ** 2 / 250 for found in count.values())
    assert chi_square < 15 + 5 * (2 * 15) ** 0.5


@pytest.mark.parametrize(
    ("step", "ways"),
    [
        (Step(("a", "b"), ("-",)), {"a-b"}),
        (Step(("a", "b", "c"), ("-", "-")), {"a-b-c", "a-c-b"}),
        (Step(("a", "b", "c"), ("-", "+")), {"a-b+c", "c-b+a"}),
        (Step(("a", "b", "c"), ("+", "+")), {"a+b+c", "a+c+b", "b+a+c", "b+c+a", "c+a+b", "c+b+a"}),
        (Step(("a", "b"), ("/",)), {"a/b"}),
        (Step(("a", "b", "c"), ("*", "+")), {"a*b+c"}),
    ],
)
def test_what_may_trade_places(step: Step, ways: set[str]) -> None:
    found = set()
    for seed in range(200):
        operands, operators = rearranged(step, Random(f"{seed}"))
        found.add("".join(x + sign for x, sign in zip(operands, (*operators, ""), strict=True)))
    assert found == ways


def test_a_rearrangement_that_leaves_the_numbers_half_way_is_not_made() -> None:
    # 5-9+8 would pass through -4
    step = (Step(("a", "b", "c"), ("-", "+")),)
    numbers = {"a": 12, "b": 9, "c": 5}
    assert {write(step, numbers, Random(f"{seed}"))[0] for seed in range(50)} == {"<<12-9+5=8>>"}


@pytest.mark.slow
def test_a_third_carries_a_distractor_anywhere_but_at_the_end(problems: dict[str, list[Problem]]) -> None:
    made = problems["train"]
    share = sum(each.distractor is not None for each in made) / len(made)
    error = (DISTRACTED * (1 - DISTRACTED) / len(made)) ** 0.5
    assert abs(share - DISTRACTED) < 4 * error
    assert all(each.question.endswith("?") and each.question.count("?") == 1 for each in made)
    assert {each.distractor for each in made} - {None} == {
        *templates.PERSONAL_DISTRACTORS,
        *templates.PLAIN_DISTRACTORS,
    }


@pytest.mark.slow
def test_questions_are_compact_and_complete(everything: list[Problem]) -> None:
    lengths = [len(made.question.split()) for made in everything]
    assert max(lengths) <= 60
    assert 25 <= sum(lengths) / len(lengths) <= 45
    assert not any("{" in made.question or "}" in made.question for made in everything)
    words = {word for made in everything for word in re.findall(r"[a-z]+", made.question.lower())}
    assert len(words) <= 700


def test_response_length_bounds_every_template() -> None:
    task = make_task("wordprob")
    for template in SEEN + HELD_OUT:
        widest = " ".join(
            f"<<{re.sub('[a-z]1?[0-9]?', '99', step)}=99>>" for step in template.steps.split("; ")
        )
        assert rough_length(f"{widest} #### 99") <= task.response_length, template.key


@pytest.mark.slow
def test_every_template_has_room_in_every_split() -> None:
    # Numbers up to 50 leave the smallest templates a handful of combinations in 5 %; people and things vary too.
    made = [problem("test", index) for index in range(4000, 6000)]
    different = defaultdict(set)
    for each in made:
        different[each.story.template.key].add(tuple(each.numbers.values()))
    assert len(different) == len(SEEN)
    assert min(len(found) for found in different.values()) >= 6


def test_solve_refuses_what_is_not_whole_or_not_small() -> None:
    steps = (Step(("a", "b"), ("/",)), Step(("r1", "c"), ("-",)))
    assert solve(steps, {"a": 12, "b": 4, "c": 1}) == ["<<12/4=3>>", "<<3-1=2>>"]
    assert solve(steps, {"a": 12, "b": 5, "c": 1}) is None  # not whole
    assert solve(steps, {"a": 12, "b": 4, "c": 3}) is None  # zero
    assert solve((Step(("a", "b"), ("*",)),), {"a": 50, "b": 2}) is None  # 100
    assert solve((Step(("a", "b", "c"), ("-", "+")),), {"a": 2, "b": 5, "c": 9}) is None  # -3 on the way


def test_distractors_that_would_matter_are_left_out() -> None:
    story = parse(Template("x", "{name} is {a} years old. How old in {b} years?", "a+b", "a 2-9, b 2-9"))
    assert not any("years" in distractor.text for distractor in story.distractors)
    assert story.distractors
    nobody = parse(Template("x", "A bus has {a} seats and {b} more. How many?", "a+b", "a 2-9, b 2-9"))
    assert not any("{name}" in distractor.text for distractor in nobody.distractors)


def test_wordprob_refuses_data() -> None:
    for name in ("wordprob", "wordprob-plain"):
        with pytest.raises(UserError, match=f"`{name}` makes its own problems and reads no data"):
            make_task(name, "rows.jsonl")

"""The drills: true equations of every kind, small numbers, and mixtures that keep their shares."""

import re
from collections import Counter

import pytest

from unmask.core.errors import UserError
from unmask.tasks import make_task
from unmask.tasks.arithmetic import LARGEST
from unmask.tasks.mixed import Part, mixed


def test_equations_are_true_and_small() -> None:
    kinds: Counter[str] = Counter()
    for example in make_task("arithmetic").examples("train")[:1000]:
        equations = re.findall(r"<<(.*?)=(\d+)>>", example.response)
        assert ", ".join(expression for expression, _ in equations) == example.prompt
        for expression, result in equations:
            assert eval(expression.replace("/", "//")) == int(result)  # both sides are digits and operators
            assert all(1 <= int(x) <= LARGEST for x in re.findall(r"\d+", expression + "=" + result))
            kinds["".join(re.findall(r"\D", expression))] += 1
    assert set(kinds) == {"+", "-", "*", "/", "++", "--"}


def test_division_leaves_no_remainder() -> None:
    for example in make_task("arithmetic").examples("test")[:500]:
        for first, second in re.findall(r"(\d+)/(\d+)", example.prompt):
            assert int(first) % int(second) == 0


def test_refuses_data() -> None:
    with pytest.raises(UserError, match="reads no data"):
        make_task("arithmetic", "somewhere")


def test_mixture_keeps_its_shares_and_is_a_function_of_the_index() -> None:
    words, drills = make_task("wordprob").examples("train"), make_task("arithmetic").examples("train")
    both = mixed([Part(words, 0.7), Part(drills, 0.3)])
    sources = Counter(example.id.split("/")[0] for example in both[:2000])
    error = (0.3 * 0.7 / 2000) ** 0.5
    assert abs(sources["arithmetic"] / 2000 - 0.3) < 4 * error
    assert both[17] == mixed([Part(words, 0.7), Part(drills, 0.3)])[17]


@pytest.mark.parametrize("shares", [(0.7, 0.7), (1.5, -0.5), (1.0, 0.0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float]) -> None:
    drills = make_task("arithmetic").examples("train")
    with pytest.raises(UserError, match="sum to 1"):
        mixed([Part(drills, share) for share in shares])

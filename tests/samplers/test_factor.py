import re
from pathlib import Path

import pytest

from unmask.core.errors import UserError
from unmask.samplers import factor
from unmask.samplers.factor import Factor


def test_the_last_one_taken_is_sure_enough_for_their_number(confident):
    """Bounds for n = 1, 2, 3, 4 are .5, .667, .75, .8: the third, .7, is not sure enough."""
    assert confident([0.70, 0.95, 0.60, 0.90]).picks(Factor(), budget=4) == [1, 3]


def test_the_bounds_rise_with_the_number_and_are_included(confident):
    """Bounds 1 - .6 / (n + 1) are .7, .8, .85, .88."""
    assert confident([0.89, 0.89, 0.89, 0.89]).picks(Factor(factor=0.6), budget=4) == [0, 1, 2, 3]
    assert confident([0.86, 0.86, 0.86, 0.86]).picks(Factor(factor=0.6), budget=4) == [0, 1, 2]
    assert confident([0.65, 0.6]).picks(Factor(factor=0.6), budget=4) == [0]  # none holds: always one
    assert confident([0.75, 0.6]).picks(Factor(factor=0.75), budget=4) == [0]  # .625, .75
    assert confident([0.75, 0.75]).picks(Factor(factor=0.75), budget=4) == [0, 1]  # .75 itself is enough


def test_as_published_the_last_one_goes_with_the_one_before_it(confident):
    """Bounds .5, .667, .75: of three the third fails, and is taken along; of four the third fails and waits."""
    assert confident([0.9, 0.6, 0.8]).picks(Factor(), budget=4) == [0, 2]
    assert confident([0.9, 0.6, 0.8]).picks(Factor(published=True), budget=4) == [0, 1, 2]
    assert confident([0.9, 0.6, 0.8, 0.7]).picks(Factor(published=True), budget=4) == [0, 2]
    assert confident([0.9, 0.55]).picks(Factor(published=True), budget=4) == [0, 1], "two go together whatever they are"
    assert confident([0.55]).picks(Factor(published=True), budget=4) == [0]


def test_factor_zero_goes_one_by_one_and_a_large_one_at_once(confident):
    assert confident([0.6, 0.9, 0.7]).revealed_at(Factor(factor=0), budget=3) == [3, 1, 2]
    assert confident([0.6, 0.9, 0.7]).revealed_at(Factor(factor=9), budget=3) == [1, 1, 1]


def test_a_negative_factor_is_refused():
    with pytest.raises(UserError, match="factor must be a number of at least 0, got -1"):
        Factor(factor=-1)


def test_the_guide_shows_the_file_as_it_is():
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "add-a-sampler.md").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert Path(factor.__file__).read_text(encoding="utf-8") in shown

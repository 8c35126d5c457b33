"""How the flags of `unmask learn` become a configuration."""

import pytest

from unmask.cli.common import parse
from unmask.cli.learn import Learn, shared_out
from unmask.core.errors import UserError
from unmask.train.learn_config import LearnConfig

PRESET = LearnConfig(bound_updates=10, policy_updates=60, taught_updates=30)


@pytest.mark.parametrize(
    ("updates", "given", "expected"),
    [
        (100, {}, (10, 60, 30)),
        (20, {}, (2, 12, 6)),
        (7, {}, (1, 4, 2)),
        (50, {"bound_updates": 0}, (0, 35, 15)),
        (50, {"taught_updates": 0}, (5, 45, 0)),
    ],
)
def test_all_updates_are_shared_out_as_the_preset_shares_its_own(updates, given, expected):
    found = shared_out(updates, PRESET, given)
    assert (found["bound_updates"], found["policy_updates"], found["taught_updates"]) == expected


def test_stages_that_do_not_fit_into_all_updates_are_refused():
    with pytest.raises(UserError, match="--bound-updates must be"):
        shared_out(5, PRESET, {"bound_updates": 6})
    with pytest.raises(UserError, match="--taught-updates must be"):
        shared_out(5, PRESET, {"bound_updates": 3, "taught_updates": 3})


@pytest.mark.parametrize(
    ("words", "rules", "watched"),
    [("--preset tiny", 16, 16), ("", 200, 100), ("--preset tiny --rule-count 50", 50, 16)],
)
def test_the_preset_that_is_to_take_seconds_validates_on_few_problems(monkeypatch, words, rules, watched):
    """Picking rules on 200 problems took minutes, after twelve updates."""
    seen = {}

    def learned(denoiser, config, out, **more):
        seen.update(more)
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.cli.learn.learn_order", learned)
    command = f"--denoiser wordprob --task wordprob {words} --out nowhere".split()
    with pytest.raises(KeyboardInterrupt):
        parse(Learn, "learn", command).run()
    assert (seen["rule_count"], seen["problems"]) == (rules, watched)

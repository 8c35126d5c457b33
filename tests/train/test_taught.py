"""The third stage inside `learn`: what it moves, what it leaves, how it goes on after a crash, and how it stops."""

import json
from dataclasses import replace

import pytest
import torch

from unmask.core.errors import UserError
from unmask.orders.folder import load_order
from unmask.train import learn as module
from unmask.train import taught
from unmask.train.checkpoint import load_checkpoint
from unmask.train.learn import learn
from unmask.train.lessons import read_lesson
from unmask.train.taught import lesson_loss, round_of


def log(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def files(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def config(learn_config):
    return replace(learn_config, bound_updates=0, policy_updates=2, taught_updates=5, taught_rounds=2, taught_batches=2)


def anything_goes(*_):
    return lambda tokens, canvas: torch.ones(len(tokens), dtype=torch.bool)


@pytest.fixture
def lenient(monkeypatch):
    """Every answer counts as correct: the small denoiser knows nothing."""
    monkeypatch.setattr(taught, "task_judge", anything_goes)


def test_it_comes_last_and_leaves_nothing_behind(make_denoiser, config, tmp_path, lenient):
    learn(make_denoiser(), config, tmp_path / "run")
    entries = log(tmp_path / "run")
    assert ["imitation" in entry for entry in entries] == [False] * 2 + [True] * 5
    assert all(entry["canvases"] >= 1 for entry in entries[2:])
    assert not (tmp_path / "run" / "lessons").exists()
    assert load_order(tmp_path / "run" / "order").card["learn"]["taught_updates"] == 5


def test_a_round_has_as_many_updates_as_it_has_lessons(config):
    rounds = [round_of(update, replace(config, taught_updates=24, taught_rounds=3)) for update in range(24)]
    assert [rounds.count(r) for r in range(3)] == [4, 8, 12]
    assert rounds == sorted(rounds)
    for updates in range(3, 40):  # none is left out, and the last update belongs to the last
        few = replace(config, taught_updates=updates, taught_rounds=3)
        assert round_of(updates - 1, few) == 2
        assert {round_of(update, few) for update in range(updates)} == {0, 1, 2}


def test_the_first_round_walks_by_probability_and_the_next_by_the_policy_the_first_left(
    make_denoiser, config, tmp_path, lenient, monkeypatch
):
    seen, policies = [], []
    real, real_coins = taught.make_lesson, taught.coins_of

    def spy(clean, walker, *rest):
        seen.append((walker is taught.largest_probability, clean.row.tolist()))
        return real(clean, walker, *rest)

    def coins_of(policy):
        policies.append(policy.slope.item())
        return real_coins(policy)

    monkeypatch.setattr(taught, "make_lesson", spy)
    monkeypatch.setattr(taught, "coins_of", coins_of)
    learn(make_denoiser(), replace(config, rate=1e-2), tmp_path / "run")
    assert [by_probability for by_probability, _ in seen] == [True, True, False, False]
    assert len({tuple(rows) for _, rows in seen}) == 4, "each batch has prompts of its own"
    slope = load_order(tmp_path / "run" / "order").policy.slope.item()
    assert policies[0] == policies[1] not in (slope, torch.tensor(0.8).item())


@pytest.mark.slow
def test_the_loss_on_canvases_it_was_not_taught_falls(make_denoiser, config, tmp_path, lenient, monkeypatch):
    monkeypatch.setattr(module, "forget_lessons", lambda folder: None)
    config = replace(config, policy_updates=0, rows=8, rate=1e-2)
    before = learn(make_denoiser(), replace(config, rate=0.0), tmp_path / "before").order.policy
    after = learn(
        make_denoiser(), replace(config, taught_updates=60, taught_batches=4), tmp_path / "after"
    ).order.policy  # fmt: skip
    learn(make_denoiser(), replace(config, rate=0.0, seed=9), tmp_path / "held out")
    with torch.no_grad():
        held = [read_lesson(tmp_path / "held out" / "lessons", number, "cpu") for number in range(4)]
        was, now = (sum(lesson_loss(each, policy).item() for each in held) for policy in (before, after))
    assert now < 0.9 * was


@pytest.mark.slow
@pytest.mark.parametrize("crash", [1, 2, 3, 5, 6, 7])
def test_a_run_that_died_and_went_on_ends_as_if_it_had_not(
    make_denoiser, config, tmp_path, lenient, monkeypatch, crash_at, crash
):
    """Updates 1 and 2 are of the second stage, 3 and 4 of the first round, 5 to 7 of the second."""
    learn(make_denoiser(), config, tmp_path / "whole", checkpoint_every=2)
    crash_at(module, crash)
    with pytest.raises(KeyboardInterrupt):
        learn(make_denoiser(), config, tmp_path / "broken", checkpoint_every=2)
    monkeypatch.undo()
    monkeypatch.setattr(taught, "task_judge", anything_goes)
    learn(make_denoiser(), config, tmp_path / "broken", checkpoint_every=2)
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("walk", [1, 2, 3, 4])
def test_one_that_died_while_walking_too(make_denoiser, config, tmp_path, lenient, monkeypatch, walk):
    learn(make_denoiser(), config, tmp_path / "whole", checkpoint_every=2)
    real, seen = taught.make_lesson, []

    def dying(*args):
        seen.append(1)
        if len(seen) == walk:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(taught, "make_lesson", dying)
    with pytest.raises(KeyboardInterrupt):
        learn(make_denoiser(), config, tmp_path / "broken", checkpoint_every=2)
    learn(make_denoiser(), config, tmp_path / "broken", checkpoint_every=2)
    assert files(tmp_path / "broken") == files(tmp_path / "whole")
    assert len(seen) == 5, "each batch is walked once, but for the one it died in"


def test_a_denoiser_that_is_never_right_has_nothing_to_teach(make_denoiser, config, tmp_path):
    with pytest.raises(UserError, match="there is nothing to be taught: on all prompts"):
        learn(make_denoiser(), config, tmp_path / "run", checkpoint_every=1)
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").meta["update"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taught_rounds": 0}, "taught_rounds and taught_batches must be at least 1, got 0 and 2"),
        ({"taught_batches": 0}, "taught_rounds and taught_batches must be at least 1, got 2 and 0"),
        ({"taught_rounds": 6}, "taught_updates must be at least one a round, got 5 for 6 rounds"),
        ({"components": 2}, "the third stage teaches one set of coins"),
        ({"denoiser_update": "joint"}, "the third stage teaches one set of coins for a frozen denoiser"),
        ({"features": "here"}, "at hand: set components 1"),
        ({"teacher": "frontir"}, "Did you mean `frontier`"),
        ({"taught_updates": -1}, "updates at least 0"),
    ],
)
def test_what_it_does_not_do_is_refused_before_a_folder_is_made(make_denoiser, config, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        learn(make_denoiser(), replace(config, **change), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_without_it_its_settings_are_not_part_of_the_run(make_denoiser, config, tmp_path):
    config = replace(config, taught_updates=0)
    learn(make_denoiser(), config, tmp_path / "run")
    assert "teacher" not in json.loads((tmp_path / "run" / "run.json").read_text())
    learn(make_denoiser(), replace(config, taught_batches=7), tmp_path / "run")

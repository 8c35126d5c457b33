"""Runs of three updates in each stage: what they leave, how they go on, and how they stop."""

import json
import math
from dataclasses import replace

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.folder import load_folder
from unmask.denoisers.table import TableDenoiser
from unmask.exact.enumerate import decode_marginal
from unmask.orders.folder import load_order
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.orders.posterior import PosteriorConfig, PosteriorNetwork, paced
from unmask.samplers import DecodeRule
from unmask.tasks import make_task
from unmask.train import fit as fit_module
from unmask.train import learn as module
from unmask.train.batches import Batches
from unmask.train.checkpoint import load_checkpoint
from unmask.train.learn import (
    StageLoss,
    bound_loss,
    draw_budgets,
    frozen_scorer,
    learn,
    policy_loss,
    posterior_law,
)
from unmask.train.learn_config import LearnConfig, check


def log(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def files(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def weights_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


# ---- what a run leaves


def test_a_run_leaves_an_order_a_log_and_a_checkpoint_and_nothing_else(make_denoiser, learn_config, tmp_path):
    denoiser = make_denoiser()
    before = torch.get_rng_state()
    result = learn(denoiser, learn_config, tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before), "the global generator is never touched"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == (
        ["checkpoint.safetensors", "log.jsonl", "order", "run.json"]
    )
    loaded = load_order(result.folder)
    assert same(weights_of(loaded.policy), weights_of(result.order.policy))
    assert loaded.card["learn"]["budgets"] == [2, 4]
    entries = log(tmp_path / "run")
    assert [entry["update"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert ["elbo" in entry for entry in entries] == [True] * 3 + [False] * 3
    assert all(math.isfinite(value) for entry in entries for value in entry.values())


@pytest.mark.parametrize("tilt", [True, False])
def test_a_mixture_is_learned_as_well(make_denoiser, learn_config, tmp_path, tilt):
    config = replace(learn_config, components=2, bound_updates=0, entropy=0.0, tilt=tilt)
    result = learn(make_denoiser(), config, tmp_path / "run")
    assert load_order(result.folder).policy.config.components == 2
    assert all(math.isfinite(entry["bound"]) for entry in log(tmp_path / "run"))


@pytest.mark.slow
def test_the_same_settings_give_the_same_bytes_and_another_seed_others(make_denoiser, learn_config, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        learn(make_denoiser(), replace(learn_config, seed=seed), tmp_path / name)
    one, two, three = (files(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one["order/model.safetensors"] != three["order/model.safetensors"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_frozen_denoiser_is_left_as_it_was_to_the_last_bit(make_denoiser, learn_config, tmp_path, precision):
    denoiser = make_denoiser()
    before = weights_of(denoiser.network)
    learn(denoiser, replace(learn_config, precision=precision), tmp_path / "run")
    assert same(weights_of(denoiser.network), before)
    assert denoiser.network.embed.weight.dtype == torch.float32
    assert all(parameter.requires_grad and parameter.grad is None for parameter in denoiser.network.parameters())
    assert not (tmp_path / "run" / "denoiser").exists()


@pytest.mark.parametrize("stages", [(3, 0), (0, 3)])
def test_a_denoiser_trained_along_changes_in_either_stage_and_is_left_beside_the_order(
    make_denoiser, learn_config, tmp_path, stages
):
    denoiser = make_denoiser()
    before = weights_of(denoiser.network)
    config = replace(
        learn_config, bound_updates=stages[0], policy_updates=stages[1], denoiser_update="joint", denoiser_rate=1e-2
    )
    learn(denoiser, config, tmp_path / "run")
    after = weights_of(denoiser.network)
    assert all(not torch.equal(after[name], before[name]) for name in before)
    assert same(weights_of(load_folder(tmp_path / "run" / "denoiser").network), after)


@pytest.mark.slow
@pytest.mark.parametrize("tilt", [True, False])
def test_a_denoiser_trained_along_is_fitted_to_the_texts(make_denoiser, learn_config, tmp_path, tilt):
    """Misses alone have no gradient: the head, which no policy reads, is taught by the likelihood along the paths."""
    config = replace(
        learn_config, bound_updates=0, policy_updates=40, rows=8, tilt=tilt, denoiser_update="joint",
        denoiser_rate=1e-2, precision="bf16",
    )  # fmt: skip
    denoiser = make_denoiser()
    texts = Batches(make_task("jsonl", config.data).examples("train"), denoiser.codec, 40, 60, 160, 0).batch(0).canvas

    def loss():
        with torch.no_grad():
            seen = denoiser.network(texts)
            return -seen.log_prob(seen.from_rows(texts.tokens)).mean().item()

    before = loss()
    learn(denoiser, config, tmp_path / "run")
    assert loss() < 0.7 * before


@pytest.mark.parametrize(("stage", "learner"), [("bound", "posterior"), ("bound", "policy"), ("policy", "policy")])
def test_each_stage_moves_the_networks_it_is_for(make_denoiser, learn_config, tmp_path, stage, learner):
    few = {"bound_updates": 0, "policy_updates": 0, f"{stage}_updates": 3}
    learn(make_denoiser(), replace(learn_config, rate=0.0, **few), tmp_path / "before")
    learn(make_denoiser(), replace(learn_config, rate=1e-2, **few), tmp_path / "after")
    before, after = (
        load_checkpoint(tmp_path / name / "checkpoint.safetensors").tensors for name in ("before", "after")
    )
    mine = [name for name in before if name.startswith(f"learners.{learner}.")]
    moved = [name for name in mine if not torch.equal(before[name], after[name])]
    # not all: behind a head that starts at zero the policy's first gradient is that of the head alone
    assert len(moved) > len(mine) / 2


def test_rules_are_chosen_at_the_end_and_kept_with_what_chose_them(make_denoiser, learn_config, tmp_path):
    def choose(order, denoiser):
        assert not order.policy.training
        return {4: DecodeRule("threshold", 0.3)}, {"accuracy": 0.25}

    result = learn(make_denoiser(), learn_config, tmp_path / "run", choose_rules=choose)
    loaded = load_order(result.folder)
    assert dict(loaded.rules) == {4: DecodeRule("threshold", 0.3)}
    assert loaded.card["validation"] == result.validation == {"accuracy": 0.25}


@pytest.mark.slow
def test_validation_is_called_when_due_and_changes_nothing(make_denoiser, learn_config, tmp_path):
    asked = []

    def validate(order, denoiser):
        asked.append(order.policy.training)
        return {"accuracy": torch.rand(1).item()}

    learn(make_denoiser(), learn_config, tmp_path / "with", validate=validate, validate_every=4)
    learn(make_denoiser(), learn_config, tmp_path / "without")
    assert asked == [False, False]
    assert [entry["update"] for entry in log(tmp_path / "with") if "accuracy" in entry] == [4, 6]
    assert files(tmp_path / "with")["order/model.safetensors"] == files(tmp_path / "without")["order/model.safetensors"]


# ---- going on as if nothing had happened


@pytest.mark.slow
@pytest.mark.parametrize(("crash", "every"), [(1, 2), (3, 2), (4, 3), (4, 1), (6, 1)])
@pytest.mark.parametrize("update", ["frozen", "joint"])
def test_a_run_that_died_and_went_on_ends_as_if_it_had_not(
    make_denoiser, learn_config, tmp_path, monkeypatch, crash_at, crash, every, update
):
    """(4, 3) dies in the first update of the second stage and goes on from the last of the first."""
    config = replace(learn_config, denoiser_update=update)
    learn(make_denoiser(), config, tmp_path / "whole", checkpoint_every=every)
    crash_at(module, crash)
    with pytest.raises(KeyboardInterrupt):
        learn(make_denoiser(), config, tmp_path / "broken", checkpoint_every=every)
    assert not (tmp_path / "broken" / "order").exists()
    monkeypatch.undo()
    learn(make_denoiser(), config, tmp_path / "broken", checkpoint_every=every)
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_a_finished_run_started_again_changes_nothing(make_denoiser, learn_config, tmp_path):
    learn(make_denoiser(), learn_config, tmp_path / "run")
    before = files(tmp_path / "run")
    learn(make_denoiser(), learn_config, tmp_path / "run")
    assert files(tmp_path / "run") == before


# ---- bad input


@pytest.mark.parametrize(("stage", "at", "every", "kept"), [("bound_loss", 2, 1, 1), ("policy_loss", 5, 2, 4)])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(
    make_denoiser, learn_config, tmp_path, monkeypatch, stage, at, every, kept
):
    real, count = getattr(module, stage), [0 if stage == "bound_loss" else 3]

    def spoiled(*args):
        count[0] += 1
        found = real(*args)
        return StageLoss(found.loss * float("nan"), found.report) if count[0] == at else found

    monkeypatch.setattr(module, stage, spoiled)
    with pytest.raises(UserError, match=f"at update {at} the loss became nan.* kept in .*checkpoint"):
        learn(make_denoiser(), learn_config, tmp_path / "run", checkpoint_every=every)
    tensors, meta = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert meta["update"] == kept
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert not (tmp_path / "run" / "order").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budgets": ()}, r"budgets must be at least 1 step each, got \[\]"),
        ({"budgets": (4, 0)}, r"budgets must be at least 1 step each, got \[4, 0\]"),
        ({"samples": 1}, "samples must be at least 2"),
        ({"denoiser_update": "thawed"}, "unknown denoiser update `thawed`. Choices: frozen, joint, lora"),
        ({"price": -0.1}, "price must be a number of at least 0, got -0.1"),
        ({"miss": float("nan")}, "miss must be a number of at least 0, got nan"),
        ({"likelihood": float("inf")}, "likelihood must be a number of at least 0, got inf"),
        ({"likelihood": 0.0, "miss": 0.0}, "likelihood and miss are both 0"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"bound_updates": -1}, "updates at least 0"),
        ({"bound_updates": 0, "policy_updates": 0}, "nothing to do"),
        ({"tau": 1.0}, "tau and tau_end must both be above 0, or both 0, got 1.0 and 0.0"),
        ({"tau": -1.0, "tau_end": -1.0}, "tau and tau_end"),
        ({"components": 0, "bound_updates": 0}, "components must be at least 1, got 0"),
        ({"components": 2, "bound_updates": 3}, "must be 0 for a mixture of 2 components"),
        ({"components": 2, "bound_updates": 0, "entropy": 0.1}, "no closed entropy"),
        ({"width": 15}, "width 15 does not split into 2 heads"),
        ({"task": "jsnl"}, "Did you mean `jsonl`"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_a_folder_is_made(
    make_denoiser, learn_config, tmp_path, change, message
):
    with pytest.raises(UserError, match=message):
        learn(make_denoiser(), replace(learn_config, **change), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_data_that_does_not_fit_the_denoiser_is_refused_before_a_folder_is_made(make_denoiser, learn_config, tmp_path):
    with pytest.raises(UserError, match="no training example fits"):
        learn(replace(make_denoiser(), response_length=3), learn_config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_another_denoiser_or_another_kind_of_run_in_the_same_folder_is_refused(
    make_denoiser, learn_config, fit_config, tmp_path
):
    learn(make_denoiser(), learn_config, tmp_path / "run", identity={"denoiser": "abc"})
    with pytest.raises(UserError, match=r"another run \(denoiser 'abc' there, 'xyz' here\)"):
        learn(make_denoiser(), learn_config, tmp_path / "run", identity={"denoiser": "xyz"})
    with pytest.raises(UserError, match=r"kind 'learn' there, 'fit' here"):
        fit_module.fit(fit_config, tmp_path / "run")


# ---- the parts


def rows_of(count, budget=1):
    masked = torch.ones(count, 3, dtype=torch.bool)
    return Canvas.make(torch.zeros(count, 3, dtype=torch.long), masked, budget)


def test_every_budget_is_as_likely_in_every_row():
    """Chi-square over 3 budgets in 6,000 rows: 2 degrees of freedom, within 5 standard deviations of its mean."""
    drawn = draw_budgets(rows_of(6000), (2, 5, 9), Draws(0)).budget
    counts = torch.tensor([(drawn == budget).sum() for budget in (2, 5, 9)]).double()
    assert counts.sum() == 6000
    assert float(((counts - 2000) ** 2 / 2000).sum()) < 2 + 5 * math.sqrt(2 * 2)


def test_a_row_draws_its_budget_alone_and_anew_for_every_update():
    clean = rows_of(50)
    together = draw_budgets(clean, (2, 4, 8), Draws(3)).budget
    assert torch.equal(draw_budgets(clean.take(torch.arange(20, 30)), (2, 4, 8), Draws(3)).budget, together[20:30])
    assert not torch.equal(draw_budgets(clean, (2, 4, 8), Draws(4)).budget, together)
    assert (draw_budgets(clean, (7,), Draws(0)).budget == 7).all()


def test_the_temperature_goes_geometrically_from_one_end_to_the_other():
    canvas, scores = rows_of(1, 2), torch.tensor([[0.0, -1.0, -2.0]])
    config = LearnConfig(tau=1.0, tau_end=0.01)
    for progress, tau in ((0.0, 1.0), (0.5, 0.1), (1.0, 0.01)):
        law = posterior_law(config, progress)(scores, canvas)
        assert law.probabilities()[0, 1].item() == pytest.approx(math.exp(-1 / tau), rel=1e-4, abs=1e-30)
    assert posterior_law(LearnConfig(), 0.5) is paced


def test_the_default_settings_are_allowed():
    check(LearnConfig())


def test_a_frozen_scorer_has_no_gradient_and_bfloat16_spares_the_original(make_denoiser):
    network = make_denoiser().network
    canvas = make_denoiser().codec.canvas(["Why?"], 4, 2)
    exact, rough = frozen_scorer(network, "fp32")(canvas), frozen_scorer(network, "bf16")(canvas)
    assert not exact.hidden.requires_grad
    assert not rough.log_prob(rough.top2_tokens[:, 0]).requires_grad
    assert exact.hidden.dtype == network.embed.weight.dtype == torch.float32
    assert rough.hidden.dtype == torch.bfloat16


# ---- and it learns


def copies():
    """Positions 0 and 1 hold the same fair coin, and so do 2 and 3: one of each pair first, then the others."""
    joint = torch.zeros(2, 2, 2, 2, dtype=torch.float64)
    for a in (0, 1):
        for b in (0, 1):
            joint[a, a, b, b] = 1 / 4
    texts = joint.nonzero().repeat(4, 1)
    return joint, Canvas.make(texts, torch.ones_like(texts, dtype=torch.bool), 2)


def nll(joint, policy, denoiser):
    with torch.no_grad():
        written = decode_marginal(denoiser, policy, length=4, vocabulary=2, budget=2)
    return float(-(joint * written.clamp(min=1e-300).log()).sum())


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "most"), [("policy", 1.01), ("bound", 1.3)])
def test_two_steps_learn_to_keep_apart_what_depends_on_each_other(stage, most):
    """Best 2 log 2 = 1.386; each pair revealed together costs a further log 2 (exact values).

    The four good orders are alike, and near 1.91 lies the plateau where none of them is preferred yet. The policy's
    own paths lead all the way down; the bound leaves the plateau, and how far it gets depends on the seed.
    """
    joint, clean = copies()
    denoiser = TableDenoiser.of(joint, features=True)
    generator = torch.Generator().manual_seed(0)
    policy = PolicyNetwork(PolicyConfig(4 * 3 + 4, width=16, layers=1, hidden=32)).initialise(generator)
    posterior = PosteriorNetwork(PosteriorConfig(2, width=16, layers=1, hidden=32)).initialise(generator)
    optimizer = torch.optim.Adam([*policy.parameters(), *posterior.parameters()], lr=1e-2)
    config = LearnConfig(
        budgets=(2,), samples=4, likelihood=1.0, miss=0.0, tilt=False, price=0.0, entropy=0.02, beta=0.1
    )
    start = nll(joint, policy, denoiser)
    for update in range(300):
        draws, progress = Draws(update), update / 300
        if stage == "bound":
            found = bound_loss(clean, posterior, policy, denoiser, draws, config, progress)
        else:
            found = policy_loss(clean, policy, denoiser, draws, config, progress)
        found.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert start > 1.9
    assert nll(joint, policy, denoiser) < most * 2 * math.log(2)


def steps_after_learning(price, tilt, clean, denoiser):
    """Mean steps of the paths of the second stage after 150 updates, four positions in at most four steps."""
    policy = PolicyNetwork(PolicyConfig(4 * 3 + 4, width=16, layers=1, hidden=32))
    policy.initialise(torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    config = LearnConfig(budgets=(4,), samples=4, likelihood=1.0, miss=0.0, tilt=tilt, price=price)
    for update in range(150):
        found = policy_loss(clean, policy, denoiser, Draws(update), config, update / 150)
        found.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return found.report["steps"]


@pytest.mark.slow
@pytest.mark.parametrize("tilt", [True, False])
def test_a_price_buys_fewer_steps_and_a_high_one_leaves_a_single_step(tilt):
    """Pairs of equal coins: the second step is worth 2 log 2 = 1.39 nats, the third and fourth nothing."""
    _, clean = copies()
    clean = replace(clean, budget=torch.full_like(clean.budget, 4))
    denoiser = TableDenoiser.of(copies()[0], features=True)
    free, fair, dear = (steps_after_learning(price, tilt, clean, denoiser) for price in (0.0, 0.5, 3.0))
    assert free > fair + 0.1 > dear
    assert dear == pytest.approx(1, abs=0.15)

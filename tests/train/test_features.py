"""Learning from what a denoiser said once: held to enumeration, to learning on line, and to its files."""

import json
from dataclasses import replace

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.table import TableDenoiser
from unmask.exact.enumerate import decode_marginal
from unmask.objectives import Credit
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.tasks import make_task
from unmask.train import learn as module
from unmask.train.batches import Batches
from unmask.train.features import Player, feature_bound, make_shard, read_shard, shard_path, write_shard
from unmask.train.learn import draw_budgets, frozen_scorer, learn, new_learners, policy_loss
from unmask.train.learn_config import LearnConfig


def small_policy(seed, spread=0.0):
    """A policy over a table of three positions and two tokens; `spread` moves it away from its start."""
    generator = torch.Generator().manual_seed(seed)
    policy = PolicyNetwork(PolicyConfig(3 * 3 + 3, width=8, layers=1, hidden=8)).initialise(generator)
    with torch.no_grad():
        policy.head.weight.normal_(0.0, spread, generator=generator)
    return policy.requires_grad_(True)


@pytest.fixture(scope="module")
def table():
    joint = torch.rand(2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return TableDenoiser.of(joint / joint.sum(), features=True)


def texts(rows, budget):
    tokens = torch.tensor([[0, 1, 1]]).expand(rows, 3).clone()
    return Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), budget)


@pytest.mark.slow
@pytest.mark.parametrize("budget", [2, 3])
def test_the_weights_of_another_policys_paths_have_the_mean_of_the_exact_marginal(table, budget):
    """Likelihood as credit: E[w] = p(x) under decoding with the *other* policy, within 4 standard errors."""
    drawer, judged = small_policy(0), small_policy(1, spread=0.7)
    shard = make_shard(texts(12_000, budget), drawer, table, Draws(0), 2, Credit(1.0, 0.0))
    with torch.no_grad():
        found = feature_bound(shard, judged, Credit(1.0, 0.0), price=0.0)
        exact = float(decode_marginal(table, judged, length=3, vocabulary=2, budget=budget)[0, 1, 1])
        of_drawer = float(decode_marginal(table, drawer, length=3, vocabulary=2, budget=budget)[0, 1, 1])
    weights = found.bound.exp()  # the mean of two
    error = float(weights.std()) / len(weights) ** 0.5
    assert float(weights.mean()) == pytest.approx(exact, abs=4 * error)
    assert abs(of_drawer - exact) > 5 * error, "or the test shows nothing"
    assert float(found.bound.mean()) < float(torch.tensor(exact).log()), "a lower bound"


@pytest.mark.slow
def test_its_gradient_is_that_of_the_exact_marginal_at_the_policy_that_drew(table):
    """One path a row: grad of mean w = grad of p(x), for every parameter, within 5 standard errors."""
    policy = small_policy(0, spread=0.3)
    parameters = [policy.slope, policy.centre, policy.head.bias]
    exact = torch.autograd.grad(decode_marginal(table, policy, length=3, vocabulary=2, budget=2)[0, 1, 1], parameters)
    parts = []
    for seed in range(40):
        shard = make_shard(texts(250, 2), policy, table, Draws(seed), 1, Credit(1.0, 0.0))
        weight = feature_bound(shard, policy, Credit(1.0, 0.0), price=0.0).bound.exp().mean()
        parts.append(torch.cat([each.reshape(-1) for each in torch.autograd.grad(weight, parameters)]))
    found = torch.stack(parts).double()
    expected = torch.cat([each.reshape(-1) for each in exact]).double()
    error = found.std(0) / len(found) ** 0.5
    assert bool(((found.mean(0) - expected).abs() < 5 * error + 1e-9).all())
    assert bool((expected.abs() > 5 * error).any()), "or the test shows nothing"


@pytest.fixture
def config(learn_config, tmp_path):
    return replace(
        learn_config, bound_updates=0, policy_updates=4, features=str(tmp_path / "features"), feature_batches=3
    )


def clean_rows(config, denoiser, seed=77):
    examples = make_task("jsonl", config.data).examples("train")
    batches = Batches(examples, denoiser.codec, 16, denoiser.response_length, denoiser.context, seed, pad_to=1)
    return draw_budgets(batches.batch(0).canvas, config.budgets, Draws(seed))


def test_the_policy_that_drew_the_paths_has_equal_weights(make_denoiser, config):
    denoiser = make_denoiser()
    policy, _ = new_learners(config, 16, 1)
    clean = clean_rows(config, denoiser)
    shard = make_shard(clean, policy, frozen_scorer(denoiser.network, "fp32"), Draws(0), 3, Credit(0.0, 3.0))
    found = feature_bound(shard, policy, Credit(0.0, 3.0), price=0.0)
    assert torch.allclose(found.effective, torch.full_like(found.effective, 3.0), rtol=1e-4)


def online(config, denoiser, policy):
    """The bound as learning on line estimates it, on texts and draws of its own."""
    scorer = frozen_scorer(denoiser.network, "fp32")
    with torch.no_grad():
        found = [
            policy_loss(clean_rows(config, denoiser, seed), policy, scorer, Draws(seed), config, 1.0)
            for seed in range(5)
        ]
    return sum(float(each.loss) for each in found) / len(found)


@pytest.mark.slow
def test_learning_from_features_lowers_the_loss_that_learning_on_line_lowers(make_denoiser, config, tmp_path):
    config = replace(config, policy_updates=60, feature_batches=10, rows=8, rate=5e-3)
    denoiser = make_denoiser()
    before = online(config, denoiser, new_learners(config, 16, 1)[0])
    learned = learn(denoiser, config, tmp_path / "run").order.policy
    on_line = learn(denoiser, replace(config, features=None), tmp_path / "on line").order.policy
    after, theirs = online(config, denoiser, learned), online(config, denoiser, on_line)
    assert after < before - 0.3 * (before - theirs)
    assert theirs < before


@pytest.mark.slow
def test_on_a_chain_the_exact_nll_falls_towards_that_of_learning_on_line():
    """Three positions, each a noisy copy of the one before, in two steps; the decoding law is enumerated."""
    joint = torch.zeros(2, 2, 2, dtype=torch.float64)
    for index in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        joint[tuple(index)] = 0.5 * (0.95 if index[0] == index[1] else 0.05) * (0.95 if index[1] == index[2] else 0.05)
    table, credit = TableDenoiser.of(joint, features=True), Credit(1.0, 0.0)
    tokens = torch.multinomial(joint.flatten(), 64 * 12, replacement=True, generator=torch.Generator().manual_seed(0))
    tokens = torch.stack([tokens // 4, tokens // 2 % 2, tokens % 2], dim=1).view(12, 64, 3)
    batches = [Canvas.make(each, torch.ones_like(each, dtype=torch.bool), 2) for each in tokens]

    def nll(policy):
        with torch.no_grad():
            return float(-(joint * decode_marginal(table, policy, length=3, vocabulary=2, budget=2).log()).sum())

    def learned(loss):
        policy = small_policy(0)
        optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
        for update in range(80):
            loss(policy, update).backward()
            optimizer.step()
            optimizer.zero_grad()
        return nll(policy)

    shards = [
        make_shard(clean, small_policy(0), table, Draws(number), 4, credit) for number, clean in enumerate(batches)
    ]
    settings = LearnConfig(budgets=(2,), samples=4, likelihood=1.0, miss=0.0, price=0.0)
    start = nll(small_policy(0))
    cached = learned(lambda policy, update: -feature_bound(shards[update % 12], policy, credit, 0.0).bound.mean())
    on_line = learned(
        lambda policy, update: policy_loss(batches[update % 12], policy, table, Draws(update), settings, 1.0).loss
    )
    assert start - cached > 0.3 * (start - on_line) > 0.005  # about half when it was written: the paths never change


def files(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_once_made_the_denoiser_is_not_asked_again(make_denoiser, config, tmp_path, monkeypatch):
    learn(make_denoiser(), config, tmp_path / "run")
    before = files(tmp_path / "features")
    assert sorted(before) == ["features.json", *(f"shard-0000{number}.safetensors" for number in range(3))]
    denoiser = make_denoiser()

    def refused(*_):
        raise AssertionError("the denoiser was asked")

    monkeypatch.setattr(denoiser.network, "forward", refused)
    learn(denoiser, replace(config, price=0.05), tmp_path / "another")
    assert files(tmp_path / "features") == before


@pytest.mark.slow
@pytest.mark.parametrize("crash", [1, 3])
def test_a_run_that_died_and_went_on_ends_as_if_it_had_not(
    make_denoiser, config, tmp_path, monkeypatch, crash_at, crash
):
    learn(make_denoiser(), config, tmp_path / "whole", checkpoint_every=2)
    other = replace(config, features=str(tmp_path / "features again"))
    crash_at(module, crash)
    with pytest.raises(KeyboardInterrupt):
        learn(make_denoiser(), other, tmp_path / "broken", checkpoint_every=2)
    monkeypatch.undo()
    shard_path(tmp_path / "features again", 1).unlink()  # as if killed while making them
    learn(make_denoiser(), other, tmp_path / "broken", checkpoint_every=2)
    assert files(tmp_path / "features again") == files(tmp_path / "features")
    broken, whole = files(tmp_path / "broken"), files(tmp_path / "whole")
    assert broken["order/model.safetensors"] == whole["order/model.safetensors"]
    assert broken["log.jsonl"] == whole["log.jsonl"]


def test_a_damaged_shard_is_named(make_denoiser, config, tmp_path):
    learn(make_denoiser(), config, tmp_path / "run")
    path = shard_path(tmp_path / "features", 1)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"shard-00001\.safetensors is damaged .*; delete it, and it is made again"):
        learn(make_denoiser(), config, tmp_path / "another")
    write_shard(tmp_path / "features", 1, read_shard(tmp_path / "features", 0))
    shard_path(tmp_path / "features", 1).replace(shard_path(tmp_path / "features", 0))
    with pytest.raises(UserError, match=r"shard-00000\.safetensors is damaged"):
        read_shard(tmp_path / "features", 0)


@pytest.mark.parametrize(
    ("change", "digest", "said"),
    [
        ({"budgets": (3,)}, "abc", r"budgets \[2, 4\] there, \[3\] here"),
        ({}, "xyz", "denoiser 'abc' there, 'xyz' here"),
        ({"feature_batches": 4}, "abc", "shards 3 there, 4 here"),
    ],
)
def test_features_of_something_else_are_refused(make_denoiser, config, tmp_path, change, digest, said):
    learn(make_denoiser(), config, tmp_path / "run", identity={"denoiser": "abc"})
    with pytest.raises(UserError, match=said):
        learn(make_denoiser(), replace(config, **change), tmp_path / "another", identity={"denoiser": digest})


def test_a_folder_of_something_else_and_another_version_are_refused(make_denoiser, config, tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no features"):
        learn(make_denoiser(), config, tmp_path / "run")
    (tmp_path / "features" / "features.json").write_text(json.dumps({"format": "unmask-features", "version": 2}))
    with pytest.raises(UserError, match="is not of features of this version"):
        learn(make_denoiser(), config, tmp_path / "run", overwrite=True)


def test_what_features_cannot_do_is_said(make_denoiser, config, tmp_path):
    for change in ({"bound_updates": 1}, {"denoiser_update": "joint"}, {"tilt": False}, {"entropy": 0.1}):
        with pytest.raises(UserError, match="features are for the second stage"):
            learn(make_denoiser(), replace(config, **change), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_player_says_what_was_kept(table):
    clean = texts(5, 2)
    shard = make_shard(clean, small_policy(0), table, Draws(0), 2, Credit(1.0, 0.0))
    said, kept = table(clean), Player(shard.calls)(clean)
    assert torch.equal(kept.top2, said.top2)
    assert torch.equal(kept.to_rows(kept.entropy, 0.0), said.to_rows(said.entropy, 0.0))
    tokens = said.from_rows(clean.tokens)
    assert torch.allclose(kept.log_prob(tokens).double(), said.log_prob(tokens), atol=1e-6)
    assert kept.hidden.dtype == torch.bfloat16

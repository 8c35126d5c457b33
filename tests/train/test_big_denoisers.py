"""Learning for a denoiser that is big: one copy of its weights, no gradient through it, no vocabulary kept."""

import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.denoisers import base
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.train import learn as module
from unmask.train.learn import backward, draw_budgets, frozen_scorer, learn, policy_loss, trained_scorer
from unmask.train.learn_config import LearnConfig
from unmask.train.processes import Processes

VOCABULARY = 126_464


class Alive(TorchDispatchMode):
    """Bytes of the storages made inside that are alive: now, and the most at once; `known` ones do not count."""

    def __init__(self, known):
        super().__init__()
        self.now = self.most = 0
        self.seen = {value.untyped_storage()._cdata for value in known}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for value in found if isinstance(found, tuple | list) else [found]:
            if isinstance(value, torch.Tensor):
                storage = value.untyped_storage()
                if storage._cdata not in self.seen:
                    self.seen.add(storage._cdata)
                    self.now += storage.nbytes()
                    self.most = max(self.most, self.now)
                    weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return found

    def _gone(self, which, size):
        self.seen.discard(which)
        self.now -= size


def test_a_network_in_bfloat16_is_not_copied(make_denoiser):
    network = make_denoiser().network.bfloat16()
    scored = frozen_scorer(network, "bf16")
    canvas = make_denoiser().codec.canvas(["Why?"], 4, 2)
    before = scored(canvas).hidden
    with torch.no_grad():
        network.norm.weight.mul_(2)
    assert torch.equal(scored(canvas).hidden, 2 * before), "the weights it scores with are those of the network"


def test_a_frozen_denoiser_in_bfloat16_is_held_once_and_left_as_it_was(
    make_denoiser, learn_config, tmp_path, monkeypatch
):
    def refused(*_):
        raise AssertionError("a second copy of the weights")

    denoiser = make_denoiser()
    denoiser.network.bfloat16()
    before = {name: value.clone() for name, value in denoiser.network.state_dict().items()}
    monkeypatch.setattr(module, "copy", SimpleNamespace(deepcopy=refused))
    learn(denoiser, replace(learn_config, precision="bf16", texts="data"), tmp_path / "run")
    after = denoiser.network.state_dict()
    assert all(value.dtype == torch.bfloat16 and torch.equal(value, before[name]) for name, value in after.items())
    assert all(parameter.grad is None for parameter in denoiser.network.parameters())


@pytest.mark.slow
def test_no_vocabulary_is_kept_from_step_to_step(monkeypatch):
    """At V = 126,464 the rows of one step would be 24 MB a pass; what is alive never passes a few chunks of them."""
    config = TransformerConfig(VOCABULARY, 0, 64, layers=1, width=8, heads=2, hidden=8)
    network = Transformer(config).initialise(torch.Generator().manual_seed(0))
    policy = PolicyNetwork(PolicyConfig(8, 8, 1)).initialise(torch.Generator().manual_seed(0))
    tokens = torch.randint(1, VOCABULARY, (4, 48), generator=torch.Generator().manual_seed(0))
    clean = Canvas.make(tokens, torch.ones_like(tokens, dtype=torch.bool), 4)
    settings = LearnConfig(budgets=(4,), samples=2, likelihood=1.0)
    whole = 4 * 2 * 48 * VOCABULARY * 4  # bytes of the logits of one step of every path
    monkeypatch.setattr(base, "CHUNK_BYTES", 1 << 24)
    chunk = base.CHUNK_BYTES
    with Alive([*network.parameters(), *policy.parameters()]) as alive:
        found = policy_loss(clean, policy, frozen_scorer(network, "fp32"), Draws(0), settings, 0.0)
    assert found.report["steps"] > 1
    assert whole > 10 * chunk
    assert alive.most < 6 * chunk, "a few chunks at once"
    assert alive.now < whole / 40, "what the gradient needs has no vocabulary in it: that of one pass would be 1/8"
    found.loss.backward()


@pytest.mark.parametrize("pieces", [2, 5])
def test_an_order_learned_in_pieces_is_the_order_within_rounding(make_denoiser, learn_config, tmp_path, pieces):
    """Three rows in two pieces are two and one; in five, three of one."""
    config = replace(learn_config, rows=3)
    whole = learn(make_denoiser(), config, tmp_path / "whole").order.policy.state_dict()
    parts = learn(make_denoiser(), replace(config, accumulate=pieces), tmp_path / "parts").order.policy.state_dict()
    assert max(float((whole[name] - parts[name]).abs().max()) for name in whole) < 3e-5


def test_pieces_of_unlike_fullness_add_up_to_the_gradient_of_the_whole(make_denoiser):
    """For the denoiser too, whose likelihood is per position of the whole batch, in double precision."""
    denoiser = make_denoiser()
    denoiser.network.double()
    texts = [[5, 6, 7, 8], [9, 10, 11, 12], [7, 7, 6, 5]]
    clean = denoiser.codec.clean_canvas(["Why?", "How?", "What?"], texts, range(3))
    few = torch.ones_like(clean.masked)
    few[0] = clean.masked[0].cumsum(-1) > 2  # two of its four positions are to be written
    config = LearnConfig(budgets=(2, 3), samples=2, likelihood=1.0, denoiser_update="joint")
    clean = draw_budgets(clean.restrict(few), config.budgets, Draws(0))
    policy = PolicyNetwork(PolicyConfig(16, 8, 1)).initialise(torch.Generator().manual_seed(0)).double()
    learners = torch.nn.ModuleList([policy, denoiser.network])
    scorer = trained_scorer(denoiser.network, "fp32")

    def gradient(parts):
        learners.zero_grad()
        processes = Processes("cpu")
        stage = backward(
            processes.pieces(3, parts), clean, processes, scorer,
            lambda rows, fullness: policy_loss(rows, policy, scorer, Draws(0), config, 0.0, fullness),
        )  # fmt: skip
        return float(stage.loss), [value.grad.clone() for value in learners.parameters() if value.grad is not None]

    (loss, whole), (same, parts) = gradient(1), gradient(2)
    assert same == pytest.approx(loss, rel=1e-6)
    largest = max(float(value.abs().max()) for value in whole)
    assert all(float((a - b).abs().max()) < 1e-6 * largest for a, b in zip(whole, parts, strict=True))


def test_a_run_may_go_on_in_other_pieces(make_denoiser, learn_config, tmp_path):
    learn(make_denoiser(), learn_config, tmp_path / "run")
    learn(make_denoiser(), replace(learn_config, accumulate=2), tmp_path / "run")

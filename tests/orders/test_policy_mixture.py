"""A policy with several sets of coins: its law is of its own row, starts near the soft threshold, and can be saved."""

import pytest
import torch

from unmask.core.errors import UserError
from unmask.orders.folder import LearnedOrder, load_order, save_order
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.reveals import Bernoulli, BernoulliMixture
from unmask.samplers import DecodeRule, Learned, decode_canvas

from .conftest import WIDTH, HashDenoiser, some_policy, widen

SHAPE = PolicyConfig(WIDTH, width=8, layers=2, heads=2, hidden=12, components=3)


def mixture(spread: float = 1.0) -> PolicyNetwork:
    generator = torch.Generator().manual_seed(0)
    policy = PolicyNetwork(SHAPE).initialise(generator)
    with torch.no_grad():
        for weight in (policy.head.weight, policy.shares.weight):
            weight.normal_(0.0, spread, generator=generator)
    return policy.double().eval()


@pytest.mark.parametrize("pads", [(4, 0), (0, 4), (2, 3)])
def test_the_law_does_not_depend_on_padding_or_neighbours(canvas, denoiser, pads):
    policy = mixture()
    law = policy(canvas, denoiser(canvas))
    assert isinstance(law, BernoulliMixture)
    padded = policy(widen(canvas, *pads), denoiser(widen(canvas, *pads)))
    torch.testing.assert_close(padded.inclusion()[:, pads[0] : pads[0] + 10], law.inclusion())
    torch.testing.assert_close(padded.log_shares, law.log_shares)
    some = torch.tensor([5, 1])
    alone = policy(canvas.take(some), denoiser(canvas.take(some)))
    torch.testing.assert_close(alone.inclusion(), law.inclusion()[some])
    torch.testing.assert_close(alone.log_shares, law.log_shares[some])


def test_it_starts_near_the_soft_threshold_with_sets_that_differ(canvas, denoiser):
    generator = torch.Generator().manual_seed(1)
    several = PolicyNetwork(SHAPE).initialise(generator)(canvas, denoiser(canvas))
    single = PolicyNetwork(PolicyConfig(WIDTH, width=8, layers=2, heads=2, hidden=12)).initialise(generator)
    one = single(canvas, denoiser(canvas))
    assert isinstance(one, Bernoulli)
    apart = several.logits - one.logits[:, None]
    there = apart[canvas.masked[:, None].expand_as(apart)]
    assert 0.1 < float(there.detach().abs().mean()) < 1.0
    torch.testing.assert_close(several.log_shares.exp(), torch.full((6, 3), 1 / 3))


def test_a_gradient_reaches_heads_and_shares(canvas, denoiser):
    policy = mixture()
    law = policy(canvas, denoiser(canvas))
    law.log_prob(canvas.masked).sum().backward()
    for weight in (policy.head.weight, policy.shares.weight, policy.read_position.weight):
        assert float(weight.grad.abs().sum()) > 0


@pytest.mark.parametrize("rule", [DecodeRule(), DecodeRule("threshold", 0.4), DecodeRule(sharpness=2.0)])
def test_it_decodes(canvas, denoiser, rule):
    decoded = decode_canvas(HashDenoiser(), canvas, Learned(mixture(), rule))
    assert not decoded.canvas.masked.any()


def test_it_survives_its_folder_and_older_folders_are_read(canvas, denoiser, tmp_path):
    order = LearnedOrder(mixture().float(), {4: DecodeRule()})
    save_order(order, tmp_path / "order")
    loaded = load_order(tmp_path / "order").policy
    before, after = (policy(canvas, denoiser(canvas)).inclusion() for policy in (order.policy, loaded))
    assert torch.equal(before, after)

    save_order(LearnedOrder(some_policy().float(), {}), tmp_path / "older")
    path = tmp_path / "older" / "config.json"
    text = path.read_text()
    assert '"components": 1' in text
    path.write_text(text.replace(',\n  "components": 1', "").replace(',\n    "components": 1', ""))
    assert '"components"' not in path.read_text()
    assert load_order(tmp_path / "older").policy.config.components == 1


def test_no_set_of_coins_at_all_is_refused():
    with pytest.raises(UserError, match="components must be at least 1, got 0"):
        PolicyNetwork(PolicyConfig(components=0))

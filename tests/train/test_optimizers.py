import pytest
import torch

from unmask.core.errors import UserError
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.train.optimizers import Optimizers, clip_gradient, not_finite


def small_network(tied=True):
    config = TransformerConfig(9, 0, 8, layers=2, width=8, heads=2, hidden=12, qkv_bias=True, tied=tied)
    return Transformer(config).initialise(torch.Generator().manual_seed(0))


def names_of(network, optimizer):
    name = {parameter: name for name, parameter in network.named_parameters()}
    return [[name[parameter] for parameter in group["params"]] for group in optimizer.param_groups]


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest():
    network = small_network(tied=False)
    optimizers = Optimizers(network, 1e-3, 0.02, 0.1)
    (adamw, _), (muon, _) = optimizers.parts
    (matrices,) = names_of(network, muon)
    assert matrices == [name for name, p in network.named_parameters() if "blocks." in name and p.dim() == 2]
    decayed, free = names_of(network, adamw)
    assert decayed == ["embed.weight", "head.weight"]
    assert sorted([*matrices, *decayed, *free]) == sorted(name for name, _ in network.named_parameters())
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.1, 0.0]


def test_without_muon_every_parameter_is_adamws_and_only_matrices_decay():
    network = small_network()
    ((adamw, _),) = Optimizers(network, 1e-3, 0.0, 0.1).parts
    decayed, free = names_of(network, adamw)
    dimensions = {name: parameter.dim() for name, parameter in network.named_parameters()}
    assert {dimensions[name] for name in decayed} == {2}
    assert {dimensions[name] for name in free} == {1}
    assert len(decayed) + len(free) == len(dimensions)


def test_parameters_that_are_frozen_are_left_out():
    network = small_network()
    network.embed.requires_grad_(False)
    ((adamw, _),) = Optimizers(network, 1e-3, 0.0, 0.1).parts
    assert not any("embed.weight" in names for names in names_of(network, adamw))


def test_the_factor_scales_every_rate_and_gradients_are_cleared():
    network = small_network()
    optimizers = Optimizers(network, 1e-3, 0.02, 0.0)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    optimizers.step(0.0)
    assert all(torch.equal(now, then) for now, then in zip(network.parameters(), before, strict=True))
    assert all(parameter.grad is None for parameter in network.parameters())
    optimizers.step(0.5)
    rates = [{group["lr"] for group in optimizer.param_groups} for optimizer, _ in optimizers.parts]
    assert rates == [{5e-4}, {0.01}]


def test_a_torch_without_muon_is_told_what_to_pass(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UserError, match="pass --muon-rate 0"):
        Optimizers(small_network(), 1e-3, 0.02, 0.0)
    Optimizers(small_network(), 1e-3, 0.0, 0.0)


def test_clipping_shrinks_a_long_gradient_leaves_a_short_one_and_tells_its_length():
    parameter = torch.nn.Parameter(torch.zeros(2))
    for gradient, expected in (([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])):
        parameter.grad = torch.tensor(gradient)
        norm = clip_gradient([parameter], 1.0)
        assert norm.item() == pytest.approx(sum(g * g for g in gradient) ** 0.5)
        assert parameter.grad.tolist() == pytest.approx(expected, rel=1e-5)


def test_what_is_said_when_training_blows_up(tmp_path):
    nan, one = torch.tensor(float("nan")), torch.tensor(1.0)
    path = tmp_path / "checkpoint.safetensors"
    assert "at update 7 the loss became nan" in str(not_finite(7, nan, one, path, 0.1))
    assert "there is no checkpoint yet" in str(not_finite(7, nan, one, path, 0.1))
    path.touch()
    said = str(not_finite(7, one, torch.tensor(float("inf")), path, 0.1))
    assert "norm inf" in said
    assert f"kept in {path}" in said
    assert "lower --rate than 0.1" in said

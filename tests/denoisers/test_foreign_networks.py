"""What every network of another library must do, whatever its layers are."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import pad

from unmask.denoisers import bert, dit, modern_bert
from unmask.denoisers.bert import Bert, BertConfig
from unmask.denoisers.dit import DiT, DiTConfig
from unmask.denoisers.modern_bert import ModernBert, ModernBertConfig

MASK = 4
FAMILIES = {
    "bert": (bert, Bert, lambda config: BertConfig.from_config(config, MASK)),
    "dit": (dit, DiT, DiTConfig.from_config),
    "modern_bert": (modern_bert, ModernBert, lambda config: ModernBertConfig.from_config(config, MASK)),
}
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture
def build(golden, load_foreign):
    """`build("bert")`: the network of a golden file and its canvas, in float64 so that only real differences show."""

    def make(name):
        module, kind, shape = FAMILIES[name]
        found = golden(name)
        return load_foreign(kind, shape(found.config), found.weights, module).double(), found.canvas

    return make


def logits_of(network, canvas):
    with torch.no_grad():
        return network(canvas).logits(slice(None))


def widen(canvas, left, right):
    return replace(
        canvas,
        tokens=pad(canvas.tokens, (left, right), value=9),
        masked=pad(canvas.masked, (left, right), value=False),
        valid=pad(canvas.valid, (left, right), value=False),
    )


@every_family
@pytest.mark.parametrize("pads", [(3, 0), (0, 5), (2, 2), (40, 0), (0, 40)])
def test_padding_on_either_side_changes_nothing(build, family, pads):
    network, canvas = build(family)
    torch.testing.assert_close(
        logits_of(network, widen(canvas, *pads)), logits_of(network, canvas), rtol=1e-10, atol=1e-10
    )


@every_family
def test_a_row_does_not_depend_on_its_neighbours(build, family):
    network, canvas = build(family)
    valid = canvas.valid.clone()
    valid[0, :4] = False
    valid[1, -6:] = False
    canvas = replace(canvas, valid=valid, masked=canvas.masked & valid)
    together = network(canvas)
    for row in range(3):
        alone = logits_of(network, canvas.take(torch.tensor([row])))
        here = together.logits(slice(None))[together.where[:, 0] == row]
        torch.testing.assert_close(here, alone, rtol=1e-10, atol=1e-10)


@every_family
def test_every_weight_learns(build, family):
    network, canvas = build(family)
    denoised = network(canvas)
    (-denoised.log_prob(denoised.top2_tokens[:, 1])).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        # the bias of the keys adds the same to a query's every score
        assert name.endswith("key.bias") or parameter.grad.abs().max() > 1e-9, name


@every_family
def test_hidden_states_are_what_the_head_reads(build, family):
    network, canvas = build(family)
    denoised = network(canvas)
    assert denoised.hidden.shape == (int(canvas.masked.sum()), network.hidden_width)
    by_hand = network.head(denoised.hidden)
    possible = torch.arange(by_hand.shape[-1]) != network.config.mask_token
    torch.testing.assert_close(denoised.logits(slice(None))[:, possible], by_hand[:, possible])


@every_family
def test_a_bfloat16_network_answers(build, family):
    network, canvas = build(family)
    exact = logits_of(network, canvas)
    rough = logits_of(network.bfloat16(), canvas)
    assert rough.dtype == torch.bfloat16
    possible = exact.isfinite()
    assert torch.equal(possible, rough.isfinite())
    error = (rough.double() - exact)[possible].abs().mean() / exact[possible].std()
    assert error < 0.1


@every_family
def test_the_same_seed_begins_with_the_same_weights_and_leaves_the_global_generator_alone(build, family):
    network, canvas = build(family)
    config = network.config
    one, two = type(network)(config), type(network)(config)
    before = torch.get_rng_state()
    one.initialise(torch.Generator().manual_seed(3))
    two.initialise(torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    assert logits_of(one, canvas).isfinite().sum() == len(canvas.masked.nonzero()) * (config.vocabulary - 1)


@every_family
def test_the_shape_survives_the_way_to_plain_values_and_back(build, family):
    config = build(family)[0].config
    assert type(config)(**config.to_dict()) == config


@pytest.mark.slow
@every_family
def test_building_without_storage_does_not_import_torchs_compiler(family):
    _, kind, _ = FAMILIES[family]
    module, name = kind.__module__, kind.__name__
    code = (
        f"import sys, torch\nfrom {module} import {name}, {name}Config\n"
        f"with torch.device('meta'):\n    n = {name}({name}Config(50, 4))\n"
        "assert all(p.is_meta for p in n.parameters())\nassert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

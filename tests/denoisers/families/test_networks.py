"""What every network of its own layout must do besides: learn, begin anew, answer in half precision."""

import subprocess
import sys

import pytest
import torch

from unmask import load_denoiser
from unmask.core.canvas import Canvas

NETWORKS = {
    "bert": "unmask.denoisers.bert.Bert",
    "modern_bert": "unmask.denoisers.modern_bert.ModernBert",
    "mdlm": "unmask.denoisers.dit.DiT",
}
every_family = pytest.mark.parametrize("family", NETWORKS)


@pytest.fixture
def build(checkpoints):
    """`build("bert")`: a network in float64, so that only real differences show, and a canvas."""

    def make(name):
        generator = torch.Generator().manual_seed(7)
        tokens = torch.randint(256, (3, 20), generator=generator)
        canvas = Canvas.make(tokens, torch.rand(3, 20, generator=generator) < 0.5, 4)
        return load_denoiser(checkpoints(name), dtype=torch.float64).network, canvas

    return make


def logits_of(network, canvas):
    with torch.no_grad():
        return network(canvas).logits(slice(None))


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
    possible = denoised.logits(slice(None))[0] != -torch.inf
    assert possible.sum() > 200
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


@pytest.mark.slow
@every_family
def test_building_without_storage_does_not_import_torchs_compiler(family):
    module, _, name = NETWORKS[family].rpartition(".")
    code = (
        f"import sys, torch\nfrom {module} import {name}, {name}Config\n"
        f"with torch.device('meta'):\n    n = {name}({name}Config(50, 4))\n"
        "assert all(p.is_meta for p in n.parameters())\nassert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

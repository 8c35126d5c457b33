"""MDLM's network against its definition, written out below from the tensors under their real names."""

import json
import math

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers import dit
from unmask.denoisers.dit import DiT, DiTConfig


def logits_of(network, canvas):
    with torch.no_grad():
        return network(canvas).logits(slice(None))


@pytest.fixture(params=["recorded", "other sizes"])
def checkpoint(request, recorder, golden):
    """config.json and tensors of a small random checkpoint."""
    if request.param == "recorded":
        return golden("dit").config, golden("dit").weights
    config = recorder.MDLM | {"hidden_dim": 24, "n_heads": 4, "n_blocks": 3, "cond_dim": 7, "vocab_size": 19}
    return config, recorder.mdlm_weights(config, seed=5)


def test_the_network_is_its_definition(recorder, load_foreign, checkpoint):
    config, weights = checkpoint
    network = load_foreign(DiT, DiTConfig.from_config(config), weights, dit).double()
    mask = config["vocab_size"] - 1
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(mask, (3, 14), generator=generator)
    masked = torch.rand(3, 14, generator=generator) < 0.5
    valid = torch.ones_like(masked)
    valid[1, :3] = False
    valid[2, 9:] = False
    canvas = Canvas.make(tokens, masked, 4, valid)
    ours = logits_of(network, canvas)
    wide = {name: value.double() for name, value in weights.items()}
    for (row, position), found in zip(canvas.masked.nonzero().tolist(), ours, strict=True):
        text = torch.where(canvas.masked[row], mask, tokens[row])[valid[row]]
        theirs = recorder.mdlm_logits(wide, text, config)[position - int(valid[row].int().argmax())]
        assert found[mask] == -math.inf
        assert theirs.abs().max() > 1
        torch.testing.assert_close(found[:mask], theirs[:mask], rtol=1e-9, atol=1e-9)


def test_the_logits_are_the_recorded_ones(golden, load_foreign):
    found = golden("dit")
    network = load_foreign(DiT, DiTConfig.from_config(found.config), found.weights, dit)
    ours, mask = logits_of(network, found.canvas), network.config.mask_token
    assert (ours[:, mask] == -math.inf).all()
    torch.testing.assert_close(ours[:, :mask], found.logits[:, :mask], rtol=1e-5, atol=1e-4)


def test_every_tensor_of_the_network_has_a_name_of_theirs(golden):
    network = DiT(DiTConfig.from_config(golden("dit").config))
    ours = {name.replace("{i}", str(i)) for name in dit.KEYS.values() for i in range(network.config.layers)}
    assert ours == set(network.state_dict())


def test_a_network_begun_anew_is_the_same_at_every_block(golden):
    """adaLN-zero: the gates are shut, so what comes out is the norm of the embedding."""
    network = DiT(DiTConfig.from_config(golden("dit").config)).initialise(torch.Generator().manual_seed(0))
    tokens = torch.arange(6)[None]
    hidden = network.encode(tokens, torch.ones_like(tokens, dtype=torch.bool))
    torch.testing.assert_close(hidden, network.norm(network.embed(tokens)))


# ---- the shape

OWT = {
    "architectures": ["MDLM"], "cond_dim": 128, "dropout": 0.1, "hidden_dim": 768, "model_length": 1024,
    "model_type": "mdlm", "n_blocks": 12, "n_heads": 12, "time_conditioning": False, "torch_dtype": "float32",
    "vocab_size": 50258,
}  # fmt: skip


def test_the_shape_of_the_released_checkpoint_is_read():
    assert DiTConfig.from_config(OWT) == DiTConfig(50258, 50257)
    with torch.device("meta"):
        network = DiT(DiTConfig.from_config(OWT))
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert millions == pytest.approx(169.6, abs=0.1)  # MDLM's paper: 170M


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_conditioning": True}, "`time_conditioning` True and only False can be read: a network that reads"),
        ({"hidden_dim": None}, "config.json has no `hidden_dim`"),
        ({"n_heads": "12"}, "`n_heads` '12', which should be of type int"),
        ({"n_heads": 7}, "width 768 does not split into 7 heads"),
        ({"hidden_dim": 36}, "even size, got width/heads = 3"),
        ({"cond_dim": 0}, "condition must be a whole number of at least 1, got 0"),
    ],
)
def test_a_config_that_cannot_be_read_is_refused_by_entry(change, message):
    with pytest.raises(UserError, match=message):
        DiTConfig.from_config(OWT | change)


def test_the_shape_survives_json():
    config = DiTConfig.from_config(OWT)
    assert DiTConfig(**json.loads(json.dumps(config.to_dict()))) == config

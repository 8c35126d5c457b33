"""MDLM: what the released checkpoint is, other sizes against the definition, and what is refused."""

import pytest
import torch
from safetensors.torch import save_file

from unmask import load_denoiser
from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.dit import DiT, DiTConfig
from unmask.denoisers.families.mdlm import KEYS, configure

from .test_as_found import edit, logits
from .tiny import byte_tokenizer, random_weights, write_json
from .tiny_mdlm import CONFIG, row_logits


@pytest.mark.slow
def test_other_sizes_are_the_definition_too(tmp_path):
    shapes = {"vocab_embed.embedding": (258, 24), "sigma_map.mlp.0.weight": (5, 256), "sigma_map.mlp.0.bias": (5,)}
    shapes |= {"sigma_map.mlp.2.weight": (5, 5), "sigma_map.mlp.2.bias": (5,), "output_layer.norm_final.weight": (24,)}
    shapes |= {"output_layer.linear.weight": (258, 24), "output_layer.linear.bias": (258,)}
    shapes |= {"output_layer.adaLN_modulation.weight": (48, 5), "output_layer.adaLN_modulation.bias": (48,)}
    for i in range(4):
        shapes |= {f"blocks.{i}.norm{j}.weight": (24,) for j in (1, 2)}
        shapes |= {f"blocks.{i}.attn_qkv.weight": (72, 24), f"blocks.{i}.attn_out.weight": (24, 24)}
        shapes |= {f"blocks.{i}.mlp.0.weight": (96, 24), f"blocks.{i}.mlp.0.bias": (96,)}
        shapes |= {f"blocks.{i}.mlp.2.weight": (24, 96), f"blocks.{i}.mlp.2.bias": (24,)}
        shapes |= {f"blocks.{i}.adaLN_modulation.weight": (144, 5), f"blocks.{i}.adaLN_modulation.bias": (144,)}
    weights = random_weights({f"backbone.{name}": shape for name, shape in shapes.items()}, seed=8)
    save_file(weights, tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", CONFIG | {"hidden_dim": 24, "n_heads": 2, "n_blocks": 4, "cond_dim": 5})
    byte_tokenizer("<|endoftext|>").save(str(tmp_path / "tokenizer.json"))
    tokens = torch.randint(256, (2, 11), generator=torch.Generator().manual_seed(0))
    masked = torch.rand(2, 11, generator=torch.Generator().manual_seed(1)) < 0.5
    ours = load_denoiser(tmp_path, dtype=torch.float64)(Canvas.make(tokens, masked, 2)).logits(slice(None))
    wide = {name: value.double() for name, value in weights.items()}
    theirs = torch.stack([row_logits(wide, row, 4, 2) for row in tokens.masked_fill(masked, 257)])[masked]
    torch.testing.assert_close(ours[:, :257], theirs[:, :257], rtol=1e-9, atol=1e-9)


def test_exact_cosines_and_sines_are_to_be_had(spoilable):
    path = spoilable("mdlm")
    as_published = logits(path, "mdlm")
    edit(path, rope_bfloat16=False)
    assert not load_denoiser(path).network.config.rope_bfloat16
    assert 1e-4 < (logits(path, "mdlm") - as_published).abs().max() < 0.5
    edit(path, rope_bfloat16="no")
    with pytest.raises(UserError, match="`rope_bfloat16` 'no', which should be of type bool"):
        load_denoiser(path)


def test_another_rotary_base_is_refused(spoilable):
    path = spoilable("mdlm")
    edit(path, rope_parameters={"rope_type": "default", "rope_theta": 500.0})
    with pytest.raises(UserError, match="a rotary base of 500, and that of MDLM is always 10000"):
        load_denoiser(path)


def test_every_tensor_of_the_network_has_a_name_of_theirs():
    network = DiT(DiTConfig(40, 4, layers=2, width=8, heads=2, condition=3))
    assert {name.replace("{i}", str(i)) for name in KEYS.values() for i in range(2)} == set(network.state_dict())


def test_a_network_begun_anew_is_the_same_at_every_block():
    """adaLN-zero: the gates are shut, so what comes out is the norm of the embedding."""
    network = DiT(DiTConfig(40, 4, layers=2, width=8, heads=2)).initialise(torch.Generator().manual_seed(0))
    tokens = torch.arange(6)[None]
    hidden = network.encode(tokens, torch.ones_like(tokens, dtype=torch.bool))
    torch.testing.assert_close(hidden, network.norm(network.embed(tokens)))


# ---- the shape

OWT = {
    "architectures": ["MDLM"], "cond_dim": 128, "dropout": 0.1, "hidden_dim": 768, "model_length": 1024,
    "model_type": "mdlm", "n_blocks": 12, "n_heads": 12, "time_conditioning": False, "torch_dtype": "float32",
    "vocab_size": 50258,
}  # fmt: skip


def shape(config):
    return configure(Checkpoint(None, config, {}))


def test_the_shape_of_the_released_checkpoint_is_read():
    assert shape(OWT) == DiTConfig(50258, 50257, rope_bfloat16=True)
    with torch.device("meta"):
        network = DiT(shape(OWT))
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
        shape(OWT | change)

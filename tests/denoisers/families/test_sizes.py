"""The published sizes, from configuration and headers alone: every name is mapped, as many parameters as were said."""

from pathlib import Path

import pytest

from unmask.denoisers.checkpoint import Checkpoint, Stored
from unmask.denoisers.families import FAMILIES, recognise
from unmask.denoisers.foreign import blank_network
from unmask.denoisers.keys import plan

from . import tiny_dream, tiny_llada, tiny_smdm

LLADA_8B = tiny_llada.CONFIG | {
    "d_model": 4096, "n_heads": 32, "n_kv_heads": 32, "n_layers": 32, "mlp_hidden_size": 12288,
    "vocab_size": 126464, "embedding_size": 126464, "max_sequence_length": 4096, "mask_token_id": 126336,
}  # fmt: skip
DREAM_7B = tiny_dream.CONFIG | {
    "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "intermediate_size": 18944, "vocab_size": 152064, "max_position_embeddings": 131072, "mask_token_id": 151666,
}  # fmt: skip


def llada(layers=32, d=4096, hidden=12288, vocabulary=126464):
    shapes = {f"model.transformer.{name}.weight": (vocabulary, d) for name in ("wte", "ff_out")}
    shapes["model.transformer.ln_f.weight"] = (d,)
    for i in range(layers):
        block = f"model.transformer.blocks.{i}"
        shapes |= {f"{block}.{name}.weight": (d, d) for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
        shapes |= {f"{block}.{name}.weight": (hidden, d) for name in ("ff_proj", "up_proj")}
        shapes |= {f"{block}.ff_out.weight": (d, hidden)}
        shapes |= {f"{block}.{name}.weight": (d,) for name in ("attn_norm", "ff_norm")}
    return shapes


def dream(layers=28, d=3584, narrow=512, hidden=18944, vocabulary=152064):
    shapes = {name: (vocabulary, d) for name in ("model.embed_tokens.weight", "lm_head.weight")}
    shapes["model.norm.weight"] = (d,)
    for i in range(layers):
        layer = f"model.layers.{i}"
        for name, rows in {"q_proj": d, "k_proj": narrow, "v_proj": narrow}.items():
            shapes |= {f"{layer}.self_attn.{name}.weight": (rows, d), f"{layer}.self_attn.{name}.bias": (rows,)}
        shapes |= {f"{layer}.self_attn.o_proj.weight": (d, d), f"{layer}.mlp.down_proj.weight": (d, hidden)}
        shapes |= {f"{layer}.mlp.{name}_proj.weight": (hidden, d) for name in ("gate", "up")}
        shapes |= {f"{layer}.{name}_layernorm.weight": (d,) for name in ("input", "post_attention")}
    return shapes


def smdm(layers, d):
    shapes = {"lm_head.weight": (32000, d), "transformer.wte.weight": (32001, d), "transformer.ln_f.weight": (d,)}
    for i in range(layers):
        for name, shape in tiny_smdm.SHAPES.items():
            if name.startswith("transformer.h.0."):
                scaled = tuple(size * d // tiny_smdm.WIDTH for size in shape)
                shapes[name.replace(".0.", f".{i}.", 1)] = scaled
    return shapes


# name -> family, config, shapes, parameters of the published model, (layers, width, heads, hidden)
SIZES = {
    "LLaDA-8B": ("llada", LLADA_8B, llada(), 8_015_581_184, (32, 4096, 32, 12288)),
    "Dream-7B": ("dream", DREAM_7B, dream(), 7_615_616_512, (28, 3584, 28, 18944)),
    "SMDM-170M": ("smdm", {}, smdm(18, 768), 219_050_496, (18, 768, 12, 3072)),
    "SMDM-2121M": ("smdm", {}, smdm(28, 2176), 2_260_659_456, (28, 2176, 17, 8704)),
    "SMDM-1028M": ("smdm", {}, smdm(20, 1792), 1_142_367_744, (20, 1792, 14, 7168)),
}


@pytest.mark.parametrize("size", SIZES)
def test_a_published_size_fits_the_network_to_the_last_tensor(size):
    name, config, shapes, parameters, expected = SIZES[size]
    tensors = {key: Stored(Path("model.safetensors"), shape, "BF16") for key, shape in shapes.items()}
    checkpoint = Checkpoint(Path(size), config, tensors)
    assert recognise(checkpoint) == name
    network, made = blank_network(checkpoint, FAMILIES[name])
    moves = plan(checkpoint, network, made, FAMILIES[name].names(network.state_dict()))
    assert sum(stored.size for stored in tensors.values()) == parameters
    assert sum(move.stored.size for move in moves) == parameters
    assert (made.layers, made.width, made.heads, made.hidden) == expected
    assert (made.vocabulary, made.mask_token) == {
        "llada": (126464, 126336), "dream": (152064, 151666), "smdm": (32001, 32000)
    }[name]  # fmt: skip

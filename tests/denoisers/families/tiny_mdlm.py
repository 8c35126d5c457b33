"""MDLM: its own code runs on a GPU with flash-attention alone, so the reference is its definition, written out here.

From the tensors under their real names, one row and one head at a time. Its blocks run in bfloat16 there, which rounds
the cosines and sines of the positions.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from .tiny import Tiny, byte_tokenizer, random_weights, read_weights, write_json
from .tiny_smdm import rounded

WIDTH, LAYERS, HEADS, CONDITION, VOCABULARY = 32, 2, 4, 6, 258
MASK = VOCABULARY - 1  # the tokenizer has the 256 bytes and <|endoftext|>
HALF = WIDTH // HEADS // 2

CONFIG = {
    "architectures": ["MDLM"],
    "auto_map": {"AutoConfig": "configuration_mdlm.MDLMConfig", "AutoModelForMaskedLM": "modeling_mdlm.MDLM"},
    "cond_dim": CONDITION,
    "dropout": 0.1,
    "hidden_dim": WIDTH,
    "model_length": 256,
    "model_type": "mdlm",
    "n_blocks": LAYERS,
    "n_heads": HEADS,
    "return_dict": False,
    "time_conditioning": False,
    "torch_dtype": "float32",
    "transformers_version": "4.38.2",
    "vocab_size": VOCABULARY,
}

SHAPES: dict[str, tuple[int, ...]] = {
    "vocab_embed.embedding": (VOCABULARY, WIDTH),
    "sigma_map.mlp.0.weight": (CONDITION, 256),
    "sigma_map.mlp.0.bias": (CONDITION,),
    "sigma_map.mlp.2.weight": (CONDITION, CONDITION),
    "sigma_map.mlp.2.bias": (CONDITION,),
    "output_layer.norm_final.weight": (WIDTH,),
    "output_layer.linear.weight": (VOCABULARY, WIDTH),
    "output_layer.linear.bias": (VOCABULARY,),
    "output_layer.adaLN_modulation.weight": (2 * WIDTH, CONDITION),
    "output_layer.adaLN_modulation.bias": (2 * WIDTH,),
}
for i in range(LAYERS):
    SHAPES |= {
        f"blocks.{i}.norm1.weight": (WIDTH,),
        f"blocks.{i}.attn_qkv.weight": (3 * WIDTH, WIDTH),
        f"blocks.{i}.attn_out.weight": (WIDTH, WIDTH),
        f"blocks.{i}.norm2.weight": (WIDTH,),
        f"blocks.{i}.mlp.0.weight": (4 * WIDTH, WIDTH),
        f"blocks.{i}.mlp.0.bias": (4 * WIDTH,),
        f"blocks.{i}.mlp.2.weight": (WIDTH, 4 * WIDTH),
        f"blocks.{i}.mlp.2.bias": (WIDTH,),
        f"blocks.{i}.adaLN_modulation.weight": (6 * WIDTH, CONDITION),
        f"blocks.{i}.adaLN_modulation.bias": (6 * WIDTH,),
    }
SHAPES = {f"backbone.{name}": shape for name, shape in SHAPES.items()}


def write(folder: Path) -> Path:
    weights = {
        name: value / 4 if name.endswith("adaLN_modulation.weight") else value
        for name, value in random_weights(SHAPES, seed=6).items()
    }
    weights["backbone.rotary_emb.inv_freq"] = 10_000 ** -(torch.arange(HALF) / HALF)  # a buffer that was saved along
    write_json(folder / "config.json", CONFIG)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    byte_tokenizer("<|endoftext|>").save(str(folder / "tokenizer.json"))
    return folder


def row_logits(weights: dict[str, Tensor], tokens: Tensor, layers: int, heads: int) -> Tensor:
    """[L, V]: logits of one row of visible and mask tokens [L]."""

    def linear(name: str, x: Tensor) -> Tensor:
        bias = weights.get(f"backbone.{name}.bias")
        return x @ weights[f"backbone.{name}.weight"].T + (0 if bias is None else bias)

    def silu(x: Tensor) -> Tensor:
        return x / (1 + (-x).exp())

    def gelu(x: Tensor) -> Tensor:  # Hendrycks and Gimpel's approximation
        return x / 2 * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weights[f"backbone.{name}.weight"]

    def turn(vector: Tensor, position: int) -> Tensor:  # the halves of a head are the coordinates of planes
        half = len(vector) // 2
        angles = [position * 10_000 ** (-k / half) for k in range(half)]
        cos, sin = (vector.new_tensor([rounded(f(angle)) for angle in angles]) for f in (math.cos, math.sin))
        a, b = vector[:half], vector[half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin])

    x = weights["backbone.vocab_embed.embedding"][tokens]
    size = x.shape[-1] // heads
    sigma = 0.0  # the noise level is left out
    rates = [10_000 ** (-k / 128) for k in range(128)]
    waves = [math.cos(sigma * rate) for rate in rates] + [math.sin(sigma * rate) for rate in rates]
    told = silu(linear("sigma_map.mlp.2", silu(linear("sigma_map.mlp.0", x.new_tensor(waves)))))
    for i in range(layers):
        name = f"blocks.{i}"
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = linear(f"{name}.adaLN_modulation", told).chunk(6)
        qkv = linear(f"{name}.attn_qkv", norm(f"{name}.norm1", x) * (1 + scale_a) + shift_a)
        query, key, value = qkv.chunk(3, dim=-1)
        found = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            q = torch.stack([turn(vector, place) for place, vector in enumerate(query[:, own])])
            k = torch.stack([turn(vector, place) for place, vector in enumerate(key[:, own])])
            found.append((q @ k.T / math.sqrt(size)).softmax(-1) @ value[:, own])
        x = x + gate_a * linear(f"{name}.attn_out", torch.cat(found, -1))
        inner = gelu(linear(f"{name}.mlp.0", norm(f"{name}.norm2", x) * (1 + scale_f) + shift_f))
        x = x + gate_f * linear(f"{name}.mlp.2", inner)
    shift, scale = linear("output_layer.adaLN_modulation", told).chunk(2)
    return linear("output_layer.linear", norm("output_layer.norm_final", x) * (1 + scale) + shift)


def reference(path: Path) -> Callable[[Tensor], Tensor]:
    weights = {name: value.double() for name, value in read_weights(path).items()}
    return lambda tokens: torch.stack([row_logits(weights, row, LAYERS, HEADS) for row in tokens]).float()


TINY_MDLM = Tiny(write, reference, MASK, "<|mask|>")

"""Write the golden files beside this script: what the authors' own code says of small random models.

    python tests/denoisers/golden/record.py bert modern_bert dit

Each file holds the weights under their real names, a batch, and the logits at its masked positions; its metadata is
the config.json. Needs transformers; the tests that read the files do not. MDLM's own code runs on a GPU with
flash-attention alone, so its network is written out here from its definition.
"""

import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).parent

BERT = {
    "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 20, "type_vocab_size": 2, "pad_token_id": 0,
}  # fmt: skip
MODERN_BERT = {
    "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 20,
    "max_position_embeddings": 64, "local_attention": 8, "global_attn_every_n_layers": 3,
    "pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2,
}  # fmt: skip
MASK = 4


def shake(model: torch.nn.Module, seed: int) -> None:
    """Weights large enough for every part to matter, those of norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            middle = 1.0 if parameter.dim() == 1 and "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.normal_(middle, 0.4 if parameter.dim() > 1 else 0.5, generator=generator)


def bert(**changes: object) -> torch.nn.Module:
    """A small random BertForMaskedLM."""
    from transformers import BertConfig, BertForMaskedLM

    model = BertForMaskedLM(BertConfig(**BERT | changes))
    shake(model, 0)
    return model.eval()


def modern_bert(**changes: object) -> torch.nn.Module:
    """A small random ModernBertForMaskedLM."""
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    model = ModernBertForMaskedLM(ModernBertConfig(**MODERN_BERT | changes))
    shake(model, 1)
    return model.eval()


def batch(vocabulary: int, length: int, rows: int = 3) -> tuple[Tensor, Tensor]:
    """tokens and masked [rows, length]; the mask token stands where masked."""
    generator = torch.Generator().manual_seed(length)
    tokens = torch.randint(5, vocabulary, (rows, length), generator=generator)
    masked = torch.rand(rows, length, generator=generator) < 0.4
    return tokens.masked_fill(masked, MASK), masked


def theirs(model: torch.nn.Module, tokens: Tensor, valid: Tensor) -> Tensor:
    """[B, L, V]: their logits."""
    with torch.no_grad():
        return model(input_ids=tokens, attention_mask=valid.long()).logits


# ---- MDLM, one row and one head at a time

MDLM = {
    "model_type": "mdlm", "architectures": ["MDLM"], "vocab_size": 31, "model_length": 32, "hidden_dim": 16,
    "cond_dim": 6, "n_blocks": 2, "n_heads": 2, "dropout": 0.1, "time_conditioning": False,
}  # fmt: skip


def mdlm_weights(config: dict[str, object], seed: int) -> dict[str, Tensor]:
    """Random tensors of a checkpoint under their real names."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, about: float = 0.0) -> Tensor:
        return about + torch.randn(*shape, generator=generator) * (0.3 if len(shape) > 1 else 0.4)

    width, condition, vocabulary = config["hidden_dim"], config["cond_dim"], config["vocab_size"]
    pairs = torch.arange(0, width // config["n_heads"], 2)
    found = {
        "vocab_embed.embedding": draw(vocabulary, width) * 3,
        "sigma_map.mlp.0.weight": draw(condition, 256) / 5,
        "sigma_map.mlp.0.bias": draw(condition),
        "sigma_map.mlp.2.weight": draw(condition, condition) * 2,
        "sigma_map.mlp.2.bias": draw(condition),
        "rotary_emb.inv_freq": 1.0 / 10_000 ** (pairs / (width // config["n_heads"])),
        "output_layer.norm_final.weight": draw(width, about=1.0),
        "output_layer.linear.weight": draw(vocabulary, width),
        "output_layer.linear.bias": draw(vocabulary),
        "output_layer.adaLN_modulation.weight": draw(2 * width, condition),
        "output_layer.adaLN_modulation.bias": draw(2 * width),
    }
    for i in range(config["n_blocks"]):
        found |= {
            f"blocks.{i}.norm1.weight": draw(width, about=1.0),
            f"blocks.{i}.attn_qkv.weight": draw(3 * width, width) * 2,
            f"blocks.{i}.attn_out.weight": draw(width, width),
            f"blocks.{i}.norm2.weight": draw(width, about=1.0),
            f"blocks.{i}.mlp.0.weight": draw(4 * width, width),
            f"blocks.{i}.mlp.0.bias": draw(4 * width),
            f"blocks.{i}.mlp.2.weight": draw(width, 4 * width),
            f"blocks.{i}.mlp.2.bias": draw(width),
            f"blocks.{i}.adaLN_modulation.weight": draw(6 * width, condition),
            f"blocks.{i}.adaLN_modulation.bias": draw(6 * width, about=0.5),
        }
    return {f"backbone.{name}": value for name, value in found.items()}


def mdlm_logits(weights: dict[str, Tensor], tokens: Tensor, config: dict[str, object]) -> Tensor:
    """[L, V]: logits of one row of visible and mask tokens [L], before the mask token is made impossible."""
    heads, size = config["n_heads"], config["hidden_dim"] // config["n_heads"]

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
        out = vector.clone()
        for k in range(size // 2):
            angle = position * 10_000 ** (-2 * k / size)
            a, b = vector[k], vector[k + size // 2]
            out[k] = a * math.cos(angle) - b * math.sin(angle)
            out[k + size // 2] = b * math.cos(angle) + a * math.sin(angle)
        return out

    x = weights["backbone.vocab_embed.embedding"][tokens]
    sigma = 0.0  # the noise level is left out
    rates = [10_000 ** (-k / 128) for k in range(128)]
    waves = [math.cos(sigma * rate) for rate in rates] + [math.sin(sigma * rate) for rate in rates]
    told = silu(linear("sigma_map.mlp.2", silu(linear("sigma_map.mlp.0", x.new_tensor(waves)))))
    for i in range(config["n_blocks"]):
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


# ---- the files

MODELS = {"bert": (bert, 20), "modern_bert": (modern_bert, 30)}


def record(name: str) -> None:
    """Write one golden file."""
    if name == "dit":
        weights, config = mdlm_weights(MDLM, 0), MDLM
        tokens, masked = batch(30, 20)
        tokens[masked] = 30
        logits = torch.stack([mdlm_logits(weights, row, MDLM) for row in tokens])[masked]
    else:
        make, length = MODELS[name]
        model = make()
        tokens, masked = batch(model.config.vocab_size, length)
        logits = theirs(model, tokens, torch.ones_like(masked))[masked]
        weights, config = saved(model), model.config.to_diff_dict()
    save_file(
        {f"weight:{name}": value for name, value in weights.items()}
        | {"tokens": tokens, "masked": masked, "logits": logits},
        HERE / f"{name}.safetensors",
        metadata={"config": json.dumps(config)},
    )


def saved(model: torch.nn.Module) -> dict[str, Tensor]:
    """The tensors of the file their `save_pretrained` writes."""
    import tempfile

    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


if __name__ == "__main__":
    for name in sys.argv[1:] or (*MODELS, "dit"):
        record(name)

"""Dream-7B: Qwen2.5 without a causal mask, logits still shifted by one (Ye et al. 2025, arXiv 2508.15487).

config.json of Dream-v0-Instruct-7B, the entries that matter:

    {"model_type": "Dream", "architectures": ["DreamModel"], "hidden_size": 3584, "num_hidden_layers": 28,
     "num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18944, "hidden_act": "silu",
     "vocab_size": 152064, "max_position_embeddings": 131072, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
     "rope_scaling": null, "tie_word_embeddings": false, "use_sliding_window": false,
     "mask_token_id": 151666, "pad_token_id": 151643, "torch_dtype": "bfloat16"}

Tensors are called as in Qwen2, with biases on query, key and value. The network began as a causal one: its output at a
position speaks of the next token, and stays so (`shifted`). The tokenizer stands there as vocab.json and merges.txt.
DiffuCoder-7B has the same layout. Source: modeling_dream.py and generation_utils.py, which stand beside the weights on
the hub (Dream-org/Dream-v0-Instruct-7B) and are not needed.
"""

from pathlib import Path

from unmask.core.errors import UserError
from unmask.core.files import read_json
from unmask.core.typed import brief
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.entries import entry, must_be
from unmask.denoisers.families.base import Family
from unmask.denoisers.rope import rope_base
from unmask.denoisers.transformer import Transformer, TransformerConfig

EXPAND = "<|expand|>"  # of DreamOn's tokenizer alone
READERS = ("tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "tokenizer.json", "vocab.json")
KEYS = {
    "model.embed_tokens.weight": "embed.weight",
    "model.layers.{i}.input_layernorm.weight": "blocks.{i}.attention_norm.weight",
    **{
        f"model.layers.{{i}}.self_attn.{theirs}.{part}": f"blocks.{{i}}.attention.{ours}.{part}"
        for theirs, ours in {"q_proj": "query", "k_proj": "key", "v_proj": "value"}.items()
        for part in ("weight", "bias")
    },
    "model.layers.{i}.self_attn.o_proj.weight": "blocks.{i}.attention.out.weight",
    "model.layers.{i}.post_attention_layernorm.weight": "blocks.{i}.feed_forward_norm.weight",
    "model.layers.{i}.mlp.gate_proj.weight": "blocks.{i}.feed_forward.gate.weight",
    "model.layers.{i}.mlp.up_proj.weight": "blocks.{i}.feed_forward.up.weight",
    "model.layers.{i}.mlp.down_proj.weight": "blocks.{i}.feed_forward.down.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "head.weight",
}


def configure(checkpoint: Checkpoint) -> TransformerConfig:
    """From config.json. Raises UserError naming the entry that is missing or asks for something else."""
    config = checkpoint.config
    must_be(config, "hidden_act", "silu", "Dream's feed-forward layers are SwiGLU")
    must_be(config, "use_sliding_window", False, "every position sees every other")
    must_be(config, "use_mrope", False, "its positions count along one axis")
    kinds = config.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise UserError(f"config.json has `layer_types` {brief(kinds)}, and every layer sees every position")
    refuse_dreamon(checkpoint)
    heads = entry(config, "num_attention_heads", int)
    width = entry(config, "hidden_size", int)
    must_be(config, "head_dim", width // max(heads, 1), "a head is as wide as the network divided by its heads")
    return TransformerConfig(
        vocabulary=entry(config, "vocab_size", int),
        mask_token=entry(config, "mask_token_id", int),
        context=entry(config, "max_position_embeddings", int),
        layers=entry(config, "num_hidden_layers", int),
        width=width,
        heads=heads,
        kv_heads=entry(config, "num_key_value_heads", int, heads),
        hidden=entry(config, "intermediate_size", int),
        rope_base=rope_base(config, 10_000.0),
        norm_eps=entry(config, "rms_norm_eps", float, 1e-6),
        qkv_bias=True,
        tied=entry(config, "tie_word_embeddings", bool, False),
        shifted=True,
    )


def refuse_dreamon(checkpoint: Checkpoint) -> None:
    """Raise UserError if it is DreamOn, whose layout is Dream's: one of its tokens asks for a longer canvas."""
    beside = [checkpoint.folder / name for name in ("generation_config.json", "tokenizer_config.json")]
    generation, reader = (read_json(path) if path.is_file() else {} for path in beside)
    signs = [
        f"`{name}` {brief(values[name])}"
        for values in (checkpoint.config, generation, reader)
        for name in ("expand_token_id", "expand_token")
        if values.get(name) is not None
    ]
    signs += [f"token {EXPAND} in {name}" for name in READERS if mentions(checkpoint.folder / name, f'"{EXPAND}"')]
    if signs:
        raise UserError(
            f"this is DreamOn ({signs[0]}): it lengthens and shortens its canvas while it writes, which is not built "
            "in; as a plain Dream it would write those tokens into the text. Take a Dream-v0 checkpoint"
        )


def mentions(path: Path, text: str) -> bool:
    """Whether a file holds these characters; no, where there is none or it cannot be read."""
    try:
        return text.encode() in path.read_bytes()
    except OSError:
        return False


DREAM = Family(
    about="Dream-7B, DiffuCoder-7B (Ye et al. 2025, arXiv 2508.15487)",
    model_types=("Dream",),
    architectures=("DreamModel",),
    configure=configure,
    network=Transformer,
    keys=KEYS,
    # a turn ends with <|im_end|>, and <|endoftext|> fills the rest of the response
    frame={
        "mask": "<|mask|>",
        "end": "<|endoftext|>",
        "pad": "<|endoftext|>",
        "template": "{prompt}",
        "stops": ("<|im_end|>",),
    },
)

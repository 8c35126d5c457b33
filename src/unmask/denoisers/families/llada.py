"""LLaDA-8B and LLaDA-1.5: a Llama without a causal mask (Nie et al. 2025, arXiv 2502.09992; Zhu et al., 2505.19223).

config.json of LLaDA-8B-Instruct, the entries that matter:

    {"model_type": "llada", "architectures": ["LLaDAModelLM"], "block_type": "llama", "d_model": 4096, "n_heads": 32,
     "n_kv_heads": 32, "n_layers": 32, "mlp_hidden_size": 12288, "vocab_size": 126464, "embedding_size": 126464,
     "max_sequence_length": 4096, "rope": true, "rope_theta": 500000.0, "rms_norm_eps": 1e-05, "layer_norm_type": "rms",
     "activation_type": "silu", "include_bias": false, "include_qkv_bias": false, "weight_tying": false,
     "mask_token_id": 126336, "eos_token_id": 126081, "pad_token_id": 126081}

Tensors are called as in OLMo: `model.transformer.blocks.0.q_proj.weight`, six shards and an index. The two halves of a
head are the two coordinates of a plane of rotation. Source: configuration_llada.py and modeling_llada.py, which stand
beside the weights on the hub (GSAI-ML/LLaDA-8B-Instruct) and are not needed.
"""

from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.entries import entry, must_be
from unmask.denoisers.families.base import Family
from unmask.denoisers.rope import rope_base
from unmask.denoisers.transformer import Transformer, TransformerConfig

KEYS = {
    "model.transformer.wte.weight": "embed.weight",
    "model.transformer.blocks.{i}.attn_norm.weight": "blocks.{i}.attention_norm.weight",
    **{
        f"model.transformer.blocks.{{i}}.{theirs}.{part}": f"blocks.{{i}}.attention.{ours}.{part}"
        for theirs, ours in {"q_proj": "query", "k_proj": "key", "v_proj": "value"}.items()
        for part in ("weight", "bias")
    },
    "model.transformer.blocks.{i}.attn_out.weight": "blocks.{i}.attention.out.weight",
    "model.transformer.blocks.{i}.ff_norm.weight": "blocks.{i}.feed_forward_norm.weight",
    "model.transformer.blocks.{i}.ff_proj.weight": "blocks.{i}.feed_forward.gate.weight",
    "model.transformer.blocks.{i}.up_proj.weight": "blocks.{i}.feed_forward.up.weight",
    "model.transformer.blocks.{i}.ff_out.weight": "blocks.{i}.feed_forward.down.weight",
    "model.transformer.ln_f.weight": "norm.weight",
    "model.transformer.ff_out.weight": "head.weight",
}
# What the format could say and this network does not do.
ONLY = {
    "block_type": "llama",
    "layer_norm_type": "rms",
    "activation_type": "silu",
    "rope": True,
    "alibi": False,
    "include_bias": False,
    "bias_for_layer_norm": False,
    "attention_layer_norm": False,
    "layer_norm_with_affine": True,
    "input_emb_norm": False,
    "scale_logits": False,
}


def configure(checkpoint: Checkpoint) -> TransformerConfig:
    """From config.json. Raises UserError naming the entry that is missing or asks for something else."""
    config = checkpoint.config
    for name, wanted in ONLY.items():
        must_be(config, name, wanted, "it is another network than LLaDA-8B")
    heads = entry(config, "n_heads", int)
    kv_heads = entry(config, "n_kv_heads", int, 1 if config.get("multi_query_attention") else heads)
    vocabulary = entry(config, "embedding_size", int, entry(config, "vocab_size", int))
    mask = entry(config, "mask_token_id", int)
    if not 0 <= mask < vocabulary:
        raise UserError(f"config.json has `mask_token_id` {mask}, outside its vocabulary of {vocabulary}")
    width = entry(config, "d_model", int)
    return TransformerConfig(
        vocabulary=vocabulary,
        mask_token=mask,
        context=entry(config, "max_sequence_length", int),
        layers=entry(config, "n_layers", int),
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        hidden=entry(config, "mlp_hidden_size", int, entry(config, "mlp_ratio", int, 4) * width),
        rope_base=rope_base(config, 10_000.0),
        norm_eps=entry(config, "rms_norm_eps", float, 1e-5),
        qkv_bias=entry(config, "include_qkv_bias", bool, False),
        tied=entry(config, "weight_tying", bool, True),
    )


LLADA = Family(
    about="LLaDA-8B, LLaDA-1.5 (Nie et al. 2025, arXiv 2502.09992)",
    model_types=("llada",),
    architectures=("LLaDAModelLM", "LLaDAModel"),
    configure=configure,
    network=Transformer,
    keys=KEYS,
    # a turn ends with <|eot_id|>, and <|endoftext|> fills the rest of the response
    frame={
        "mask": "<|mdm_mask|>",
        "end": "<|endoftext|>",
        "pad": "<|endoftext|>",
        "template": "{prompt}",
        "stops": ("<|eot_id|>",),
    },
)

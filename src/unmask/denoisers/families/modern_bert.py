"""ModernBERT: any masked language model in the layout of `ModernBertForMaskedLM` (Warner et al. 2024, 2412.13663).

config.json of ModernBERT-base, the entries that matter:

    {"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"], "vocab_size": 50368, "hidden_size": 768,
     "num_hidden_layers": 22, "num_attention_heads": 12, "intermediate_size": 1152, "hidden_activation": "gelu",
     "classifier_activation": "gelu", "max_position_embeddings": 8192, "local_attention": 128,
     "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "norm_eps": 1e-05,
     "norm_bias": false, "attention_bias": false, "mlp_bias": false, "classifier_bias": false, "decoder_bias": true}

Newer files list the layers one by one (`layer_types`) and keep the two rotary bases in `rope_parameters`. The mask
token is known to the tokenizer alone. Source: modeling_modernbert.py of transformers, and the names in
model.safetensors of answerdotai/ModernBERT-base.
"""

from collections.abc import Mapping
from typing import Any

from unmask.core.errors import UserError
from unmask.core.typed import brief
from unmask.denoisers.bert import ACTIVATIONS
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.entries import entry, one_of
from unmask.denoisers.families.base import Family
from unmask.denoisers.families.bert import FRAME, mask_of
from unmask.denoisers.modern_bert import ModernBert, ModernBertConfig
from unmask.denoisers.network import MOST_LAYERS
from unmask.denoisers.rope import rope_base

# Their name of a tensor -> ours; `{i}` is the number of a block. Fused projections stay fused, as they are there.
# Biases stand in the file only where config.json asks for them.
_BLOCK = {
    "attn_norm": "attention_norm",
    "attn.Wqkv": "attention.qkv",
    "attn.Wo": "attention.out",
    "mlp_norm": "feed_forward_norm",
    "mlp.Wi": "feed_forward.up",
    "mlp.Wo": "feed_forward.down",
}
_REST = {
    "model.embeddings.norm": "embed_norm",
    "model.final_norm": "norm",
    "head.dense": "head.dense",
    "head.norm": "head.norm",
    "decoder": "head.decoder",
}
KEYS = {
    "model.embeddings.tok_embeddings.weight": "embed.weight",
    **{
        f"model.layers.{{i}}.{theirs}.{part}": f"blocks.{{i}}.{ours}.{part}"
        for theirs, ours in _BLOCK.items()
        for part in ("weight", "bias")
    },
    **{f"{theirs}.{part}": f"{ours}.{part}" for theirs, ours in _REST.items() for part in ("weight", "bias")},
}
SPELLINGS = ((r"^(embeddings|layers|final_norm)\.", r"model.\1."),)  # an encoder saved on its own


def configure(checkpoint: Checkpoint) -> ModernBertConfig:
    """From config.json and the tokenizer. Raises UserError naming what is missing or asks for another network."""
    values = checkpoint.config
    layers = entry(values, "num_hidden_layers", int)
    everywhere = rope_base(values, 160_000.0, "global_rope_theta")
    nearby = everywhere if values.get("local_rope_theta", 0) is None else 10_000.0  # null is: the same as everywhere
    return ModernBertConfig(
        vocabulary=entry(values, "vocab_size", int),
        mask_token=mask_of(checkpoint.folder),
        context=entry(values, "max_position_embeddings", int),
        layers=layers,
        width=entry(values, "hidden_size", int),
        heads=entry(values, "num_attention_heads", int),
        hidden=entry(values, "intermediate_size", int),
        global_layers=global_layers(values, layers),
        window=entry(values, "local_attention", int, 128) // 2,  # the whole width is given: half on either side
        global_rope_base=everywhere,
        local_rope_base=rope_base(values, nearby, "local_rope_theta", kind="sliding_attention"),
        norm_eps=entry(values, "norm_eps", float, 1e-5),
        activation=one_of(values, "hidden_activation", ACTIVATIONS, "gelu"),
        head_activation=one_of(values, "classifier_activation", ACTIVATIONS, "gelu"),
        norm_bias=entry(values, "norm_bias", bool, False),
        attention_bias=entry(values, "attention_bias", bool, False),
        feed_forward_bias=entry(values, "mlp_bias", bool, False),
        head_bias=entry(values, "classifier_bias", bool, False),
        decoder_bias=entry(values, "decoder_bias", bool, True),
        tied=entry(values, "tie_word_embeddings", bool, True),
    )


def global_layers(values: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """Numbers of the layers that see everything: listed in `layer_types`, or every so many in older files."""
    if values.get("layer_types") is None:
        every = entry(values, "global_attn_every_n_layers", int, 3)
        if every < 1:
            raise UserError(f"config.json has `global_attn_every_n_layers` {every}, which must be at least 1")
        return tuple(range(0, min(layers, MOST_LAYERS), every))
    kinds = values["layer_types"]
    known = ("full_attention", "sliding_attention")
    if not isinstance(kinds, list) or len(kinds) != layers or not all(kind in known for kind in kinds):
        raise UserError(
            f"config.json has `layer_types` {brief(kinds)}; it takes {layers}, each one of {', '.join(known)}"
        )
    return tuple(i for i, kind in enumerate(kinds) if kind == "full_attention")


MODERN_BERT = Family(
    about="ModernBERT, any masked language model of its layout (Warner et al. 2024, arXiv 2412.13663)",
    model_types=("modernbert",),
    configure=configure,
    network=ModernBert,
    keys=KEYS,
    frame=FRAME,
    spellings=SPELLINGS,
    response_length=64,
)

"""MDLM: the diffusion transformer of Sahoo et al. 2024 (arXiv 2406.07524), fitted to OpenWebText, 170 M parameters.

config.json of mdlm-owt, the entries that matter:

    {"model_type": "mdlm", "architectures": ["MDLM"], "vocab_size": 50258, "model_length": 1024, "hidden_dim": 768,
     "cond_dim": 128, "n_blocks": 12, "n_heads": 12, "time_conditioning": false}

One file, in float32. GPT-2's 50,257 tokens, then the mask token. No tokenizer stands beside the weights: copy
the tokenizer.json of openai-community/gpt2 there. The published code computes its blocks in bfloat16 by autocast, so
the cosines and sines of the positions are rounded to it, in training too. Here they are as well, in every precision
(`rope_bfloat16`; false in config.json leaves them exact: logits then differ by 0.16 to 0.39). Source: modeling_mdlm.py,
which stands beside the weights on the hub (kuleshov-group/mdlm-owt) and is not needed, and models/dit.py of
github.com/kuleshov-group/mdlm.
"""

from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.dit import ROPE_BASE, DiT, DiTConfig
from unmask.denoisers.entries import entry, must_be
from unmask.denoisers.families.base import Family
from unmask.denoisers.rope import rope_base

# How a text stands on the canvas. It was trained on pieces of 1,024 tokens of the web that begin and end with GPT-2's
# <|endoftext|>, which parts documents too. GPT-2's tokenizer has no mask token; it is the next id.
FRAME = {"mask": "<|mask|>", "end": "<|endoftext|>", "pad": "<|endoftext|>", "template": "<|endoftext|>{prompt}"}

# Their name of a tensor -> ours; `{i}` is the number of a block. No tensor is split, joined or turned.
KEYS = {
    "backbone.vocab_embed.embedding": "embed.weight",
    "backbone.sigma_map.mlp.0.weight": "noise_level.first.weight",
    "backbone.sigma_map.mlp.0.bias": "noise_level.first.bias",
    "backbone.sigma_map.mlp.2.weight": "noise_level.second.weight",
    "backbone.sigma_map.mlp.2.bias": "noise_level.second.bias",
    "backbone.blocks.{i}.norm1.weight": "blocks.{i}.attention_norm.weight",
    "backbone.blocks.{i}.attn_qkv.weight": "blocks.{i}.attention.qkv.weight",
    "backbone.blocks.{i}.attn_out.weight": "blocks.{i}.attention.out.weight",
    "backbone.blocks.{i}.norm2.weight": "blocks.{i}.feed_forward_norm.weight",
    "backbone.blocks.{i}.mlp.0.weight": "blocks.{i}.feed_forward.up.weight",
    "backbone.blocks.{i}.mlp.0.bias": "blocks.{i}.feed_forward.up.bias",
    "backbone.blocks.{i}.mlp.2.weight": "blocks.{i}.feed_forward.down.weight",
    "backbone.blocks.{i}.mlp.2.bias": "blocks.{i}.feed_forward.down.bias",
    "backbone.blocks.{i}.adaLN_modulation.weight": "blocks.{i}.modulation.weight",
    "backbone.blocks.{i}.adaLN_modulation.bias": "blocks.{i}.modulation.bias",
    "backbone.output_layer.norm_final.weight": "norm.weight",
    "backbone.output_layer.adaLN_modulation.weight": "modulation.weight",
    "backbone.output_layer.adaLN_modulation.bias": "modulation.bias",
    "backbone.output_layer.linear.weight": "head.weight",
    "backbone.output_layer.linear.bias": "head.bias",
}
IGNORED = {"backbone.rotary_emb.inv_freq": "powers of 10,000, computed here"}


def configure(checkpoint: Checkpoint) -> DiTConfig:
    """From config.json. Raises UserError naming the entry that is missing or asks for another network."""
    values = checkpoint.config
    must_be(values, "time_conditioning", False, "a network that reads the noise level needs the time of each step")
    if (base := rope_base(values, ROPE_BASE)) != ROPE_BASE:
        raise UserError(f"config.json has a rotary base of {base:g}, and that of MDLM is always {ROPE_BASE:g}")
    vocabulary = entry(values, "vocab_size", int)
    return DiTConfig(
        vocabulary=vocabulary,
        mask_token=vocabulary - 1,
        context=entry(values, "model_length", int),
        layers=entry(values, "n_blocks", int),
        width=entry(values, "hidden_dim", int),
        heads=entry(values, "n_heads", int),
        condition=entry(values, "cond_dim", int),
        rope_bfloat16=entry(values, "rope_bfloat16", bool, True),
    )


MDLM = Family(
    about="MDLM (Sahoo et al. 2024, arXiv 2406.07524)",
    model_types=("mdlm",),
    architectures=("MDLM",),
    configure=configure,
    network=DiT,
    keys=KEYS,
    frame=FRAME,
    ignored=IGNORED,
    response_length=256,
)

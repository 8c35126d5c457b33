"""SMDM: masked diffusion on TinyLlama's code (Nie et al. 2025, arXiv 2410.18514).

A single file `mdm-170M-100e18.safetensors` (nieshen/SMDM on the hub, folder mdm_safetensors), no config.json; beside it
must stand the tokenizer.json of TinyLlama. Its tensors, those of one of the 18 blocks:

    transformer.wte.weight                    [32001, 768]   32000 tokens, then the mask token
    transformer.h.0.norm_1.weight             [768]
    transformer.h.0.attn.attn.weight          [2304, 768]    for each head in turn: its query, key and value
    transformer.h.0.attn.proj.weight          [768, 768]
    transformer.h.0.norm_2.weight             [768]
    transformer.h.0.mlp.swiglu.w1.weight      [3072, 768]    gate; w2: up; w3: down
    transformer.ln_f.weight                   [768]
    lm_head.weight                            [32000, 768]   the mask token has no row

The two halves of a head are the two coordinates of a plane of rotation. The published code rounds the cosines and sines
to bfloat16, whatever it computes in, and so does this (`rope_bfloat16`; a config.json beside the file with
{"rope_bfloat16": false} leaves them exact: logits then differ by 3e-4 to 1e-1). No time is given to the network.
Source: lit_gpt/diffmodel.py and lit_gpt/config.py of github.com/ML-GSAI/SMDM.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import Checkpoint, Stored
from unmask.denoisers.entries import entry, must_be
from unmask.denoisers.families.base import Family
from unmask.denoisers.keys import Fused
from unmask.denoisers.rope import rope_base
from unmask.denoisers.transformer import Transformer, TransformerConfig

WTE, HEAD, DOWN = "transformer.wte.weight", "lm_head.weight", "transformer.h.{i}.mlp.swiglu.w3.weight"
QUERIES = "transformer.h.{i}.attn.attn.weight"

# The number of heads is the one thing the tensors do not tell. Width -> heads, for every published size ...
HEADS = {
    256: 4, 384: 6, 512: 8, 576: 9, 640: 10, 768: 12, 896: 14, 1024: 16,
    1280: 10, 1408: 11, 1536: 12, 1792: 14, 2048: 16, 2176: 17,
}  # fmt: skip
HEADS_75M = 8  # ... but the one with 640 and a narrow feed-forward layer
CONTEXT = 2048
# What lit_gpt could say in a config.json beside the file, and this network does not do.
ONLY = {"condense_ratio": 1, "rope_condense_ratio": 1, "rotary_percentage": 1.0, "parallel_residual": False,
        "bias": False}  # fmt: skip


def split_heads(whole: Tensor, config: TransformerConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a fused tensor [groups * (heads per group + 2) * size, D], group after group."""
    groups = config.kv_heads or config.heads
    each = config.heads // groups
    if tuple(whole.shape) != (groups * (each + 2) * (config.width // config.heads), config.width):
        raise ValueError("not of that shape")  # `view` would take another one, such as the transpose
    by_group = whole.view(groups, each + 2, config.width // config.heads, config.width)
    query, key, value = by_group[:, :each], by_group[:, each : each + 1], by_group[:, each + 1 :]
    return query.flatten(0, 2), key.flatten(0, 2), value.flatten(0, 2)


def with_mask_row(whole: Tensor, config: TransformerConfig) -> tuple[Tensor]:
    """The output head with a row of zeros for the mask token, which is impossible anyway."""
    if whole.dim() != 2 or whole.shape[1] != config.width:
        raise ValueError("not of that shape")  # which may be broadcast
    rows = whole.new_zeros(len(whole) + 1, config.width)  # `cat` without storage would import torch's compiler
    rows[: len(whole)] = whole
    return (rows,)


KEYS: dict[str, str | Fused] = {
    WTE: "embed.weight",
    "transformer.h.{i}.norm_1.weight": "blocks.{i}.attention_norm.weight",
    QUERIES: Fused(
        (
            "blocks.{i}.attention.query.weight",
            "blocks.{i}.attention.key.weight",
            "blocks.{i}.attention.value.weight",
        ),
        split_heads,
    ),
    "transformer.h.{i}.attn.proj.weight": "blocks.{i}.attention.out.weight",
    "transformer.h.{i}.norm_2.weight": "blocks.{i}.feed_forward_norm.weight",
    "transformer.h.{i}.mlp.swiglu.w1.weight": "blocks.{i}.feed_forward.gate.weight",
    "transformer.h.{i}.mlp.swiglu.w2.weight": "blocks.{i}.feed_forward.up.weight",
    DOWN: "blocks.{i}.feed_forward.down.weight",
    "transformer.ln_f.weight": "norm.weight",
    HEAD: Fused(("head.weight",), with_mask_row),
}


def recognise(checkpoint: Checkpoint) -> bool:
    """By its tensors, as there is no config.json that would say."""
    return {WTE, HEAD, QUERIES.replace("{i}", "0")} <= by_name(checkpoint).keys()


def by_name(checkpoint: Checkpoint) -> dict[str, Stored]:
    """The tensors by every name they may go by."""
    names = SMDM.names()
    return {each: stored for name, stored in checkpoint.tensors.items() for each in (*names.variants(name), name)}


def configure(checkpoint: Checkpoint) -> TransformerConfig:
    """From the shapes of the tensors; a config.json beside the file may give `n_head`, `n_query_groups`, `block_size`,
    `rope_base`, `norm_eps`, `rope_bfloat16`.

    Raises UserError if it is one of the autoregressive files, or of a width of which the heads are not known.
    """
    tensors = by_name(checkpoint)
    rows, width = matrix(tensors, WTE)
    tokens, _ = matrix(tensors, HEAD)
    if rows == tokens:
        raise UserError(f"{WTE} has no row for a mask token: this is an autoregressive checkpoint, and none of SMDM")
    layers = 0
    while QUERIES.replace("{i}", str(layers)) in tensors:
        layers += 1
    _, hidden = matrix(tensors, DOWN.replace("{i}", "0"))
    for name, wanted in ONLY.items():
        must_be(checkpoint.config, name, wanted, "it is another network than those of SMDM")
    for name, stored in {"n_embd": width, "n_layer": layers, "intermediate_size": hidden}.items():
        must_be(checkpoint.config, name, stored, "so it stands in the weights")
    heads = entry(checkpoint.config, "n_head", int, 0) or heads_of(width, hidden)
    return TransformerConfig(
        vocabulary=rows,
        mask_token=rows - 1,
        context=entry(checkpoint.config, "block_size", int, CONTEXT),
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=entry(checkpoint.config, "n_query_groups", int, heads),
        hidden=hidden,
        rope_base=rope_base(checkpoint.config, 10_000.0, "rope_base", "rope_theta"),
        norm_eps=entry(checkpoint.config, "norm_eps", float, 1e-5),
        tied=False,
        rope_bfloat16=entry(checkpoint.config, "rope_bfloat16", bool, True),
    )


def matrix(tensors: Mapping[str, Stored], name: str) -> tuple[int, int]:
    """Rows and columns of a tensor. Raises UserError if it is missing or no matrix."""
    stored = tensors.get(name)
    if stored is None:
        raise UserError(f"{name} is missing")
    if len(stored.shape) != 2:
        raise UserError(f"{name} has shape {list(stored.shape)}, and should be a matrix")
    return stored.shape[0], stored.shape[1]


def heads_of(width: int, hidden: int, known: Mapping[int, int] = HEADS) -> int:
    """How many heads a network of this width has. Raises UserError if no published one has it."""
    if (width, hidden) == (640, 1600):
        return HEADS_75M
    if width not in known:
        raise UserError(
            f"no size of SMDM has width {width}, so its number of heads is not known; "
            'write it into a config.json beside the file, as {"n_head": 12}'
        )
    return known[width]


FRAME: dict[str, Any] = {"mask": "[MASK]", "end": "</s>", "pad": "</s>", "template": "<s>{prompt}"}

SMDM = Family(
    about="SMDM, 6M to 2121M (Nie et al. 2025, arXiv 2410.18514)",
    model_types=("smdm",),
    configure=configure,
    network=Transformer,
    keys=KEYS,
    # TinyLlama's tokenizer begins a text with <s>; the mask token lies beyond its 32000, under a name of ours
    frame=FRAME,
    recognise=recognise,
)

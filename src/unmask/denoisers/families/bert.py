"""BERT: any masked language model in the layout of `BertForMaskedLM` (Devlin et al. 2019, arXiv 1810.04805).

config.json of bert-base-uncased, the entries that matter:

    {"model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 30522, "hidden_size": 768,
     "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu",
     "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
     "position_embedding_type": "absolute"}

The mask token is known to the tokenizer alone. An encoder saved without its output head (a `BertModel`, as models of
sentences are) is refused, the tensors of the head named, unless a new one is asked for.
Source: modeling_bert.py of transformers, and the names in model.safetensors of google-bert/bert-base-uncased.
"""

from pathlib import Path

from unmask.denoisers.bert import ACTIVATIONS, Bert, BertConfig
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.codec import read_names
from unmask.denoisers.entries import entry, must_be, one_of
from unmask.denoisers.families.base import Family
from unmask.denoisers.foreign_codec import token_of

# How a text stands on the canvas: `[CLS] prompt response [SEP]`, all of token type 0. The prompt runs straight on into
# the response, as a text with holes did in training. The last [SEP] is always visible: no network of the kind was ever
# asked to write one. One that is fitted further learns to, since [SEP] also fills what a response leaves.
FRAME = {"mask": "[MASK]", "end": "[SEP]", "pad": "[PAD]", "template": "[CLS]{prompt}{response}[SEP]"}

# Their name of a tensor -> ours; `{i}` is the number of a block. No tensor is split, joined or turned.
_BLOCK = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "feed_forward.up",
    "output.dense": "feed_forward.down",
    "output.LayerNorm": "feed_forward_norm",
}
KEYS = {
    "bert.embeddings.word_embeddings.weight": "embed.weight",
    "bert.embeddings.position_embeddings.weight": "places.weight",
    "bert.embeddings.token_type_embeddings.weight": "types.weight",
    "bert.embeddings.LayerNorm.weight": "norm.weight",
    "bert.embeddings.LayerNorm.bias": "norm.bias",
    **{
        f"bert.encoder.layer.{{i}}.{theirs}.{part}": f"blocks.{{i}}.{ours}.{part}"
        for theirs, ours in _BLOCK.items()
        for part in ("weight", "bias")
    },
    "cls.predictions.transform.dense.weight": "head.dense.weight",
    "cls.predictions.transform.dense.bias": "head.dense.bias",
    "cls.predictions.transform.LayerNorm.weight": "head.norm.weight",
    "cls.predictions.transform.LayerNorm.bias": "head.norm.bias",
    "cls.predictions.decoder.weight": "head.decoder.weight",
    "cls.predictions.decoder.bias": "head.decoder.bias",
}
# Older files say the same otherwise: (what stands there, what KEYS calls it), as regular expressions.
SPELLINGS = (
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"^(embeddings|encoder)\.", r"bert.\1."),  # an encoder saved on its own
    (r"^pooler\.", "bert.pooler."),
)
# One tensor under two names where head and embedding are tied; where they are not, the second is what is added.
STAND_INS = {"cls.predictions.bias": "cls.predictions.decoder.bias"}
# In the file, and no part of a masked language model.
IGNORED = {
    "bert.embeddings.position_ids": "counts from 0",
    "bert.embeddings.token_type_ids": "zeros",
    "bert.pooler.dense.weight": "makes one vector of a sentence",
    "bert.pooler.dense.bias": "makes one vector of a sentence",
    "cls.seq_relationship.weight": "says whether two sentences follow each other",
    "cls.seq_relationship.bias": "says whether two sentences follow each other",
}


def configure(checkpoint: Checkpoint) -> BertConfig:
    """From config.json and the tokenizer. Raises UserError naming what is missing or asks for another network."""
    values = checkpoint.config
    must_be(values, "position_embedding_type", "absolute", "relative positions are another network")
    must_be(values, "is_decoder", False, "a decoder does not see what stands on the right")
    must_be(values, "add_cross_attention", False, "there is nothing to attend to")
    return BertConfig(
        vocabulary=entry(values, "vocab_size", int),
        mask_token=mask_of(checkpoint.folder),
        context=entry(values, "max_position_embeddings", int),
        layers=entry(values, "num_hidden_layers", int),
        width=entry(values, "hidden_size", int),
        heads=entry(values, "num_attention_heads", int),
        hidden=entry(values, "intermediate_size", int),
        token_types=entry(values, "type_vocab_size", int, 2),
        norm_eps=entry(values, "layer_norm_eps", float, 1e-12),
        activation=one_of(values, "hidden_act", ACTIVATIONS, "gelu"),
        tied=entry(values, "tie_word_embeddings", bool, True),
    )


def mask_of(folder: Path) -> int:
    """The mask token: the tokenizer's [MASK], or what a codec.json beside it names instead."""
    names = read_names(folder / "codec.json") if (folder / "codec.json").is_file() else {}
    return token_of(folder, names.get("mask", FRAME["mask"]))


BERT = Family(
    about="BERT, any masked language model of its layout (Devlin et al. 2019, arXiv 1810.04805)",
    model_types=("bert",),
    configure=configure,
    network=Bert,
    keys=KEYS,
    frame=FRAME,
    spellings=SPELLINGS,
    ignored=IGNORED,
    stand_ins=STAND_INS,
    response_length=32,
)

"""BERT: a masked language model is a denoiser whose canvas has only ever had a few holes.

Post-norm blocks with learned positions (Devlin et al. 2019, arXiv 1810.04805), in the layout of `BertForMaskedLM`.
It was trained with 15 % of the tokens hidden, so as it comes it is at its best near the end of a canvas;
`unmask fit --init` teaches it the beginning.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.core.draws import positions_from_first_valid
from unmask.core.errors import UserError
from unmask.denoisers.entries import entry, must_be, one_of
from unmask.denoisers.network import Network

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}

# How a text stands on the canvas: `[CLS] prompt response [SEP] [SEP] ...`, all of token type 0. The prompt runs
# straight on into the response, as a text with holes did in training; [SEP] is what a response ends with.
FRAME = {"mask": "[MASK]", "end": "[SEP]", "pad": "[PAD]", "template": "[CLS]{prompt}"}

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
    (r"^cls\.predictions\.bias$", "cls.predictions.decoder.bias"),  # one tensor under two names
)
# In the file, and no part of a masked language model.
IGNORED = {
    "bert.embeddings.position_ids": "counts from 0",
    "bert.embeddings.token_type_ids": "zeros",
    "bert.pooler.dense.weight": "makes one vector of a sentence",
    "bert.pooler.dense.bias": "makes one vector of a sentence",
    "cls.seq_relationship.weight": "says whether two sentences follow each other",
    "cls.seq_relationship.bias": "says whether two sentences follow each other",
}


@dataclass(frozen=True)
class BertConfig:
    """Shape of a `Bert`. context: rows of the table of positions, so it cannot grow."""

    vocabulary: int
    mask_token: int
    context: int = 512
    layers: int = 12
    width: int = 768
    heads: int = 12
    hidden: int = 3072
    token_types: int = 2
    norm_eps: float = 1e-12
    activation: str = "gelu"
    tied: bool = True

    def __post_init__(self) -> None:
        check_sizes(self, ("vocabulary", "context", "layers", "width", "heads", "hidden", "token_types"))
        if self.activation not in ACTIVATIONS:
            raise UserError(f"there is no activation {self.activation!r}; choose one of {', '.join(ACTIVATIONS)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to config.json."""
        return asdict(self)

    @staticmethod
    def from_config(values: Mapping[str, Any], mask_token: int) -> "BertConfig":
        """From the config.json of a `bert` checkpoint; the mask token is known to its tokenizer alone.

        Raises UserError naming the entry that is missing, or that this network cannot do.
        """
        must_be(values, "position_embedding_type", "absolute", "relative positions are another network")
        must_be(values, "is_decoder", False, "a decoder does not see what stands on the right")
        must_be(values, "add_cross_attention", False, "there is nothing to attend to")
        return BertConfig(
            vocabulary=entry(values, "vocab_size", int),
            mask_token=mask_token,
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


def check_sizes(config: Any, names: tuple[str, ...]) -> None:
    """Raise UserError if a size of a network is not a whole number of at least 1, or does not fit another."""
    for name in names:
        value = getattr(config, name)
        if type(value) is not int or value < 1:
            raise UserError(f"{name} must be a whole number of at least 1, got {value!r}")
    if config.width % config.heads:
        raise UserError(f"width {config.width} does not split into {config.heads} heads; choose a multiple")
    if not 0 <= config.mask_token < config.vocabulary:
        raise UserError(f"mask token {config.mask_token} lies outside the vocabulary of {config.vocabulary}")


def table(rows: int, width: int) -> nn.Embedding:
    """A blank embedding: filled by `initialise` or from a file. Drawing it here would import torch's compiler."""
    blank = torch.zeros(rows, width)
    return nn.Embedding.from_pretrained(blank, freeze=False)  # type: ignore[no-untyped-call,no-any-return]


class Attention(nn.Module):
    """Every position looks at every valid one; biases everywhere."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, H, L, D / H]
            for project in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two layers with an activation between."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.hidden)
        self.down = nn.Linear(config.hidden, config.width)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """norm(x + attention(x)), then norm(x + feed_forward(x)): the norm comes after the sum."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention_norm(x + self.attention(x, mask))
        return self.feed_forward_norm(x + self.feed_forward(x))  # type: ignore[no-any-return]


class PredictionHead(nn.Module):
    """From hidden states [M, D] to logits [M, V]: a layer, a norm, and the decoder with a bias for every token."""

    def __init__(
        self, width: int, vocabulary: int, activation: str, eps: float, *, bias: bool = True,
        norm_bias: bool = True, decoder_bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dense = nn.Linear(width, width, bias=bias)
        self.activation = ACTIVATIONS[activation]
        self.norm = nn.LayerNorm(width, eps=eps, bias=norm_bias)
        self.decoder = nn.Linear(width, vocabulary, bias=decoder_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.decoder(self.norm(self.activation(self.dense(hidden))))  # type: ignore[no-any-return]


class Bert(Network):
    """The denoiser: `Bert(config)(canvas)` gives a `Denoised` whose `hidden` is the output of the last block.

    Positions count from each row's first valid one, so padding on either side changes nothing.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config: BertConfig = config
        self.embed = table(config.vocabulary, config.width)
        self.places = table(config.context, config.width)
        self.types = table(config.token_types, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head: PredictionHead = PredictionHead(
            config.width, config.vocabulary, config.activation, config.norm_eps
        )
        self.tie()

    def tie(self) -> None:
        """Let the decoder share the embedding's tensor, if it does."""
        if self.config.tied:
            self.head.decoder.weight = self.embed.weight

    def initialise(self, generator: torch.Generator) -> "Bert":
        """Normal weights of deviation 0.02, as BERT began; norms one, biases nought."""
        begin_anew(self, generator)
        return self

    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """[B, L, D]: hidden states at every position; `tokens` long [B, L], `valid` bool [B, L]."""
        place = positions_from_first_valid(valid).clamp(0, self.config.context - 1)  # padding may lie beyond
        x = self.norm(self.embed(tokens) + self.places(place) + self.types.weight[0])
        return self.trunk(x, None if bool(valid.all()) else valid[:, None, None, :])

    def trunk(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The blocks: the part worth compiling (no shapes that depend on data)."""
        for block in self.blocks:
            x = block(x, mask)
        return x


def begin_anew(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight of `module` from a normal law of deviation 0.02; norms become one and biases nought."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            with torch.no_grad():
                if name == "bias":
                    parameter.zero_()
                elif isinstance(part, nn.LayerNorm):
                    parameter.fill_(1.0)
                else:
                    parameter.normal_(0.0, 0.02, generator=generator)

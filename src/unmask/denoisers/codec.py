"""Text to canvas and back.

A problem is written as `question -> <<16-3-4=9>> <<9*2=18>> #### 18`: the prompt on the left, padded on the left;
the response on the right, padded on the right with the end token, which is generated and learned like any other.
Every digit is a token of its own.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.core.files import read_json

# A tokenizer of word pieces forgets white space and puts it between all signs: `# # # # - 2. 5` was `#### -2.5`.
# Where signs of sums meet signs or digits, or a point or comma parts digits, there was most likely none.
GLUE = re.compile(r"(?<=[#<>=+*/$-]) (?=[#<>=+*/$\d-])|(?<=\d) (?=[#<>=+*/%-])|(?<=\d[.,]) (?=\d)")
MARK = "<|mask|>"  # how a person marks one position to be written
# What may become one token: the joints of the equation format, a word with its space, one digit, punctuation.
PIECES = r" ->|>> <<|>> #### |<<|>>| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}<>]+|[<>]+|\s+"


@dataclass(frozen=True)
class Codec:
    """A tokenizer and the meaning of its special tokens.

    template: how a prompt is written, with `{prompt}` in it; the response follows without a space. With `{response}`
        after it, as in `[CLS]{prompt}{response}[SEP]`, what follows that closes every canvas, always visible; a text
        to infill then stands between the same two ends.
    stops: tokens that end a text too, as a turn of a chat does; only `end` fills what is left after it.
    """

    tokenizer: Tokenizer
    mask: str = "<|mask|>"
    end: str = "<|end|>"
    pad: str = "<|pad|>"
    template: str = "{prompt} ->"
    stops: tuple[str, ...] = ()

    @staticmethod
    def train(texts: Iterable[str], vocabulary: int) -> "Codec":
        """Learn a byte-level BPE of at most `vocabulary` tokens; any text can be written in it."""
        codec = Codec(Tokenizer(models.BPE()))
        tokenizer = codec.tokenizer
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[codec.pad, codec.end, codec.mask],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return codec

    @property
    def vocabulary(self) -> int:
        """Number of tokens, special ones included."""
        return int(self.tokenizer.get_vocab_size())

    @cached_property
    def ids(self) -> frozenset[int]:
        """Every id that is a token; there may be holes between them."""
        return frozenset(self.tokenizer.get_vocab(with_added_tokens=True).values())

    def beyond(self, columns: int) -> frozenset[int]:
        """Of the ids 0..columns - 1 those that are no token: rows that an embedding was padded with, and holes."""
        return frozenset(range(columns)) - self.ids

    @cached_property
    def mask_token(self) -> int:
        """Id of the mask token."""
        return self._id(self.mask)

    @cached_property
    def end_token(self) -> int:
        """Id of the end token."""
        return self._id(self.end)

    @cached_property
    def pad_token(self) -> int:
        """Id of the padding token."""
        return self._id(self.pad)

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Ids of everything that ends a text: the end token and `stops`."""
        return frozenset((self.end_token, *map(self._id, self.stops)))

    def cut(self, tokens: Sequence[int]) -> list[int]:
        """The ids before the first that ends the text."""
        return list(takewhile(lambda token: token not in self.end_tokens, tokens))

    def _id(self, token: str) -> int:
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise UserError(
                f"the tokenizer has no token `{token}`; the codec.json beside it belongs to another tokenizer"
            )
        return int(found)

    def encode_prompt(self, prompt: str) -> list[int]:
        """Token ids of a prompt in its template. Raises UserError on an empty prompt."""
        if not prompt.strip():
            raise UserError("the prompt is empty; write a question, e.g. \"Ana has 3 pens and buys 4. How many?\"")
        before, _, _ = self.template.partition("{response}")
        return self.encode(before.replace("{prompt}", prompt.strip()))

    @cached_property
    def opening(self) -> list[int]:
        """Token ids before a text to infill; none where the template does not say where the response stands."""
        before, there, _ = self.template.partition("{response}")
        return self.encode(before.partition("{prompt}")[0]) if there else []

    @cached_property
    def closing(self) -> list[int]:
        """Token ids after the response."""
        return self.encode(self.template.partition("{response}")[2])

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, without template or end."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_response(self, response: str, length: int) -> list[int] | None:
        """Exactly `length` ids, right-padded with the end token; None if text and one end token do not fit."""
        ids = self.encode(response)
        if len(ids) >= length:
            return None
        return ids + [self.end_token] * (length - len(ids))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text up to the first end token; mask and padding tokens are left out."""
        skip = {self.mask_token, self.pad_token, *self.opening}
        kept = [token for token in self.cut(tokens) if token not in skip]
        text = str(self.tokenizer.decode(kept, skip_special_tokens=False))
        return GLUE.sub("", text) if isinstance(self.tokenizer.decoder, decoders.WordPiece) else text

    def canvas(
        self,
        prompts: Sequence[str],
        response_length: int,
        budget: int,
        context: int | None = None,
        rows: Sequence[int] | None = None,
    ) -> Canvas:
        """Prompts on the left (padded on the left), `response_length` masked positions on the right.

        rows: the identity of each row for its random draws; 0, 1, ... unless given.
        Raises UserError on an empty prompt, one that does not fit into `context`, or a budget below 1.
        """
        encoded = [self.encode_prompt(prompt) for prompt in prompts]
        blank = [self.mask_token] * response_length
        return self.assemble(encoded, [blank] * len(encoded), budget, context, rows, masked=True)

    def clean_canvas(self, prompts: Sequence[str], responses: Sequence[Sequence[int]], rows: Sequence[int]) -> Canvas:
        """The same with the responses (ids from `encode_response`) written and marked as maskable in `masked`."""
        encoded = [self.encode_prompt(prompt) for prompt in prompts]
        return self.assemble(encoded, responses, budget=1, context=None, rows=rows, masked=True)

    def infill(self, texts: Sequence[str], budget: int, context: int | None = None) -> Canvas:
        """A canvas from texts in which `<|mask|>` (or `<|mask:8|>` for eight of them) marks what to write.

        The marks are these whatever the tokenizer calls its mask token; that name will do too.
        """
        encoded = []
        for text in texts:
            first, *others = (self.encode(part) for part in around_marks(text, self.mask))
            encoded.append(self.opening + first + [token for other in others for token in (self.mask_token, *other)])
            if not others:
                raise UserError(f"nothing to infill in `{text}`: mark what to write with {MARK}")
        canvas = self.assemble(encoded, [[]] * len(encoded), budget, context, rows=None, masked=False)
        return Canvas.make(
            canvas.tokens, canvas.tokens == self.mask_token, canvas.budget, canvas.valid, canvas.row
        )

    def assemble(
        self,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        budget: int,
        context: int | None,
        rows: Sequence[int] | None,
        masked: bool,
    ) -> Canvas:
        """Left-pad prompts, append equally long responses and what closes them, check the sizes.

        context: the most tokens of prompt and response; what closes them is not among those.
        """
        if budget < 1:
            raise UserError(f"the budget must be at least 1 step, got {budget}")
        width = max(len(prompt) for prompt in prompts)
        response_length = len(responses[0])
        for prompt in prompts:
            if context is not None and len(prompt) + response_length > context:
                raise UserError(
                    f"the prompt has {len(prompt)} tokens, and with a response of {response_length} it passes the "
                    f"context of {context}; shorten it to {max(context - response_length, 0)} tokens"
                )
        pads = [width - len(prompt) for prompt in prompts]
        tokens = torch.tensor(
            [
                [self.pad_token] * pad + list(p) + list(r) + self.closing
                for pad, p, r in zip(pads, prompts, responses, strict=True)
            ]
        )
        valid = torch.arange(width + response_length + len(self.closing))[None, :] >= torch.tensor(pads)[:, None]
        maskable = torch.zeros_like(valid)
        maskable[:, width : width + response_length] = masked
        row: Tensor | None = None if rows is None else torch.tensor(list(rows))
        return Canvas.make(tokens, maskable, budget, valid, row)

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and codec.json into `folder`."""
        # not `tokenizer.save`, whose errors are no OSError when the disk is full
        (folder / "tokenizer.json").write_text(self.tokenizer.to_str(pretty=True), encoding="utf-8")
        names: dict[str, Any] = {"mask": self.mask, "end": self.end, "pad": self.pad, "template": self.template}
        if self.stops:
            names["stops"] = list(self.stops)
        (folder / "codec.json").write_text(json.dumps(names, indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> "Codec":
        """Read what `save` wrote. Raises UserError naming the file that is missing or damaged."""
        names = read_names(folder / "codec.json")
        codec = Codec(read_tokenizer(folder / "tokenizer.json"), **names)
        _ = codec.mask_token, codec.end_tokens, codec.pad_token
        return codec


def around_marks(text: str, mask: str) -> list[str]:
    """What stands before, between and after the positions that `text` marks to be written; `mask` marks one too."""
    long = re.sub(r"<\|mask:(\d+)\|>", lambda match: MARK * int(match[1]), text)
    return long.replace(mask, MARK).split(MARK)


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json. Raises UserError naming the file if it is missing, damaged or something else."""
    read_json(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()  # some are saved as they were last used: cut at 128 tokens and filled up to them
        tokenizer.no_truncation()
        return tokenizer
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{path} is not a tokenizer of the `tokenizers` library: {error}") from error


def is_template(text: str) -> bool:
    """Whether there is one place for the prompt, and at most one for the response, after it."""
    before, _, after = text.partition("{prompt}")
    return text.count("{prompt}") == 1 and after.count("{response}") <= 1 and "{response}" not in before


def read_names(path: Path) -> dict[str, Any]:
    """The entries of a codec.json, by the fields of `Codec`. Raises UserError naming the file and what is wrong."""
    names = read_json(path)
    unknown = set(names) - {"mask", "end", "pad", "template", "stops"}
    if unknown:
        raise UserError(f"{path} has unknown entries {sorted(unknown)}; it is of another version")
    for name, value in names.items():
        words = (value if isinstance(value, list) else [None]) if name == "stops" else [value]
        if not all(isinstance(word, str) for word in words) or (name == "template" and not is_template(value)):
            raise UserError(f"{path} is damaged: {name} cannot be {value!r}")
    return names | ({"stops": tuple(names["stops"])} if "stops" in names else {})

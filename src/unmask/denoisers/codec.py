"""Text to canvas and back.

A problem is written as `question -> <<16-3-4=9>> <<9*2=18>> #### 18`: the prompt on the left, padded on the left;
the response on the right, padded on the right with the end token, which is generated and learned like any other.
Every digit is a token of its own.

A prompt is written by a template: `bare`, the text as it is; `chat`, as a turn of a conversation; or a text with
`{prompt}` in it. Names of special tokens in a prompt become those tokens, as everywhere; in data they are letters.
"""

import contextlib
import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.core.example import PROMPT
from unmask.core.files import read_json
from unmask.core.texts import check_characters
from unmask.core.typed import brief
from unmask.denoisers.chat import ChatTemplate, Conversation, check_conversation
from unmask.denoisers.letters import Hidden, without_prefix
from unmask.denoisers.marks import MARK, read_marks

# A tokenizer of word pieces forgets white space and puts it between all signs: `# # # # - 2. 5` was `#### -2.5`.
# Where signs of sums meet signs or digits, or a point or comma parts digits, there was most likely none.
GLUE = re.compile(r"(?<=[#<>=+*/$-]) (?=[#<>=+*/$\d-])|(?<=\d) (?=[#<>=+*/%-])|(?<=\d[.,]) (?=\d)")
OWN = "{prompt} ->"  # of the format above; the one template that drops the white space around a prompt
BARE, CHAT = "bare", "chat"  # the templates that have names
# What may become one token: the joints of the equation format, a word with its space, one digit, punctuation.
PIECES = r" ->|>> <<|>> #### |<<|>>| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}<>]+|[<>]+|\s+"


@dataclass(frozen=True)
class Codec:
    """A tokenizer and the meaning of its special tokens.

    template: how a prompt is written, with `{prompt}` in it; the response follows without a space. With `{response}`
        after it, as in `[CLS]{prompt}{response}[SEP]`, what follows that closes every canvas, always visible; a text
        to infill then stands between the same two ends. Or `chat`: as a turn, by the chat template.
    stops: tokens that end a text too, as a turn of a chat does; only `end` fills what is left after it.
    bare:  the template of a text as it is: with the tokens of the family that open and close any text, if it has some.
    chat:  the template of conversations, where there is one.
    """

    tokenizer: Tokenizer
    mask: str = "<|mask|>"
    end: str = "<|end|>"
    pad: str = "<|pad|>"
    template: str = OWN
    stops: tuple[str, ...] = ()
    bare: str = "{prompt}"
    chat: ChatTemplate | None = None

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

    @cached_property
    def special(self) -> dict[str, int]:
        """The special tokens, by name: those that the tokenizer keeps apart from letters, and those named here."""
        added = self.tokenizer.get_added_tokens_decoder()
        named = {name: self._id(name) for name in (self.mask, self.end, self.pad, *self.stops)}
        return {token.content: number for number, token in added.items() if token.special} | named

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        return frozenset(self.special.values())

    # ---- templates

    def with_template(self, template: str | None) -> "Codec":
        """The same with another template: `bare`, `chat`, or a text with `{prompt}` in it; None changes nothing.

        Raises UserError on one that cannot be, or on `chat` where there is no chat template.
        """
        if template is None or template == self.template:
            return self
        if template == CHAT and self.chat is None:
            raise UserError(
                "this denoiser has no chat template: copy the chat_template.jinja or tokenizer_config.json of the "
                "checkpoint beside its weights, or give a text with {prompt} in it as the template"
            )
        check_template(template)
        return replace(self, template=self.bare if template == BARE else template)

    @property
    def template_name(self) -> str:
        """What people call the template."""
        return BARE if self.template == self.bare else self.template

    @property
    def _text(self) -> str:
        """The template for texts that are no turn of a conversation."""
        return self.bare if self.template == CHAT else self.template

    @cached_property
    def is_bare(self) -> bool:
        """Whether prompt and response are one text: nothing stands between, and special tokens alone before it."""
        return self.template != CHAT and self._opens(self.template)

    def check_prompt(
        self, prompt: str | Conversation, whose: str = "the prompt", may_be_empty: bool = False
    ) -> None:
        """Raise UserError if it cannot be written: `whose` is what the message calls it."""
        if not isinstance(prompt, str):
            check_conversation(prompt, whose)
            if self.chat is None:
                raise UserError(f"{whose} is a conversation, and this denoiser has no chat template: give a text")
        elif not (prompt.strip() or may_be_empty or self.is_bare):
            raise UserError(
                f'{whose} is empty; write a question, e.g. "{PROMPT}", or give the template {BARE} for a text from '
                "nothing"
            )

    def write_prompt(self, prompt: str | Conversation) -> str:
        """A prompt in its template, as text. A conversation is always written by the chat template."""
        if not isinstance(prompt, str) or self.template == CHAT:
            assert self.chat is not None, "`with_template` and `load` see to it"
            return self.chat.render([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt)
        before, _, _ = self.template.partition("{response}")
        return before.replace("{prompt}", prompt.strip() if self.template == OWN else prompt)

    @cached_property
    def opening(self) -> list[int]:
        """Token ids before a text that is no turn; none where the template does not say where the response stands."""
        before, _, after = self._text.partition("{prompt}")
        return self.encode(before) if "{response}" in after or self._opens(self._text) else []

    @cached_property
    def closing(self) -> list[int]:
        """Token ids after the response."""
        return self.encode(self.template.partition("{response}")[2])

    def _opens(self, template: str) -> bool:
        before, _, after = template.partition("{prompt}")
        return opens_text(self.encode(before), after, self._special_ids)

    # ---- tokens

    def encode_prompt(self, prompt: str | Conversation, letters: Collection[str] = ()) -> list[int]:
        """Token ids of a prompt in its template.

        letters: names of special tokens that are letters where the prompt has them; those of the template never are.
            Given, the prompt is data, which may be empty.
        Raises UserError on an empty prompt, but for a bare template, which may open a text with nothing.
        """
        self.check_prompt(prompt, may_be_empty=bool(letters))
        hidden = Hidden.of(prompt, letters)
        if isinstance(hidden.prompt, str) and self.is_bare:
            return self.opening + self._encode_hidden(hidden.prompt, hidden.names)
        return self._encode_hidden(self.write_prompt(hidden.prompt), hidden.names)

    def encode_pair(
        self, context: str, continuation: str, letters: Collection[str] = ()
    ) -> tuple[list[int], list[int]]:
        """Token ids of a prompt in its template and of what follows it, read as one text and cut where the prompt ends.

        In a bare template white space at the end of the context belongs to what follows, as in lm-eval's own models.
        In any other the response begins with no space, and in our own format, whose responses are learned apart from
        their prompts, it is read apart.
        """
        if not context.strip() and not self.is_bare:
            return list(self.opening), self.encode(continuation, letters)
        if self.is_bare:
            kept = context.rstrip()
            continuation = context[len(kept) :] + continuation
            before, whole = (self.encode_prompt(text, letters) for text in (kept, kept + continuation))
        else:
            continuation = continuation.lstrip() or continuation  # which may be blank and nothing else
            before = self.encode_prompt(context, letters)
            if self.template == OWN:
                return before, self.encode(continuation, letters)
            (prompt, rest), names = Hidden.of([context, continuation], letters)
            whole = self._encode_hidden(self.write_prompt(prompt) + rest, names)
        return before, whole[len(before) :] or self.encode_on(continuation, letters)

    def encode(self, text: str, letters: Collection[str] = ()) -> list[int]:
        """Token ids of plain text, without template or end. letters: names of special tokens that are letters here."""
        hidden = Hidden.of(text, letters)
        return self._encode_hidden(hidden.prompt, hidden.names)

    def encode_on(self, text: str, letters: Collection[str] = ()) -> list[int]:
        """Token ids of a text that goes on where another ended: without the blank some tokenizers put before a text."""
        hidden = Hidden.of(text, letters)
        return self._encode_hidden(hidden.prompt, hidden.names, within=True)

    def _encode_hidden(self, text: str, names: Mapping[str, str], within: bool = False) -> list[int]:
        """Token ids of a text in which single signs stand for the `names` that are letters."""
        check_characters(text, "a text")
        found: list[int] = []
        for piece in re.split(f"([{''.join(names)}])", text) if names else [text]:
            if piece in names:
                found += self._spell(names[piece])
            elif piece:
                tokenizer = self._within if found or within else self.tokenizer
                found += tokenizer.encode(piece, add_special_tokens=False).ids
        return found

    def _spell(self, name: str) -> list[int]:
        """Token ids of the letters of a special token's name."""
        ids = self._spelling.encode(name, add_special_tokens=False).ids
        if self._special_ids.isdisjoint(ids):
            return list(ids)
        apart = (self._spelling.encode(letter, add_special_tokens=False).ids for letter in name)
        return [token for ids in apart for token in ids]

    @cached_property
    def _within(self) -> Tokenizer:
        """The tokenizer for what stands within a text."""
        return without_prefix(self.tokenizer)

    @cached_property
    def _spelling(self) -> Tokenizer:
        """The same, to which special tokens are letters."""
        tokenizer = Tokenizer.from_str(self._within.to_str())
        tokenizer.encode_special_tokens = True
        return tokenizer

    def encode_response(self, response: str, length: int) -> list[int] | None:
        """Exactly `length` ids, right-padded with the end token; None if text and what ends it do not fit.

        In a chat the turn ends first, as the chat template ends it, and the end token fills what is left after that.
        A response is data: what looks like a special token in it is letters.
        """
        ids = self.encode(response, self.special) + self.turn_end
        if len(ids) + (not self.turn_end) > length:
            return None
        return ids + [self.end_token] * (length - len(ids))

    @cached_property
    def turn_end(self) -> list[int]:
        """Token ids by which the chat template ends a turn, up to the first that ends a text; none outside a chat."""
        if self.template != CHAT or self.chat is None:
            return []
        ids = self.encode_on(self.chat.turn_end())
        last = next((at for at, token in enumerate(ids) if token in self.end_tokens), None)
        return [] if last is None else ids[: last + 1]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text up to the first end token; special tokens are left out."""
        return self.read(self.cut(tokens))

    def read(self, tokens: Sequence[int], kept: Sequence[bool] | None = None) -> str:
        """The text of all of these tokens; special tokens are left out but where `kept` is true."""
        left_out = self._special_ids | {self.mask_token, self.pad_token}
        kept = [False] * len(tokens) if kept is None else kept
        return self.shown([token for token, keep in zip(tokens, kept, strict=True) if keep or token not in left_out])

    def shown(self, tokens: Sequence[int]) -> str:
        """The text of all of these tokens, special ones by their names."""
        text = str(self.tokenizer.decode(list(tokens), skip_special_tokens=False))
        return GLUE.sub("", text) if isinstance(self.tokenizer.decoder, decoders.WordPiece) else text

    def spell(self, tokens: Sequence[int], within: bool = False) -> str:
        """The same where it stands in a text, after other words if `within`: with the blank that is in its first token.

        What a tokenizer of word pieces puts between words is in none of them.
        """
        before = self.encode("a") if within else []
        text, known = self.shown([*before, *tokens]), self.shown(before)
        text = text[len(known) :] if text.startswith(known) else self.shown(tokens)
        return text.removeprefix(" ") if isinstance(self.tokenizer.decoder, decoders.WordPiece) else text

    # ---- canvases

    def canvas(
        self,
        prompts: Sequence[str | Conversation],
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
        return self.open_canvas(encoded, response_length, budget, context, rows, prompts)

    def open_canvas(
        self,
        encoded: Sequence[Sequence[int]],
        response_length: int,
        budget: int,
        context: int | None = None,
        rows: Sequence[int] | None = None,
        prompts: Sequence[object] | None = None,
    ) -> Canvas:
        """The same from token ids. prompts: what messages call them by; the ids themselves unless given."""
        check_room(encoded, response_length, context, encoded if prompts is None else prompts)
        blank = [self.mask_token] * response_length
        return self.assemble(encoded, [blank] * len(encoded), budget, None, rows, masked=True)

    def clean_canvas(self, prompts: Sequence[str], responses: Sequence[Sequence[int]], rows: Sequence[int]) -> Canvas:
        """The same with the responses (ids from `encode_response`) written and marked as maskable in `masked`.

        Prompts are data here: what looks like a special token in them is letters.
        """
        encoded = [self.encode_prompt(prompt, self.special) for prompt in prompts]
        return self.assemble(encoded, responses, budget=1, context=None, rows=rows, masked=True)

    def infill(
        self,
        texts: Sequence[str | Sequence[int]],
        budget: int,
        context: int | None = None,
        letters: Collection[str] = (),
    ) -> Canvas:
        """A canvas from texts in which `<|mask|>` (or `<|mask:8|>` for eight of them) marks what to write.

        The marks are these whatever the tokenizer calls its mask token; that name will do too. In token ids the mask
        token is the mark. letters: names of special tokens that are letters; the mask token's stays a mark.
        Raises UserError on a text without a mark, or one that does not fit into `context`.
        """
        if self.template == CHAT:  # such a text is no turn
            return self.with_template(BARE).infill(texts, budget, context, letters)
        encoded = [self._marked(text, context, letters) if isinstance(text, str) else list(text) for text in texts]
        for text, ids in zip(texts, encoded, strict=True):
            if self.mask_token not in ids:
                raise UserError(f"nothing to infill in {in_short(text)}: mark what to write with {MARK}")
        check_room(encoded, 0, context, texts)
        canvas = self.assemble(encoded, [[]] * len(encoded), budget, context=None, rows=None, masked=False)
        return Canvas.make(
            canvas.tokens, canvas.tokens == self.mask_token, canvas.budget, canvas.valid, canvas.row
        )

    def _marked(self, text: str, context: int | None, letters: Collection[str]) -> list[int]:
        first, *others = read_marks(text, self.mask, context)
        ids = self.opening + self.encode(first.text, letters)
        for part in others:
            ids += [self.mask_token] * part.blanks + self.encode_on(part.text, letters)
        return ids

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
        check_room(prompts, len(responses[0]), context, prompts)
        width = max(len(prompt) for prompt in prompts)
        response_length = len(responses[0])
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

    # ---- on disk

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and codec.json into `folder`."""
        # not `tokenizer.save`, whose errors are no OSError when the disk is full
        (folder / "tokenizer.json").write_text(self.tokenizer.to_str(pretty=True), encoding="utf-8")
        names: dict[str, Any] = {"mask": self.mask, "end": self.end, "pad": self.pad, "template": self.template}
        if self.stops:
            names["stops"] = list(self.stops)
        if self.bare != "{prompt}":
            names["bare"] = self.bare
        if self.chat is not None:
            names["chat"] = {"template": self.chat.source, "tokens": dict(self.chat.tokens)}
        (folder / "codec.json").write_text(json.dumps(names, indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> "Codec":
        """Read what `save` wrote. Raises UserError naming the file that is missing or damaged."""
        names = read_names(folder / "codec.json")
        if names.get("template") == BARE:
            names["template"] = names.get("bare", "{prompt}")
        codec = Codec(read_tokenizer(folder / "tokenizer.json"), **names)
        _ = codec.mask_token, codec.end_tokens, codec.pad_token
        if codec.template == CHAT and codec.chat is None:
            raise UserError(f"{folder / 'codec.json'} is damaged: template is {CHAT}, and there is no chat template")
        # what was saved before `bare` had an entry
        return replace(codec, bare=codec.template) if "bare" not in names and codec.is_bare else codec


def opens_text(before: Sequence[int], after: str, special: Collection[int]) -> bool:
    """Whether a template of these parts, left and right of the prompt, adds nothing but special tokens to a text."""
    return set(before) <= set(special) and after.partition("{response}")[0] == ""


def in_short(prompt: object) -> str:
    """The beginning of a prompt, for a message: of what a conversation said last, or of token ids."""
    if hasattr(prompt, "tolist"):  # a tensor, or numpy's
        prompt = prompt.tolist()
    if isinstance(prompt, str):
        text = prompt
    elif isinstance(prompt, Sequence) and prompt and isinstance(prompt[-1], Mapping):
        text = str(prompt[-1].get("content"))
    else:
        return "[" + ", ".join(map(str, prompt[:4])) + ", ...]" if isinstance(prompt, Sequence) else repr(prompt)
    text = " ".join(text.split())
    return f"`{text}`" if len(text) <= 40 else f"`{text[:37]}...`"


def check_room(
    encoded: Sequence[Sequence[int]], response_length: int, context: int | None, prompts: Sequence[object]
) -> None:
    """Raise UserError if any prompt and its response pass `context`; it says which, and what would fit."""
    long = [n for n, ids in enumerate(encoded) if context is not None and len(ids) + response_length > context]
    if not long or context is None:
        return
    count, longest = len(encoded), max(map(len, encoded))
    if response_length >= context:
        most = context - longest
        raise UserError(
            f"a response of {response_length} positions leaves no room for a prompt: it passes the context of "
            f"{context}, which is for both; choose a response length (--response-length) of at most "
            + (f"{most}" if most >= 1 else f"{context // 2}, and prompts of at most {context - context // 2} tokens")
        )
    room = context - response_length
    beside = f"with a response of {response_length} " if response_length else ""
    if len(long) == 1:
        (n,) = long
        which = "the prompt" if count == 1 else f"prompt {n + 1} of {count} ({in_short(prompts[n])})"
        raise UserError(
            f"{which} has {len(encoded[n])} tokens, and {beside}it passes the context of {context}; "
            f"shorten it to {room} tokens"
        )
    some = ", ".join(f"prompt {n + 1} ({in_short(prompts[n])}, {len(encoded[n])} tokens)" for n in long[:20])
    more = f" and {len(long) - 20} more" if len(long) > 20 else ""
    raise UserError(
        f"{len(long)} of {count} prompts are too long, {beside}each passes the context of {context}: {some}{more}; "
        f"shorten them to {room} tokens"
    )


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json. Raises UserError naming the file if it is missing, damaged or something else."""
    read_json(path)
    try:
        with silenced():
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8-sig"))
        tokenizer.no_padding()  # some are saved as they were last used: cut at 128 tokens and filled up to them
        tokenizer.no_truncation()
        return tokenizer
    except BaseException as error:  # the library raises bare Exception, and where it panics none at all
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
            raise
        why = str(error).partition("\n")[0]
        raise UserError(f"{path} is not a tokenizer of the `tokenizers` library: {why}") from error


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep what a library in Rust writes on stderr while it panics from the person; the error is raised even so."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    sys.stderr.flush()
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def check_ids(tokenizer: Tokenizer, rows: int, where: Path) -> None:
    """Raise UserError if a token has an id beyond the rows of the embedding."""
    token, last = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if last >= rows:
        raise UserError(
            f"the tokenizer in {where} has {token!r} at {last} but the embedding has {rows} rows; they belong to "
            "different checkpoints"
        )


def is_template(text: str) -> bool:
    """Whether there is one place for the prompt, and at most one for the response, after it."""
    before, _, after = text.partition("{prompt}")
    return text.count("{prompt}") == 1 and after.count("{response}") <= 1 and "{response}" not in before


def check_template(template: str) -> None:
    """Raise UserError if it can be none."""
    if template not in (BARE, CHAT) and not is_template(template):
        raise UserError(
            f"a template is {BARE}, {CHAT}, or a text with {{prompt}} in it once, and at most one {{response}} after "
            f"that; got `{template}`"
        )


def read_names(path: Path) -> dict[str, Any]:
    """The entries of a codec.json, by the fields of `Codec`. Raises UserError naming the file and what is wrong."""
    names = read_json(path)
    unknown = set(names) - {"mask", "end", "pad", "template", "stops", "bare", "chat"}
    if unknown:
        raise UserError(f"{path} has unknown entries {brief(sorted(unknown))}; it is of another version")
    for name, value in names.items():
        if not _can_be(name, value):
            raise UserError(f"{path} is damaged: {name} cannot be {value!r:.200}")
    if "chat" in names:
        names["chat"] = ChatTemplate(names["chat"]["template"], tuple(names["chat"].get("tokens", {}).items()))
    return names | ({"stops": tuple(names["stops"])} if "stops" in names else {})


def _can_be(name: str, value: Any) -> bool:
    """Whether an entry of a codec.json may have this value."""
    if name == "stops":
        return isinstance(value, list) and all(isinstance(word, str) for word in value)
    if name == "chat":
        tokens = value.get("tokens", {}) if isinstance(value, dict) else None
        known = isinstance(tokens, dict) and all(isinstance(token, str) for token in tokens.values())
        return known and isinstance(value.get("template"), str)
    if name in ("template", "bare"):
        return isinstance(value, str) and (is_template(value) or (name == "template" and value in (BARE, CHAT)))
    return isinstance(value, str)

"""Decode texts: prompts in, generations out, in the order they came.

decode(denoiser, ["On Friday 24 children come to play and 6 of them go home early. The other children make teams of 3. How many teams are there?"], sampler="top-prob", budget=4)[0].text
'<<24-6=18>> <<18/3=6>> #### 6'
"""  # noqa: E501

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from unmask.core.canvas import Canvas, check_canvas, whole_numbers
from unmask.core.devices import check_float64
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoiser
from unmask.denoisers.caches import with_cache
from unmask.denoisers.codec import BARE, CHAT, Codec
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.marks import around_marks
from unmask.samplers import make_sampler
from unmask.samplers.base import AnyUnmasker, Unmasker
from unmask.samplers.decode import Decoded, Step, check_budgets, decode_canvas
from unmask.samplers.learned import Learned
from unmask.samplers.options import check_whole
from unmask.samplers.prompts import Prompt, as_list, encode_prompts


@runtime_checkable
class ForBudget(Protocol):
    """Anything with a sampler of its own for each budget: a learned order."""

    def unmasker(self, budget: int) -> Unmasker:
        """The sampler for rows that may take at most `budget` steps."""
        ...


Sampler = str | AnyUnmasker | ForBudget


class Generation(NamedTuple):
    """What was written for one prompt. The lists run over the positions that were masked, from left to right.

    prompt:      as given; None for a row of a canvas.
    text:        the response up to its end token or stop string; when infilling, the whole text with its
                 marks filled. Special tokens are left out. None without a codec.
    tokens:      what was written, special tokens too. A row ended by a stop string keeps what stood at positions
                 still masked.
    steps:       steps taken, those that revealed nothing included.
    nfe:         denoiser passes the row was part of.
    written:     tokens written, end tokens included.
    content:     of those, the ones before the first end token (infilling: those that are no end token).
    log_prob:    of all that was written, in nats; None at temperature > 0 unless asked for.
    revealed_at: the number (from 1) of the step each position was revealed at, the last time; 0 where none did.
    probability: what the denoiser gave the written token then; None where that is not known.
    stopped:     whether the text was cut at a stop string.
    """

    prompt: Prompt | None
    text: str | None
    tokens: list[int]
    steps: int
    nfe: int
    written: int
    content: int
    log_prob: float | None
    revealed_at: list[int]
    probability: list[float | None]
    stopped: bool


def decode(
    denoiser: Denoiser,
    prompts: Iterable[Prompt] | Tensor | Canvas,
    *,
    sampler: Sampler = "top-prob",
    budget: int | None = None,
    response_length: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    stop: Sequence[str] = (),
    log_probs: bool = False,
    infill: bool = False,
    on_step: Callable[[Step], None] | None = None,
    codec: Codec | None = None,
    batch: int = 64,
    rows: Sequence[int] | None = None,
    cache: str | None = None,
    exact: bool = False,
    template: str | None = None,
    split_special_tokens: bool = False,
    on_done: Callable[[int, Generation], None] | None = None,
) -> list[Generation]:
    """Write a response to every prompt, each in at most `budget` denoiser calls.

    prompts: for a denoiser with a codec, a list of texts, of conversations as `[{"role": "user", "content": "Why?"}]`
             (a single one will do), or of token ids, which are read as they are; or a long tensor [rows, positions].
             A canvas, for any `Callable[[Canvas], Denoised]`.
    sampler: `NAME:key=value,...`, an Unmasker, or a learned order: each row by the rule of its own budget.
    budget:  the most steps a row may take. For a canvas None keeps the budgets it has.
    response_length: positions a response gets; the denoiser's own unless given.
    stop:    the text is cut before the first of these, and its row ends once all left of it is written. The name of
             a special token stands for that token.
    infill:  each `<|mask|>` in the texts (or `<|mask:8|>`) is written, wherever it stands.
    on_step: called after each pass with a `Step` whose `rows` count through `prompts`; its canvases belong to
             one batch, and its number is that of the pass over this batch.
    batch:   rows decoded together, prompts of similar length (but see `on_done`). No rule looks at another row, but the
             rounding of the network may: in float32 no text was seen to change, in bfloat16 and float16 near ties turn.
             Rows for which a learned order has different rules never share one.
    rows:    the identity of each row for its random draws: 0, 1, ... (or the canvas's own) unless given.
    cache:   an approximate cache, e.g. `prefix-approximate` (see `denoisers/caches.py`); none unless given.
    exact:   each row by itself at its own length, whatever `batch` says, so that no shape depends on another row: in
             every precision the same seed, key, content and budget give the same answer on one machine (with the same
             versions and number of threads), learned orders included. Not for a compiled denoiser.
    template: how texts become prompts: `bare`, as they are; `chat`, a turn by the checkpoint's own chat template; or a
             text with `{prompt}` in it. The denoiser's own unless given. Conversations are always turns.
    split_special_tokens: the names of special tokens in a prompt are letters, as in training data; unless given they
             become those tokens, as in transformers.
    on_done: called with the place in `prompts` of each response, and the response, when its batch is finished. With it
             the batches are taken in the order of the prompts, and not by length, so that the first come first.

    Raises UserError that says which argument was wrong and what would be right.
    """
    check_whole("batch", batch, 1)
    check_float64(getattr(denoiser, "device", "cpu"))
    stops = _checked_stops(stop, plain=not infill and not isinstance(prompts, Canvas))
    codec = codec if codec is not None else getattr(denoiser, "codec", None)
    if template is not None and isinstance(prompts, Canvas):
        raise UserError("a canvas has its prompts written already: leave out `template`")
    if codec is not None and infill and (template or codec.template) == CHAT:
        template = BARE  # a text with marks is no turn
    if codec is not None and template is not None:
        codec = codec.with_template(template)
        denoiser = replace(denoiser, codec=codec) if isinstance(denoiser, TextDenoiser) else denoiser
    canvas, texts = _open(
        denoiser,
        prompts,
        budget=budget,
        response_length=response_length,
        infill=infill,
        codec=codec,
        rows=rows,
        split_special_tokens=split_special_tokens,
    )
    check_exact(denoiser, exact)
    passes = denoiser if cache is None else with_cache(denoiser, cache)
    done: dict[int, Generation] = {}
    for unmasker, index in _batches(sampler, canvas, codec, 1 if exact else batch, in_order=on_done is not None):
        part = crop(canvas.take(index), getattr(denoiser, "multiple", 1))
        part = part.to(getattr(denoiser, "device", canvas.tokens.device))
        response = part.masked[0]  # the columns of every row's, where `stops` is given
        decoded = decode_canvas(
            passes,
            part,
            unmasker,
            seed=seed,
            temperature=temperature,
            on_step=None if on_step is None else _numbered(on_step, index),
            log_probs=log_probs,
            stop=_stop_rule(stops, codec, response) if stops and codec is not None else None,
        )
        part, decoded = part.to("cpu"), Decoded._make(value.to("cpu") for value in decoded)  # at once, not row by row
        for row, place in enumerate(index.tolist()):
            prompt = None if texts is None else texts[place]
            done[place] = _generation(part, decoded, row, prompt=prompt, codec=codec, infill=infill, stops=stops)
            if on_done is not None:
                on_done(place, done[place])
    return [done[place] for place in range(len(done))]


def check_exact(denoiser: Denoiser, exact: bool) -> None:
    """Raise UserError if rows by themselves would still depend on what else the denoiser has met."""
    if exact and getattr(denoiser, "multiple", 1) != 1:
        raise UserError(
            "a compiled denoiser rounds as the shapes it met first want it: decode exactly without compiling, or "
            "compiled without `exact`"
        )


def _checked_stops(stop: Sequence[str], plain: bool) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if "" in stops:
        raise UserError("a stop string must not be empty: it would end every text before its first character")
    if stops and not plain:
        raise UserError("stop strings end a response right of its prompt: leave out `stop` for a canvas or infill")
    return stops


def _open(
    denoiser: Denoiser,
    prompts: Iterable[Prompt] | Tensor | Canvas,
    *,
    budget: int | None,
    response_length: int | None,
    infill: bool,
    codec: Codec | None,
    rows: Sequence[int] | None,
    split_special_tokens: bool,
) -> tuple[Canvas, Sequence[Prompt] | None]:
    """The canvas to write, all rows in one, and the prompts if they are no canvas."""
    given = None if isinstance(prompts, Canvas) else as_list(prompts)
    count = len(prompts.row) if isinstance(prompts, Canvas) else len(given or ())
    if count == 0:
        raise UserError("there is no prompt to decode; give at least one")
    if rows is not None and (not hasattr(rows, "__len__") or len(rows) != count):
        many = f"{len(rows)} numbers" if hasattr(rows, "__len__") else repr(rows)
        raise UserError(f"rows must name each of the {count} prompts, got {many}")
    if budget is not None or not isinstance(prompts, Canvas):
        check_whole("budget", budget, 1)
    if isinstance(prompts, Canvas):
        check_canvas(prompts)
        budgets = prompts.budget if budget is None else whole_numbers("budget", budget).expand_as(prompts.budget)
        canvas = replace(prompts, budget=budgets.to(prompts.budget.device))
        check_budgets(canvas)
    else:
        assert given is not None
        canvas = _encode(
            denoiser, given, budget=budget or 1, response_length=response_length, infill=infill, codec=codec,
            split_special_tokens=split_special_tokens,
        )  # fmt: skip
    if rows is not None:
        canvas = replace(canvas, row=whole_numbers("row", list(rows)).to(canvas.row.device))
    return canvas, given


def _encode(
    denoiser: Denoiser,
    prompts: Sequence[Prompt],
    *,
    budget: int,
    response_length: int | None,
    infill: bool,
    codec: Codec | None,
    split_special_tokens: bool,
) -> Canvas:
    if codec is None:
        raise UserError("this denoiser has no codec to read texts: pass `codec`, or a Canvas instead of texts")
    context: int | None = getattr(denoiser, "context", None)
    length = response_length if response_length is not None else getattr(denoiser, "response_length", None)
    if length is None and not infill:
        raise UserError("this denoiser does not say how long a response is: pass `response_length`")
    if not infill:
        check_whole("response_length", length, 1)
    encoded = encode_prompts(codec, prompts, infill, split_special_tokens)
    if infill:
        return codec.infill(encoded, budget, context, codec.special if split_special_tokens else ())
    assert length is not None
    return codec.open_canvas(encoded, length, budget, context, prompts=prompts)


def _batches(
    sampler: Sampler, canvas: Canvas, codec: Codec | None, batch: int, in_order: bool
) -> Iterator[tuple[AnyUnmasker, Tensor]]:
    """What writes them and long [b] at most `batch` rows, those of one unmasker from the shortest to the longest.

    in_order: as they were given, instead.
    """
    lengths = canvas.valid.sum(dim=-1)
    order = torch.arange(len(lengths), device=lengths.device) if in_order else lengths.argsort(stable=True)
    for unmasker, budgets in _unmaskers(sampler, canvas, codec):
        rows = order[torch.isin(canvas.budget[order], torch.tensor(budgets, device=order.device))]
        for start in range(0, len(rows), batch):
            yield unmasker, rows[start : start + batch]


def _unmaskers(sampler: Sampler, canvas: Canvas, codec: Codec | None) -> list[tuple[AnyUnmasker, list[int]]]:
    """Every unmasker that is needed, and the budgets it is for; one for all unless `sampler` has its own."""
    budgets = sorted(set(canvas.budget.tolist()))
    if not isinstance(sampler, ForBudget):
        return [(make_sampler(sampler, None if codec is None else codec.end_tokens), budgets)]
    found: list[tuple[AnyUnmasker, list[int]]] = []
    for budget in budgets:
        unmasker = sampler.unmasker(budget)
        alike = (known for made, known in found if isinstance(made, Learned) and made == unmasker)
        if (known := next(alike, None)) is not None:
            known.append(budget)
        else:
            found.append((unmasker, [budget]))
    return found


def crop(canvas: Canvas, multiple: int = 1) -> Canvas:
    """The same rows without the columns that are padding in all of them, on the left and on the right.

    multiple: keep some on the left, if there are any, so that the number of columns is a multiple of it.
    """
    used = canvas.valid.any(dim=0).nonzero().squeeze(-1)
    if not len(used):
        return canvas
    first, last = int(used[0]), int(used[-1])
    columns = slice(max(0, first - (first - last - 1) % multiple), last + 1)
    return replace(
        canvas,
        tokens=canvas.tokens[:, columns],
        masked=canvas.masked[:, columns],
        valid=canvas.valid[:, columns],
    )


def _numbered(on_step: Callable[[Step], None], index: Tensor) -> Callable[[Step], None]:
    """`on_step`, told the rows as they were given instead of as they stand in the batch."""
    return lambda step: on_step(step._replace(rows=index.to(step.rows.device)[step.rows]))


def find_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of `stops` begins in `text`; None if none occurs."""
    return min((at for at in map(text.find, stops) if at >= 0), default=None)


def up_to_stops(tokens: Sequence[int], stops: Sequence[str], codec: Codec) -> str:
    """The text of a response, with those special tokens left in whose names are stop strings."""
    kept, shown = {codec.special.get(stop) for stop in stops}, codec.cut(tokens)
    return codec.read(shown, [token in kept for token in shown])


def _stop_rule(stops: Sequence[str], codec: Codec, response: Tensor) -> Callable[[Canvas], Tensor]:
    """True for rows whose response, as far as it is written without a gap, contains a stop string.

    response: bool [L], its columns.
    """

    def ended(canvas: Canvas) -> Tensor:
        gapless = (~canvas.masked[:, response]).long().cumprod(dim=-1).sum(dim=-1).tolist()
        responses = canvas.tokens[:, response].tolist()
        texts = [up_to_stops(tokens[:count], stops, codec) for tokens, count in zip(responses, gapless, strict=True)]
        found = [find_stop(text, stops) is not None for text in texts]
        return torch.tensor(found, device=canvas.tokens.device)

    return ended


def _generation(
    before: Canvas,
    decoded: Decoded,
    row: int,
    *,
    prompt: Prompt | None,
    codec: Codec | None,
    infill: bool,
    stops: Sequence[str],
) -> Generation:
    """Row `row` of a decoded batch as a record."""
    masked = before.masked[row]
    tokens = decoded.canvas.tokens[row, masked].tolist()
    revealed_at = decoded.revealed_at[row, masked].tolist()
    written = [token for token, step in zip(tokens, revealed_at, strict=True) if step]
    ends = frozenset() if codec is None else codec.end_tokens
    text, at = None, None
    if codec is not None and infill:
        text = _infilled(before, decoded, row, prompt=prompt, codec=codec)
    elif codec is not None:
        text = up_to_stops(tokens, stops, codec)
        at = find_stop(text, stops)
    content = sum(token not in ends for token in written)
    if codec is not None and not infill:
        content = len(codec.cut(written))
    log_prob = float(decoded.log_prob[row])
    return Generation(
        prompt=prompt,
        text=text if text is None or at is None else text[:at],
        tokens=tokens,
        steps=int(decoded.steps[row]),
        nfe=int(decoded.nfe[row]),
        written=len(written),
        content=content,
        log_prob=None if math.isnan(log_prob) else log_prob,
        revealed_at=revealed_at,
        probability=[None if math.isnan(p) else p for p in decoded.probability[row, masked].tolist()],
        stopped=at is not None,
    )


def _infilled(before: Canvas, decoded: Decoded, row: int, *, prompt: Prompt | None, codec: Codec) -> str:
    """The whole text of a row: what was given as it was, what was written without its ends and special tokens."""
    if isinstance(prompt, str):
        return filled(prompt, decoded.canvas.tokens[row, before.masked[row]].tolist(), codec)
    valid = before.valid[row]
    tokens, given = decoded.canvas.tokens[row, valid].tolist(), (~before.masked[row, valid]).tolist()
    stop = len(tokens) - len(codec.closing)
    if prompt is None:  # a row of a canvas: whose special tokens they are is not known
        given = [False] * len(given)
    pairs = list(zip(tokens, given, strict=True))[:stop]
    kept = [(token, was_given) for token, was_given in pairs if was_given or token not in codec.end_tokens]
    return codec.read([token for token, _ in kept], [was_given for _, was_given in kept])


def filled(prompt: str, tokens: Sequence[int], codec: Codec) -> str:
    """A text with its marks replaced by what was written there; what was given stays as it is to the character."""
    before, *after = around_marks(prompt, codec.mask)
    text, span = before, list[int]()
    left_out = codec.end_tokens | {*codec.special.values()}
    for token, given in zip(tokens, after, strict=True):
        if token not in left_out:
            span.append(token)
        if given:
            text, span = text + codec.spell(span, within=bool(text)) + given, []
    return text + codec.spell(span, within=bool(text))

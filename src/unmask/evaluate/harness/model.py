"""The lm-eval model `unmask`: text from `unmask.decode`, likelihoods from the masked-diffusion bound.

This file is lm-eval's side of the fence, and the only one that imports it at its top.
"""

import hashlib
import sys
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any, NamedTuple

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.core.registry import check_name
from unmask.denoisers.caches import with_cache
from unmask.denoisers.chat import Conversation
from unmask.denoisers.codec import BARE, CHAT, Codec, check_room, in_short, is_template
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.hub import load_denoiser
from unmask.evaluate.harness.requests import Asked, asked
from unmask.objectives.text_elbo import text_elbo
from unmask.orders.folder import load_order
from unmask.samplers import make_sampler
from unmask.samplers.base import AnyUnmasker
from unmask.samplers.decode import decode_canvas
from unmask.samplers.generate import ForBudget, Sampler, decode
from unmask.samplers.options import check_flag, check_whole
from unmask.samplers.top_prob import TopProb
from unmask.train.precision import DTYPES


class Rendered(str):
    """A context that the chat template wrote already: it is read as it is, with the special tokens it has."""

    __slots__ = ()


class _Pair(NamedTuple):
    """The tokens of what is given and of what is scored, and the row identity of its draws."""

    context: list[int]
    text: list[int]
    row: int


@register_model("unmask")
class UnmaskLM(LM):  # type: ignore[misc]
    """`lm_eval --model unmask --model_args KEY=VALUE,...`.

    denoiser: a bundled name, a folder, or owner/name on the hub.
    order:    folder of a learned order, or owner/name. sampler: NAME:key=value,... (quoted where it has a comma).
              One of them; `top-prob` unless given.
    budget:   the most denoiser calls a response may take; as many as it has positions unless given.
    response_length: positions a response gets; the denoiser's own unless given. A task's `max_gen_toks` can only make
              it shorter.
    template: how a context is written: `bare`, as it is; `chat`, as a turn by the checkpoint's chat template; or a text
              with `{prompt}` in it. The denoiser's own unless given. With lm-eval's --apply_chat_template the examples
              and the question are a conversation that the chat template writes, and this does not count.
    mc_samples: masks drawn for each likelihood (LLaDA's evaluation takes 128).
    dtype, device: float32, bfloat16 or float16; cpu, cuda, ...
    batch_size: contexts, or masks of a likelihood, in one batch.
    seed:     of every draw. The row identity is the number of the document, so no draw depends on `--limit` or the
              batch, and the choices of a question share theirs.
    cache:    an approximate cache (`denoisers/caches.py`); none unless given.
    exact:    each context by itself, so that no generated text depends on the batch, in any precision: see `decode`.
    skip_too_long: answer a context that does not fit with an empty text, which is wrong, and say how many there were;
              refused unless given.
    ignore_extra: leave out tensors of the checkpoint that are of no known use: see `load_denoiser`.

    In Python the first three may be the things themselves. Likelihoods are the bound over all orders: order, sampler
    and budget have no part in them, which is said where they are given. What is greedy is decided one position a step,
    the most probable first, as in LLaDA's evaluation.
    Raises UserError saying which argument was wrong and what would be right.
    """

    def __init__(
        self,
        denoiser: str | TextDenoiser = "wordprob",
        order: str | ForBudget | None = None,
        sampler: str | AnyUnmasker | None = None,
        budget: int | None = None,
        response_length: int | None = None,
        template: str | None = None,
        mc_samples: int = 128,
        seed: int = 0,
        dtype: str = "float32",
        device: str | None = None,
        batch_size: int | str = 64,
        max_batch_size: int | None = None,
        cache: str | None = None,
        exact: bool = False,
        skip_too_long: bool = False,
        ignore_extra: bool = False,
        **others: Any,
    ) -> None:
        super().__init__()
        for name in others:
            check_name(name, ARGUMENTS, "model argument of unmask")
        check_names({"denoiser": denoiser, "order": order, "sampler": sampler, "template": template, "cache": cache})
        check_flag("skip_too_long", skip_too_long)
        check_flag("exact", exact)
        check_flag("ignore_extra", ignore_extra)
        if order is not None and sampler is not None:
            raise UserError("give order or sampler, not both")
        check_name(str(dtype), DTYPES, "dtype")
        check_whole("mc_samples", mc_samples, 1)
        check_whole("seed", seed, 0)
        check_template(template)
        device = usable(device or "cpu")
        if isinstance(order, str):
            self.unmasker: Sampler = load_order(order, device)
        else:
            self.unmasker = order or sampler or "top-prob"
        if isinstance(self.unmasker, str):
            make_sampler(self.unmasker, end_token=0)  # what is wrong with it shows before anything is loaded
        self.said = order is None and sampler is None and budget is None
        self.denoiser = (
            load_denoiser(denoiser, device, DTYPES[dtype], template=template, ignore_extra=ignore_extra)
            if isinstance(denoiser, str) else denoiser
        )  # fmt: skip
        self.codec: Codec = self.denoiser.codec.with_template(template)
        self.as_it_is = replace(self.codec, template="{prompt}")
        if template is not None:
            self.denoiser = replace(self.denoiser, codec=self.codec)
        if cache is not None:
            with_cache(self.denoiser, cache)
        self.response_length = self.denoiser.response_length if response_length is None else response_length
        check_whole("response_length", self.response_length, 1)
        self.budget = self.response_length if budget is None else budget
        check_whole("budget", self.budget, 1)
        self.mc_samples, self.seed, self.cache, self.skip_too_long = mc_samples, seed, cache, skip_too_long
        self.exact = exact
        self.batch = rows_of(batch_size, max_batch_size)
        self.config = {
            "denoiser": name_of(denoiser),
            "sampler": f"order {name_of(order)}" if order is not None else name_of(self.unmasker),
            "budget": self.budget,
            "response_length": self.response_length,
            "template": self.codec.template_name,
            "mc_samples": mc_samples,
            "seed": seed,
            "dtype": dtype,
        }

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.denoiser.device

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes beside its results."""
        return dict(self.config)

    # ---- conversations

    @property
    def tokenizer_name(self) -> str:
        """A name for what contexts depend on, under which lm-eval keeps them."""
        return f"unmask-{hashlib.sha256(self._chat().encode()).hexdigest()[:16]}"

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The source of the chat template, for lm-eval's results; None if none is asked for.

        Raises UserError where the denoiser has none, or for any by name but `default`.
        """
        if chat_template is False or chat_template is None:
            return None
        if isinstance(chat_template, str) and chat_template != "default":
            raise UserError(f"chat templates are not read by name: got `{chat_template}`; leave the name out")
        return self._chat()

    def apply_chat_template(self, chat_history: Conversation, add_generation_prompt: bool = True) -> str:
        """A conversation as text, as transformers' `apply_chat_template` writes it."""
        self._chat()
        assert self.codec.chat is not None
        return Rendered(self.codec.chat.render(chat_history, add_generation_prompt))

    def _chat(self) -> str:
        if self.codec.chat is None:
            raise UserError(
                f"{self.config['denoiser']} has no chat template: leave out --apply_chat_template, or copy the "
                "chat_template.jinja of the checkpoint beside its weights"
            )
        return self.codec.chat.source

    def _context(self, context: str) -> list[int]:
        """Token ids of a context. The mask token's name is letters: nothing in a context is to be written."""
        letters = (self.codec.mask,)
        if isinstance(context, Rendered):
            return self.as_it_is.encode_prompt(context, letters)
        return self.codec.encode_prompt(context, letters)

    # ---- text

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """One text per request, cut before the first of its `until`.

        Honours until, max_gen_toks (and its aliases), temperature and do_sample; of other generation arguments those
        that would change the law of the tokens are refused.
        """
        groups: dict[Asked, list[int]] = defaultdict(list)
        for place, (request, repeat) in enumerate(zip(requests, repeats(requests), strict=True)):
            groups[asked(request.args[1], self.response_length, repeat)].append(place)
        texts: dict[int, str] = {}
        for how, asked_for in groups.items():
            contexts = {place: self._context(requests[place].args[0]) for place in asked_for}
            places = self._fitting(contexts, how.length)
            texts |= dict.fromkeys(asked_for, "")
            if not places:
                continue
            encoded = [contexts[place] for place in places]
            check_room(encoded, how.length, self.denoiser.context, [requests[place].args[0] for place in places])
            generations = decode(
                self.denoiser,
                [ids or "" for ids in encoded],
                sampler=self.unmasker,
                budget=self.budget,
                response_length=how.length,
                temperature=how.temperature,
                seed=self.seed + how.repeat,
                stop=how.until,
                batch=self.batch,
                rows=[row_of(requests[place]) for place in places],
                cache=self.cache,
                exact=self.exact,
            )
            for place, generation in zip(places, generations, strict=True):
                texts[place] = generation.text or ""
                self.cache_hook.add_partial("generate_until", requests[place].args, texts[place])
        return [texts[place] for place in range(len(requests))]

    def _fitting(self, contexts: dict[int, list[int]], length: int) -> list[int]:
        """Those whose context leaves room for a response; all of them where none may be skipped."""
        if not self.skip_too_long:
            return list(contexts)
        fitting = [at for at, ids in contexts.items() if len(ids) <= self.denoiser.context - length]
        if left_out := len(contexts) - len(fitting):
            print(f"{left_out} of {len(contexts)} contexts do not fit and are answered with nothing", file=sys.stderr)
        return fitting

    # ---- likelihood

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """For each (context, continuation) the bound on log p in nats, and whether greedy decoding writes it.

        The canvas has exactly as many positions as the continuation has tokens; no end token is asked for.
        """
        self._say_what_counts()
        found = []
        pairs = [self._pair(request.args[0], request.args[1], row_of(request)) for request in requests]
        self._check_pairs(requests, pairs)
        for request, pair in zip(requests, pairs, strict=True):
            found.append((self._bound(pair), self._greedy(pair)))
            self.cache_hook.add_partial("loglikelihood", request.args, found[-1])
        return found

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """The bound on log p of each text given nothing, in nats.

        Nothing is what a text begins with: the start token of families that have one. A text longer than the denoiser
        reads is cut into pieces as long as it reads, each given nothing: a bound on the law that writes the pieces
        independently, below what a model of a longer context would say.
        """
        self._say_what_counts()
        found, opening = [], self.codec.opening
        room = self.denoiser.context - len(opening)
        for request in requests:
            tokens = self.codec.encode(request.args[0], (self.codec.mask,))
            pieces = [tokens[at : at + room] for at in range(0, len(tokens), room)]
            row = row_of(request)
            found.append(sum((self._bound(_Pair(opening, piece, row + at)) for at, piece in enumerate(pieces)), 0.0))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, found[-1])
        return found

    def _say_what_counts(self) -> None:
        """Once, where something was given that has no part in a likelihood."""
        if not self.said:
            print(
                "likelihoods are the masked-diffusion bound over all orders: sampler, order and budget count for "
                "generated text only",
                file=sys.stderr,
            )
        self.said = True

    def _pair(self, context: str, continuation: str, row: int) -> _Pair:
        """Tokens of both, read as one text.

        Given nothing, a text begins with what any text begins with: the start token of families that have one.
        """
        codec = self.as_it_is if isinstance(context, Rendered) else self.codec
        return _Pair(*codec.encode_pair(context, continuation, (codec.mask,)), row)

    def _check_pairs(self, requests: Sequence[Instance], pairs: Sequence[_Pair]) -> None:
        """Raise UserError, before any is scored, where some are longer than the denoiser reads; it says which."""
        lengths = [len(pair.context) + len(pair.text) for pair in pairs]
        long = [at for at, length in enumerate(lengths) if length > self.denoiser.context]
        if long:
            which = f"request {long[0] + 1} of {len(pairs)} ({in_short(requests[long[0]].args[0])})"
            more = f", and so are {len(long) - 1} more" if len(long) > 1 else ""
            raise UserError(
                f"{which} is too long: context and continuation have {lengths[long[0]]} tokens and this denoiser reads "
                f"{self.denoiser.context}{more}; ask with fewer examples in the context (--num_fewshot)"
            )

    def _canvas(self, pair: _Pair) -> Canvas:
        """One row with the whole text and what closes it written, and in `masked` what is asked about."""
        tokens = torch.tensor([pair.context + pair.text + self.codec.closing], device=self.device)
        masked = torch.zeros_like(tokens, dtype=torch.bool)
        masked[:, len(pair.context) : len(pair.context) + len(pair.text)] = True
        return Canvas.make(tokens, masked, max(1, len(pair.text)), row=torch.tensor([pair.row], device=self.device))

    def _bound(self, pair: _Pair) -> float:
        if not pair.text:
            return 0.0
        return float(text_elbo(self.denoiser, self._canvas(pair), self.mc_samples, Draws(self.seed), self.batch).elbo)

    def _greedy(self, pair: _Pair) -> bool:
        """Whether one position a step, the most probable first, writes exactly the text; ends at the first slip."""
        clean = self._canvas(pair)

        def slipped(canvas: Canvas) -> Tensor:
            return (~canvas.masked & (canvas.tokens != clean.tokens)).any(dim=-1)

        written = decode_canvas(self.denoiser, clean, TopProb(), stop=slipped).canvas
        return not bool(written.masked.any() | slipped(written).any())


def check_names(given: Mapping[str, object]) -> None:
    """Raise UserError on a number where there should be a name: lm-eval reads `denoiser=5` as one."""
    for name, value in given.items():
        if isinstance(value, bool | int | float):
            raise UserError(f"{name} must be a name, got {value}")


def check_template(template: str | None) -> None:
    """Raise UserError if it can be none."""
    if template is not None and template not in (BARE, CHAT) and not is_template(template):
        raise UserError(
            f"template must be {BARE}, {CHAT}, or say where the context goes with {{prompt}}, got {template!r}"
        )


def rows_of(batch_size: int | str, most: int | None) -> int:
    """How many go into one batch; `auto` is as many as `most`, or 64."""
    if str(batch_size).startswith("auto"):
        batch_size = 64 if most is None else most
    rows = int(batch_size) if str(batch_size).isdecimal() else batch_size
    check_whole("batch_size", rows, 1)
    return int(rows)


def name_of(thing: object) -> str:
    """What the results call a denoiser, sampler or order: as it was named, or by its class."""
    return thing if isinstance(thing, str) else type(thing).__name__


def usable(device: str) -> str:
    """`device`, or the CPU where it is not there: lm-eval's command line says cuda:0 unless told otherwise."""
    try:
        torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"no device `{device}`: give cpu, cuda or cuda:1") from error
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        print(f"there is no {device} on this machine; computing on the cpu", file=sys.stderr)
        return "cpu"
    return device


def repeats(requests: Sequence[Instance]) -> list[int]:
    """How often each request came before: lm-eval hands the same one over again for every repeat."""
    seen: dict[int, int] = defaultdict(int)
    found = []
    for request in requests:
        found.append(seen[id(request)])
        seen[id(request)] += 1
    return found


def row_of(request: Instance) -> int:
    """The identity of its draws: the number of its document, or where there is none a checksum of the context."""
    number: int | None = request.doc_id
    return zlib.crc32(str(request.args[0]).encode()) if number is None else number


ARGUMENTS: dict[str, None] = dict.fromkeys(list(signature(UnmaskLM.__init__).parameters)[1:-1])

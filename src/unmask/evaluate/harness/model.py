"""The lm-eval model `unmask`: text from `unmask.decode`, likelihoods from the masked-diffusion bound.

This file is lm-eval's side of the fence, and the only one that imports it at its top.
"""

import sys
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
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
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.hub import load_denoiser
from unmask.evaluate.harness.requests import Asked, asked
from unmask.objectives.text_elbo import text_elbo
from unmask.orders.folder import load_order
from unmask.samplers.base import AnyUnmasker
from unmask.samplers.decode import decode_canvas
from unmask.samplers.generate import ForBudget, Sampler, decode
from unmask.samplers.options import check_whole
from unmask.samplers.top_prob import TopProb
from unmask.train.precision import DTYPES


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
    template: how a context is written, with `{prompt}` in it; the denoiser's own unless given, and `{prompt}` for the
              context as it is.
    mc_samples: masks drawn for each likelihood (LLaDA's evaluation takes 128).
    seed:     of every draw. The row identity is the number of the document, so no draw depends on `--limit` or the
              batch, and the choices of a question share theirs.
    cache:    an approximate cache (`denoisers/caches.py`); none unless given.
    exact:    each context by itself, so that no generated text depends on the batch, in any precision: see `decode`.
    skip_too_long: answer a context that does not fit with an empty text, which is wrong, and say how many there were;
              refused unless given.

    In Python the first three may be the things themselves. What is greedy is decided one position a step, the most
    probable first, as in LLaDA's evaluation.
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
    ) -> None:
        super().__init__()
        if order is not None and sampler is not None:
            raise UserError("give order or sampler, not both")
        check_name(dtype, DTYPES, "dtype")
        device = usable(device or "cpu")
        if isinstance(order, str):
            self.unmasker: Sampler = load_order(order, device)
        else:
            self.unmasker = order or sampler or "top-prob"
        self.denoiser = load_denoiser(denoiser, device, DTYPES[dtype]) if isinstance(denoiser, str) else denoiser
        own = self.denoiser.codec
        if template is not None and "{prompt}" not in template:
            raise UserError(f"template must say where the context goes with {{prompt}}, got {template!r}")
        self.codec = own if template is None else replace(own, template=template)
        self.response_length = self.denoiser.response_length if response_length is None else response_length
        check_whole("response_length", self.response_length, 1)
        self.budget = self.response_length if budget is None else budget
        check_whole("budget", self.budget, 1)
        check_whole("mc_samples", mc_samples, 1)
        self.mc_samples, self.seed, self.cache, self.skip_too_long = mc_samples, seed, cache, skip_too_long
        self.exact = exact
        self.batch = max_batch_size or 64 if str(batch_size).startswith("auto") else int(batch_size)
        check_whole("batch_size", self.batch, 1)
        self.config = {
            "denoiser": name_of(denoiser),
            "sampler": f"order {name_of(order)}" if order is not None else name_of(self.unmasker),
            "budget": self.budget,
            "response_length": self.response_length,
            "template": self.codec.template,
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
            places = self._fitting(asked_for, requests, how.length)
            texts |= dict.fromkeys(asked_for, "")
            if not places:
                continue
            generations = decode(
                self.denoiser,
                [requests[place].args[0] for place in places],
                sampler=self.unmasker,
                budget=self.budget,
                response_length=how.length,
                temperature=how.temperature,
                seed=self.seed + how.repeat,
                stop=how.until,
                codec=self.codec,
                batch=self.batch,
                rows=[row_of(requests[place]) for place in places],
                cache=self.cache,
                exact=self.exact,
            )
            for place, generation in zip(places, generations, strict=True):
                texts[place] = generation.text or ""
                self.cache_hook.add_partial("generate_until", requests[place].args, texts[place])
        return [texts[place] for place in range(len(requests))]

    def _fitting(self, places: list[int], requests: Sequence[Instance], length: int) -> list[int]:
        """Those whose context leaves room for a response; all of them where none may be skipped."""
        if not self.skip_too_long:
            return places
        room = self.denoiser.context - length
        fitting = [at for at in places if len(self.codec.encode_prompt(requests[at].args[0])) <= room]
        if left_out := len(places) - len(fitting):
            print(f"{left_out} of {len(places)} contexts do not fit and are answered with nothing", file=sys.stderr)
        return fitting

    # ---- likelihood

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """For each (context, continuation) the bound on log p in nats, and whether greedy decoding writes it.

        The canvas has exactly as many positions as the continuation has tokens; no end token is asked for.
        """
        found = []
        for request in requests:
            context, continuation = request.args
            pair = self._pair(context, continuation, row_of(request))
            found.append((self._bound(pair), self._greedy(pair)))
            self.cache_hook.add_partial("loglikelihood", request.args, found[-1])
        return found

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """The bound on log p of each text given nothing, in nats.

        One longer than the denoiser reads is cut into pieces as long as it reads, each given nothing: a bound on the
        law that writes the pieces independently, below what a model of a longer context would say.
        """
        found = []
        for request in requests:
            tokens = self.codec.encode(request.args[0])
            pieces = [tokens[at : at + self.denoiser.context] for at in range(0, len(tokens), self.denoiser.context)]
            row = row_of(request)
            found.append(sum((self._bound(_Pair([], piece, row + at)) for at, piece in enumerate(pieces)), 0.0))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, found[-1])
        return found

    def _pair(self, context: str, continuation: str, row: int) -> _Pair:
        """Tokens of both. Raises UserError where they are longer than the denoiser reads.

        In a template of its own the response follows without a space, so lm-eval's delimiter is taken off. In the bare
        template both are read as one text and cut where the context ends.
        """
        codec = self.codec
        if not context.strip():
            pair = _Pair([], codec.encode(continuation), row)
        elif codec.template == "{prompt}":
            bare = context.rstrip()
            continuation = context[len(bare) :] + continuation
            before = codec.encode(bare)
            pair = _Pair(before, codec.encode(bare + continuation)[len(before) :], row)
        else:
            pair = _Pair(codec.encode_prompt(context), codec.encode(continuation.lstrip()), row)
        if (length := len(pair.context) + len(pair.text)) > self.denoiser.context:
            raise UserError(
                f"context and continuation have {length} tokens and this denoiser reads {self.denoiser.context}; "
                "ask with fewer examples in the context (--num_fewshot)"
            )
        return pair

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


def name_of(thing: object) -> str:
    """What the results call a denoiser, sampler or order: as it was named, or by its class."""
    return thing if isinstance(thing, str) else type(thing).__name__


def usable(device: str) -> str:
    """`device`, or the CPU where it is not there: lm-eval's command line says cuda:0 unless told otherwise."""
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


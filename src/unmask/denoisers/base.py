"""What a denoiser is, and what it returns."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError

Memory = Any  # what a `Remembering` denoiser keeps; tensors in it have the row axis first

# The logits that an output head makes at once, in bytes: a product of few rows is slow, and more are seldom faster.
CHUNK_BYTES = 1 << 27
# What is made of them, in wider numbers, is made of so many logits at once: on a CPU those that stay in the cache.
PIECE_ELEMENTS = 1 << 20
WIDE_PIECE_ELEMENTS = 1 << 24  # elsewhere


class Statistics(NamedTuple):
    """What samplers read of `m` token distributions: see the properties of `Denoised` of the same names.

    entropy: [0] where it was not asked for.
    """

    top2: Tensor
    top2_tokens: Tensor
    entropy: Tensor


def statistics(logits: Tensor, entropy: bool) -> Statistics:
    """Of logits [m, V], with no more than two temporaries of that size."""
    log_prob = logits.float().log_softmax(dim=-1)
    values, tokens = two_best(logits, log_prob)
    found = log_prob.new_zeros(0)
    if entropy:
        log_prob.clamp_(min=-1e30)  # 0 * -inf
        found = -log_prob.exp().mul_(log_prob).sum(dim=-1)
    return Statistics(values.exp(), tokens, found)


def two_best(logits: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor]:
    """[m, 2] each: the two largest of `log_prob` [m, V], and their tokens.

    Of equals the first, as argmax has it: `topk` takes another on another device. Numbers of few bits are often equal.
    """
    best = log_prob.topk(min(3, log_prob.shape[-1]), dim=-1)
    tokens = best.indices[:, :2]
    level = (best.values[:, 1:] == best.values[:, :-1]).any(dim=-1).nonzero().squeeze(-1)
    if len(level):
        first = logits[level].argmax(dim=-1, keepdim=True)
        others = log_prob[level].clamp(min=-1e30).scatter(-1, first, -torch.inf)
        tokens = tokens.index_copy(0, level, torch.cat([first, others.argmax(dim=-1, keepdim=True)], dim=-1))
    return best.values[:, :2], tokens


class Rows(Protocol):
    """Where the vocabulary rows of a `Denoised` come from, when it can also give some of them alone."""

    def __call__(self, part: slice, /) -> Tensor:
        """[m, V]: the logits of a slice of 0..M."""
        ...

    def take(self, index: Tensor) -> "Rows":
        """The same for the positions `index` (long [m]) of 0..M only; what nobody asks for is not made."""
        ...


@dataclass(frozen=True)
class HeldRows:
    """Logits [M, V] that are there already."""

    logits: Tensor

    def __call__(self, part: slice, /) -> Tensor:
        """A view of them."""
        return self.logits[part]

    def take(self, index: Tensor) -> "HeldRows":
        """A copy of some."""
        return HeldRows(self.logits[index])


def chunk_rows(vocabulary: int, itemsize: int = 4) -> int:
    """Rows of logits, of so many bytes each number, that an output head makes at once."""
    return max(1, CHUNK_BYTES // (vocabulary * itemsize))


def pieces(part: slice, vocabulary: int, device: torch.device) -> list[slice]:
    """Slices that cover the rows of `part`, each few enough to make wider numbers of."""
    rows = max(1, (PIECE_ELEMENTS if device.type == "cpu" else WIDE_PIECE_ELEMENTS) // vocabulary)
    return [slice(start, min(start + rows, part.stop)) for start in range(part.start, part.stop, rows)]


@dataclass(frozen=True)
class Denoised:
    """The denoiser's answer, packed over the `M` masked positions of a canvas in row-major order.

    Whatever reads the logits raises UserError where they are NaN or +inf, or leave no token possible: then there is no
    distribution. It names the step and the row. Only what is to be differentiated passes on to a loss, which has a
    check of its own.

    where:   long [M, 2], (row, position).
    shape:   (B, L) of the canvas.
    logits:  a function from a slice of 0..M to logits [m, V]; -inf where a token is impossible (the mask
             token always is). For a small vocabulary it indexes a tensor; for a real one it runs the output
             head on that slice, so that [M, V] is never all held. Where it has a `take` (see `Rows`), `only` saves
             what is left out.
    hidden:  [M, D] or None: what the network knows about each masked position; order networks read it.
    held:    whether `logits` is there already, or is kept once it is made.
    canvas:  what it speaks of, to say in an error which row and step it was; None where that is not known.
    reads_entropy: whether somebody will read the entropy, so that it is made along with the other statistics.
    """

    where: Tensor
    shape: tuple[int, int]
    vocabulary: int
    logits: Callable[[slice], Tensor]
    hidden: Tensor | None = None
    held: bool = False
    canvas: Canvas | None = None
    reads_entropy: bool = False

    @staticmethod
    def from_logits(canvas: Canvas, logits: Tensor, hidden: Tensor | None = None) -> "Denoised":
        """From logits [M, V] already packed over `canvas.masked.nonzero()`. Raises UserError if they are not."""
        where = canvas.masked.nonzero()
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(where) or logits.shape[-1] < 2:
            found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(
                f"logits must be a tensor [{len(where)}, vocabulary], a row for each masked position in the order of "
                f"canvas.masked.nonzero(), and a column for each of at least two tokens, got {found}"
            )
        if logits.is_complex():
            raise UserError(f"logits must be real numbers, got {logits.dtype}")
        if hidden is not None and (not isinstance(hidden, Tensor) or hidden.dim() != 2 or len(hidden) != len(where)):
            found = list(hidden.shape) if isinstance(hidden, Tensor) else type(hidden).__name__
            raise UserError(f"hidden must be a tensor [{len(where)}, width], as many rows as the logits, got {found}")
        shape = (canvas.masked.shape[0], canvas.masked.shape[1])
        return Denoised(where, shape, logits.shape[-1], HeldRows(logits), hidden, True, canvas)

    def only(self, positions: Tensor) -> "Denoised":
        """The same answer at `positions` (bool [B, L]) alone: no logits are made for the others.

        What this answer knows already is handed on, and so is what the last one made of it knows, so that a wrapper
        and the decode loop around it pay once. All of it where its logits cannot be had singly.
        """
        keep = self.from_rows(positions)  # bool [M]
        count = int(keep.sum())
        take = getattr(self.logits, "take", None)
        if take is None or count == len(keep):
            return self
        last: Denoised | None = self.__dict__.get("_last")
        if last is not None and int(last.from_rows(positions).sum()) == count:
            return last.only(positions)
        index = keep.nonzero().squeeze(-1)
        hidden = None if self.hidden is None else self.hidden[index]
        fewer = replace(self, where=self.where[index], logits=take(index), hidden=hidden)
        if self.read:
            known = (part[index] if len(part) else part for part in self.statistics())
            fewer.__dict__["_statistics"] = Statistics(*known)
        self.__dict__["_last"] = fewer
        return fewer

    def without(self, tokens: Sequence[int]) -> "Denoised":
        """The same answer as if `tokens` were impossible; nothing is known where one of them is the most probable.

        There the most probable token stays what it is, its probability counts as 0, and the entropy as log V. The
        output head runs again where its logits are not kept.
        """
        known = sorted(token for token in tokens if token < self.vocabulary)
        columns = torch.tensor(known, dtype=torch.long, device=self.where.device)

        def rows(part: slice) -> Tensor:
            logits = self.logits(part)
            least = max(-1e30, torch.finfo(logits.dtype).min)  # -inf, where nothing else is left, is no distribution
            return logits.index_fill(-1, columns, least)

        best = self.top2_tokens[:, 0]
        lost = torch.isin(best, columns)
        said = replace(self, logits=rows).statistics(entropy=True)
        found = Statistics(
            top2=said.top2.masked_fill(lost[:, None], 0.0),
            top2_tokens=torch.where(lost[:, None], self.top2_tokens, said.top2_tokens),
            entropy=said.entropy.masked_fill(lost, math.log(self.vocabulary)),
        )
        fewer = replace(self, logits=rows)
        fewer.__dict__["_statistics"] = found
        return fewer

    @property
    def read(self) -> bool:
        """Whether its statistics are made already."""
        return "_statistics" in self.__dict__

    def chunks(self) -> list[slice]:
        """Slices that cover 0..M, each of as many rows as the output head makes at once."""
        count, itemsize = len(self.where), 4 if self.hidden is None else self.hidden.element_size()
        size = chunk_rows(self.vocabulary, itemsize)
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def statistics(self, entropy: bool = False) -> Statistics:
        """All that samplers read, made in one pass over the logits unless it is known already.

        entropy: with the entropy, which nobody else pays for; it is always there where `reads_entropy` says so.
        """
        known: Statistics | None = self.__dict__.get("_statistics")
        if known is None or (entropy and len(known.entropy) < len(known.top2)):
            known = self.__dict__["_statistics"] = self._ask(entropy or self.reads_entropy)
        return known

    def _ask(self, entropy: bool) -> Statistics:
        """One pass over the vocabulary rows, chunk by chunk.

        Room for what is kept is made beforehand: small tensors that outlive a chunk would each stand in the memory it
        leaves, the next chunk would need new memory, and in the end [M, V] would be held after all.
        """
        count, device = len(self.where), self.where.device
        top2 = torch.empty(count, 2, device=device)
        found = Statistics(
            top2, torch.empty_like(top2, dtype=torch.long), torch.empty(count if entropy else 0, device=device)
        )
        with torch.no_grad():
            chunks = self.chunks()
            if len(chunks) == 1 and len(pieces(chunks[0], self.vocabulary, device)) == 1:
                found = statistics(self.logits(chunks[0]), entropy)
            else:
                for chunk in chunks:
                    self._tell(chunk, found)
        self._refuse(found.top2[:, 0].isnan())  # one such logit makes NaN of the whole log-softmax
        return found

    def _tell(self, chunk: slice, found: Statistics) -> None:
        """Write the statistics of a chunk into `found`. By itself, so that its logits are gone before the next ones."""
        logits = self.logits(chunk)
        for piece in pieces(chunk, self.vocabulary, logits.device):
            part = logits[piece.start - chunk.start : piece.stop - chunk.start]
            for whole, values in zip(found, statistics(part, len(found.entropy) > 0), strict=True):
                whole[piece if len(whole) else slice(0, 0)] = values

    def _refuse(self, wrong: Tensor) -> None:
        """Raise UserError about the first position of `wrong` (bool [M]), if there is one."""
        if bool(wrong.any()):
            index = wrong.nonzero()[0]
            row, position = self.where[index[0]].tolist()
            raise no_distribution(self.logits_at(index)[0], self.canvas, row, position)

    @property
    def top2(self) -> Tensor:
        """[M, 2]: the two largest token probabilities, float32."""
        return self.statistics().top2

    @property
    def top2_tokens(self) -> Tensor:
        """long [M, 2]: the tokens they belong to."""
        return self.statistics().top2_tokens

    @property
    def entropy(self) -> Tensor:
        """[M]: entropy of the token distribution in nats, float32; see `statistics` for what it costs."""
        return self.statistics(entropy=True).entropy

    def log_prob(self, tokens: Tensor) -> Tensor:
        """[M]: log-probability of `tokens` (long [M]), differentiable where the logits are.

        At least float32, and float64 where the logits are, so that exact models stay exact.
        """
        parts: list[Tensor] = []
        found, total = None, None  # [M] each, made beforehand where nothing is learned, see `_ask`
        for chunk in self.chunks() or [slice(0, 0)]:  # of nothing too: processes that share a batch wait for gradients
            logits = self.logits(chunk)  # [m, V]
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            if logits.requires_grad:
                parts.append(logits.log_softmax(dim=-1).gather(-1, tokens[chunk, None]).squeeze(-1))
                continue
            if found is None or total is None:
                found, total = logits.new_empty(len(self.where)), logits.new_empty(len(self.where))
            part = logits  # of nothing there are no pieces
            for piece in pieces(chunk, self.vocabulary, logits.device):
                part = logits[piece.start - chunk.start : piece.stop - chunk.start]
                total[piece] = part.logsumexp(dim=-1)
                found[piece] = part.gather(-1, tokens[piece, None]).squeeze(-1) - total[piece]
            del logits, part  # before the next chunk is made
        if found is None or total is None:
            return torch.cat(parts)
        self._refuse(~total.isfinite())
        return found

    def logits_at(self, index: Tensor) -> Tensor:
        """[m, V]: logits at any of 0..M (long [m], m >= 1), made chunk by chunk; only those asked for are kept."""
        take = getattr(self.logits, "take", None)
        if take is not None:
            alone: Tensor = take(index)(slice(0, len(index)))
            return alone
        found: Tensor | None = None
        for chunk in self.chunks():
            here = (index >= chunk.start) & (index < chunk.stop)
            if bool(here.any()):
                logits = self.logits(chunk)[index[here] - chunk.start]
                found = logits.new_empty(len(index), self.vocabulary) if found is None else found
                found[here] = logits
        assert found is not None, "every index lies in 0..M"
        return found

    def draw(self, uniform: Tensor, temperature: float) -> Tensor:
        """long [M]: tokens by inverse CDF in float64, `uniform` being float64 [M]; argmax at temperature 0.

        float64 because float32 noise truncates the tail of a large vocabulary.
        """
        if temperature == 0:
            return self.top2_tokens[:, 0]
        tokens = self.where.new_zeros(len(self.where))  # made beforehand, see `_ask`
        total = torch.empty_like(tokens, dtype=torch.float64)
        for chunk in self.chunks():
            logits = self.logits(chunk)
            for piece in pieces(chunk, self.vocabulary, logits.device):
                part = logits[piece.start - chunk.start : piece.stop - chunk.start].double()
                cdf = (part / temperature).softmax(dim=-1).cumsum(dim=-1)  # [m, V]
                total[piece] = cdf[:, -1]
                below = torch.nextafter(cdf[:, -1:], torch.zeros_like(cdf[:, -1:]))  # inside the last possible token
                target = (uniform[piece, None] * cdf[:, -1:]).minimum(below)
                tokens[piece] = torch.searchsorted(cdf, target, right=True).squeeze(-1).clamp(max=self.vocabulary - 1)
            del logits  # before the next chunk is made
        self._refuse(total.isnan())
        return tokens

    def to_rows(self, values: Tensor, fill: float) -> Tensor:
        """[B, L]: `values` [M] where the canvas was masked, `fill` elsewhere."""
        rows = torch.full(self.shape, fill, dtype=values.dtype, device=values.device)
        return rows.index_put((self.where[:, 0], self.where[:, 1]), values)

    def from_rows(self, values: Tensor) -> Tensor:
        """[M]: the entries of `values` [B, L] at the masked positions."""
        return values[self.where[:, 0], self.where[:, 1]]


def no_distribution(logits: Tensor, canvas: Canvas | None, row: int, position: int) -> UserError:
    """What to say of logits [V] that are none, at a position of the row that stands at `row` of a canvas."""
    where = f"position {position}"
    if canvas is not None:
        where += f" of row {int(canvas.row[row])}, at step {int(canvas.step[row]) + 1}"
    kind = str(logits.dtype).removeprefix("torch.")
    if bool((logits == -torch.inf).all()):
        return UserError(
            f"the denoiser calls every token impossible at {where}, so there is none to write: leave it at least one "
            "whose logit is not -inf"
        )
    what = "NaN" if bool(logits.isnan().any()) else "infinite"
    return UserError(
        f"the denoiser gives {what} logits ({kind}) at {where}, so there is no token to write: either its numbers pass "
        "what the dtype holds, then load it in another (bfloat16 or float32), or its weights are damaged, then fetch "
        "them again"
    )


@runtime_checkable
class Rereader(Protocol):
    """A denoiser that can also say what it would write where something is written already."""

    def reread(self, canvas: Canvas, again: Tensor, /) -> Denoised:
        """One forward pass: distributions at the masked positions and at `again` (bool [B, L], written ones).

        Packed over both in row-major order. At masked positions as `__call__`, up to rounding. At a position of
        `again`: given everything visible but the token that stands there.
        """
        ...


class Denoiser(Protocol):
    """Any callable of this shape. Alignment, mask id and dtype stay inside; the mask token is impossible."""

    def __call__(self, canvas: Canvas, /) -> Denoised:
        """One forward pass: a distribution over tokens at every masked position of `canvas`."""
        ...


@runtime_checkable
class Remembering(Denoiser, Protocol):
    """A denoiser that may keep something between the passes of a decode, such as keys and values.

    What it keeps is returned and handed back, never stored: the same canvas and memory give the same answer. Called
    plainly it remembers nothing.
    """

    def begin(self, canvas: Canvas) -> Memory:
        """The memory before the first pass."""
        ...

    def denoise(self, canvas: Canvas, memory: Memory) -> tuple[Denoised, Memory]:
        """One pass; `memory` has the rows of `canvas`, in the same order."""
        ...


def check_answer(denoised: Any, asked: Canvas) -> Denoised:
    """What a denoiser said of the masked positions of `asked`. Raises UserError if it is no `Denoised` of them."""
    if not isinstance(denoised, Denoised):
        raise UserError(
            f"a denoiser returns a Denoised, got {type(denoised).__name__}: end it with "
            "`return unmask.Denoised.from_logits(canvas, logits)`"
        )
    if denoised.canvas is asked:  # it is packed over what is masked there
        return denoised
    if denoised.shape != tuple(asked.masked.shape) or not torch.equal(denoised.where, asked.masked.nonzero()):
        raise UserError(
            f"the denoiser speaks of {len(denoised.where)} positions of a canvas {list(denoised.shape)}, and was asked "
            f"about {int(asked.masked.sum())} of one {list(asked.masked.shape)}: it must answer at every masked "
            "position of the canvas it is given, in the order of canvas.masked.nonzero()"
        )
    return denoised


def begin(denoiser: Denoiser, canvas: Canvas) -> Memory:
    """The memory before the first pass; None for a denoiser that keeps none."""
    return denoiser.begin(canvas) if isinstance(denoiser, Remembering) else None


def denoise(denoiser: Denoiser, canvas: Canvas, memory: Memory) -> tuple[Denoised, Memory]:
    """One pass of any denoiser, with what it remembers."""
    if memory is None or not isinstance(denoiser, Remembering):
        return denoiser(canvas), None
    return denoiser.denoise(canvas, memory)

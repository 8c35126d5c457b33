"""The decoding loop: denoise, choose, write, until nothing is masked.

The same for samplers that only reveal and for those that also take back (`Editor`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from unmask.core.canvas import Canvas, check_canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised, Denoiser, Memory, Rereader, begin, check_answer, denoise
from unmask.samplers.base import AnyUnmasker, Editor, Selection, State, check_sampler, idle, reads_entropy
from unmask.samplers.options import check_temperature
from unmask.samplers.state import take_rows, where_rows

MOST_STEPS = 10_000  # of samplers that go through all of them; published ones take some thousands
PRINTED = 8  # rows of a step that its line tells of


class Decoded(NamedTuple):
    """What decoding gave, rows in the order of the canvas that came in.

    canvas:      finished, but for rows that `stop` ended early: those keep what was still masked.
    steps:       long [B], steps taken, those that revealed nothing included.
    nfe:         long [B], denoiser passes the row was part of, counted. Below `steps` where steps were empty.
    revealed_at: long [B, L], the number (from 1) of the step a position was revealed at, the last time if it was
                 re-masked in between; 0 where none did.
    probability: float64 [B, L], what the denoiser gave the written token then; NaN elsewhere.
    log_prob:    float64 [B], sum of the logs of those in nats. After re-masking, no likelihood of anything.

    The last two are of the denoiser's own law, which tokens are drawn from at temperature 1 only. They are
    NaN at temperature > 0 unless `log_probs` was asked for.
    """

    canvas: Canvas
    steps: Tensor
    nfe: Tensor
    revealed_at: Tensor
    probability: Tensor
    log_prob: Tensor


class Choice(NamedTuple):
    """One step's decision for every row of a canvas.

    canvas:    the canvas at the step the reveal belongs to: later than the one given where steps were empty.
    selection: positions and their priority; not yet written.
    remask:    bool [B, L], written positions to take back; none but for an `Editor`.
    tokens:    long [B, L], what to write there.
    state:     the unmasker's state after it.
    denoised:  what the denoiser says of the positions to reveal, perhaps of others too.
    """

    canvas: Canvas
    selection: Selection
    remask: Tensor
    tokens: Tensor
    state: State
    denoised: Denoised


class Step(NamedTuple):
    """What `on_step` sees: one denoiser pass and the reveal after it, for the `b` rows still being written.

    number: of the pass, from 1. rows: long [b], where they stand in the canvas given to `decode_canvas`.
    before, after: the canvas around it; what was taken back is masked after and not before.
    tokens:  long [b, L], what was written at `selection.positions`; elsewhere they mean nothing.
    denoised: its statistics are computed when asked for.
    Printed, it is a line: `on_step=print` shows a decode as it goes.
    """

    number: int
    rows: Tensor
    before: Canvas
    after: Canvas
    selection: Selection
    tokens: Tensor
    denoised: Denoised

    def __repr__(self) -> str:
        shown = [
            f"row {int(row)}: {new.nonzero().squeeze(-1).tolist()} written, {int(left)} left"
            for row, new, left in zip(
                self.rows[:PRINTED],
                self.before.masked[:PRINTED] & ~self.after.masked[:PRINTED],
                self.after.masked[:PRINTED].sum(-1),
                strict=True,
            )
        ]
        more = len(self.rows) - len(shown)
        return f"Step {self.number}; {'; '.join(shown)}" + (f"; and {more} rows more" if more else "")


class Reveals(NamedTuple):
    """Of the rows still being written: `revealed_at` and `log_prob` [b, L], see `Decoded`."""

    revealed_at: Tensor
    log_prob: Tensor

    def step(self, choice: Choice, after: Canvas, log_prob: Tensor) -> "Reveals":
        """The same after one more; nothing is kept of what is masked again."""
        positions = choice.selection.positions
        revealed_at = torch.where(positions, after.step[:, None], self.revealed_at)
        kept = torch.where(positions, log_prob, self.log_prob)
        return Reveals(revealed_at.masked_fill(choice.remask, 0), kept.masked_fill(choice.remask, torch.nan))


def draw_tokens(canvas: Canvas, denoised: Denoised, draws: Draws, temperature: float) -> Tensor:
    """long [B, L]: a token for every position `denoised` speaks of, 0 elsewhere. The argmax at temperature 0."""
    if temperature == 0:
        return denoised.to_rows(denoised.top2_tokens[:, 0], 0)
    uniform = denoised.from_rows(draws.uniform(canvas, "token"))  # [M]
    return denoised.to_rows(denoised.draw(uniform, temperature), 0)


def ask(
    denoiser: Denoiser, canvas: Canvas, memory: Memory, unmasker: AnyUnmasker, ours: Tensor
) -> tuple[Denoised, Memory]:
    """One denoiser pass; over the positions written since the start, those of `ours`, too if `unmasker` rereads."""
    if memory is not None and isinstance(unmasker, Editor):
        raise UserError(
            f"{type(unmasker).__name__} takes back what it wrote, and a cache would still see it; "
            "decode without a cache"
        )
    if not getattr(unmasker, "rereads", False):  # the protocol itself is slow to ask for at every step
        denoised, memory = denoise(denoiser, canvas, memory)
        check_answer(denoised, canvas)
        return replace(denoised, reads_entropy=True) if reads_entropy(unmasker) else denoised, memory
    if not isinstance(denoiser, Rereader):
        raise UserError(
            f"{type(unmasker).__name__} looks again at what it wrote, and this denoiser does not say what it would "
            "write there; give it a method `reread`, or name a sampler that does without"
        )
    again = ours & ~canvas.masked
    return check_answer(denoiser.reread(canvas, again), canvas.remask(again)), None


def choose(
    canvas: Canvas,
    denoised: Denoised,
    unmasker: AnyUnmasker,
    state: State,
    draws: Draws,
    *,
    ours: Tensor,
    temperature: float,
) -> Choice:
    """What one denoiser pass reveals in each row, and with which tokens; all that is left at its last step.

    ours: bool [B, L], what was masked at the start: all that an editor may take back, and never at the last step.

    Where an unmasker that may be empty chose nothing, the canvas did not change and another pass would say
    the same: the row goes to its next step, and chooses again, with the answer it has. Rows that chose wait. An
    unmasker that foresees how many of those steps are empty (`Foresees`) is asked again after them.
    """

    def turn(canvas: Canvas, state: State) -> tuple[Selection, Tensor, Tensor | None, State]:
        written = draw_tokens(canvas, denoised, draws, temperature) if unmasker.reads_tokens else None
        last = canvas.last_step[:, None]
        if hasattr(unmasker, "edit") and isinstance(unmasker, Editor):  # the second is slow
            edit, state = unmasker.edit(canvas, denoised, written, state, draws.at(canvas))
            selection = Selection(edit.reveal, torch.zeros_like(edit.reveal, dtype=torch.float64))
            remask = edit.remask & ours & ~canvas.masked & ~last
        else:
            selection, state = unmasker.select(canvas, denoised, written, state, draws.at(canvas))
            remask = torch.zeros_like(canvas.masked)
        return Selection(canvas.masked & (selection.positions | last), selection.priority), remask, written, state

    selection, remask, written, state = turn(canvas, state)
    while (empty := canvas.unfinished & ~(selection.positions | remask).any(dim=-1)).any():
        if not unmasker.may_be_empty:
            row = int(canvas.row[empty][0])
            raise ValueError(f"{unmasker} revealed nothing in row {row}, but its may_be_empty is False")
        canvas = replace(canvas, step=canvas.step + empty.long())
        waiting = canvas.restrict(empty[:, None])
        quiet = idle(unmasker, waiting, denoised, state, draws.at(waiting))
        canvas = replace(canvas, step=canvas.step + torch.where(empty, quiet, 0))
        again, remask_again, written, state_again = turn(canvas, state)
        selection, remask = where_rows(empty, (again, remask_again), (selection, remask))
        state = where_rows(empty, state_again, state)
    known = temperature == 0 and denoised.read
    said = denoised if known else denoised.only(selection.positions)  # nobody needs a token for the others
    tokens = draw_tokens(canvas, said, draws, temperature) if written is None else written
    return Choice(canvas, selection, remask, tokens, state, said)


@torch.no_grad()
def decode_canvas(
    denoiser: Denoiser,
    canvas: Canvas,
    unmasker: AnyUnmasker,
    *,
    seed: int = 0,
    temperature: float = 0.0,
    on_step: Callable[[Step], None] | None = None,
    log_probs: bool = False,
    stop: Callable[[Canvas], Tensor] | None = None,
) -> Decoded:
    """Write every masked position of `canvas`, each row within its budget.

    A step is one denoiser pass over the rows still being written and the reveal after it. Positions written since
    the start may be masked again by an `Editor`; others never are. Finished rows leave the batch. What a row becomes
    depends on the seed, its content, its `row` and its budget; of the rest of the batch only the denoiser's rounding
    may (never seen to change a text in float32; `decode(..., exact=True)` is without it). The global generator is not
    touched and the canvas given is not changed.

    unmasker:    one whose steps may be empty goes through all of them, and takes at most `MOST_STEPS`.
    temperature: 0 writes the argmax; else tokens are drawn from softmax(logits / temperature) in float64.
    on_step:     called with a `Step` after each pass.
    log_probs:   also score what is written at temperature > 0, which costs another pass of the output head;
                 at temperature 0 it is known anyway.
    stop:        from the canvas of the rows still being written to bool [b]: rows to end here, unfinished.
    """
    check_sampler(unmasker)
    _check(denoiser, canvas, temperature, unmasker)
    draws = Draws(seed)
    decoded = _blank(canvas)
    rows = canvas.unfinished.nonzero().squeeze(-1)  # [b], where the rows still being written stand
    active, ours = canvas.take(rows), canvas.masked[rows]
    reveals = Reveals(decoded.revealed_at[rows], decoded.probability[rows])
    state, memory = unmasker.init(active), begin(denoiser, active)
    number = 0
    while len(rows):
        (denoised, memory), number = ask(denoiser, active, memory, unmasker, ours), number + 1
        choice = choose(active, denoised, unmasker, state, draws, ours=ours, temperature=temperature)
        after = choice.canvas.reveal(choice.selection.positions, choice.tokens).remask(choice.remask)
        reveals = reveals.step(choice, after, _log_prob(choice.denoised, choice.tokens, temperature, log_probs))
        if on_step is not None:
            on_step(Step(number, rows, choice.canvas, after, choice.selection, choice.tokens, denoised))
        going = after.unfinished if stop is None else after.unfinished & ~_stopped(stop, after)
        active, state = after, choice.state
        if not bool(going.all()):
            _finish(decoded, rows, ~going, active, reveals, number)
            rows, active, ours, reveals = rows[going], active.take(going), ours[going], take_rows(reveals, going)
            state, memory = take_rows(state, going), take_rows(memory, going)
    # summed from left to right, so that not even the rounding depends on padding
    log_prob = decoded.probability.nan_to_num(nan=0.0).cumsum(dim=-1)[:, -1:].sum(dim=-1)
    scored = temperature == 0 or log_probs
    return decoded._replace(
        steps=decoded.canvas.step - canvas.step,
        probability=decoded.probability.exp(),
        log_prob=log_prob if scored else torch.full_like(log_prob, torch.nan),
    )


def _check(denoiser: Denoiser, canvas: Canvas, temperature: float, unmasker: AnyUnmasker) -> None:
    if not callable(denoiser):
        raise UserError(f"a denoiser is called with a canvas, and {type(denoiser).__name__} cannot be called")
    if not isinstance(canvas, Canvas):
        raise UserError(f"there is no canvas to write, got {type(canvas).__name__}; make one with unmask.Canvas.make")
    check_canvas(canvas)
    check_temperature("temperature", temperature)
    check_budgets(canvas)
    if unmasker.may_be_empty and bool((canvas.budget > MOST_STEPS).any()):
        raise UserError(
            f"budget must be at most {MOST_STEPS} for a sampler that may leave steps empty, as it goes through all of "
            f"them, got {int(canvas.budget.max())}; name another sampler for one that takes the steps it needs"
        )


def _stopped(stop: Callable[[Canvas], Tensor], canvas: Canvas) -> Tensor:
    ended = stop(canvas)
    if not isinstance(ended, Tensor) or ended.dtype != torch.bool or ended.shape != canvas.step.shape:
        what = f"{ended.dtype} {list(ended.shape)}" if isinstance(ended, Tensor) else type(ended).__name__
        raise UserError(f"`stop` must say true or false of each row, a bool tensor [{len(canvas.step)}], got {what}")
    return ended


def check_budgets(canvas: Canvas) -> None:
    """Raise UserError unless every row may take a step."""
    if (canvas.budget < 1).any():
        raise UserError(f"budget must be at least 1, got {int(canvas.budget.min())}")


def _blank(canvas: Canvas) -> Decoded:
    """Buffers of our own to write results into; `probability` holds logs until the end."""
    return Decoded(
        canvas=replace(canvas, tokens=canvas.tokens.clone(), masked=canvas.masked.clone(), step=canvas.step.clone()),
        steps=torch.zeros_like(canvas.step),
        nfe=torch.zeros_like(canvas.step),
        revealed_at=torch.zeros_like(canvas.tokens),
        probability=torch.full_like(canvas.tokens, torch.nan, dtype=torch.float64),
        log_prob=torch.zeros(len(canvas.step), dtype=torch.float64, device=canvas.tokens.device),
    )


def _log_prob(denoised: Denoised, tokens: Tensor, temperature: float, log_probs: bool) -> Tensor:
    """float64 [B, L]: log-probability of the token where `denoised` speaks; NaN elsewhere and if not asked for."""
    if temperature == 0:
        values = denoised.top2[:, 0].double().log()
    elif log_probs:
        values = denoised.log_prob(denoised.from_rows(tokens)).double()
    else:
        values = torch.full((len(denoised.where),), torch.nan, dtype=torch.float64, device=tokens.device)
    return denoised.to_rows(values, torch.nan)


def _finish(decoded: Decoded, rows: Tensor, gone: Tensor, canvas: Canvas, reveals: Reveals, passes: int) -> None:
    """Write the rows that are `gone` (bool [b]) into the buffers of `decoded`: each was part of every pass so far."""
    place, last = rows[gone], canvas.take(gone)
    decoded.nfe[place] = passes
    decoded.canvas.tokens[place] = last.tokens
    decoded.canvas.masked[place] = last.masked
    decoded.canvas.step[place] = last.step
    decoded.revealed_at[place] = reveals.revealed_at[gone]
    decoded.probability[place] = reveals.log_prob[gone]

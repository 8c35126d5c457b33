"""What a sampler is: it says where to reveal, and never what to write."""

from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised

State = Any  # whatever the next step needs; tensors in it have the row axis first


class Selection(NamedTuple):
    """Which positions to reveal, and in which order of urgency.

    positions: bool [B, L].
    priority:  float [B, L], larger means sooner; `Budgeted` tops up or cuts by it.
    """

    positions: Tensor
    priority: Tensor


class Unmasker(Protocol):
    """Anything that picks positions: a heuristic, a learned policy, a wrapper.

    reads_tokens: True if it looks at the drawn token. The written law is then no longer the denoiser's, so
        only unmaskers where it is False may be scored by the bound (`written` is None for those).
    may_be_empty: True if a step may reveal nothing in an unfinished row; such a step costs no denoiser call.

    One that reads entropies says so by a further `reads_entropy = True`: they are then made in one pass with what
    wrappers read. Whoever does not still gets them, for a pass over the logits of their own.
    """

    @property
    def reads_tokens(self) -> bool:
        """Whether the choice depends on the drawn tokens."""
        ...

    @property
    def may_be_empty(self) -> bool:
        """Whether a step may reveal nothing in an unfinished row."""
        ...

    def init(self, canvas: Canvas) -> State:
        """State before the first step; None where none is needed."""
        ...

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """Choose among the masked positions. `written` (long [B, L]): the drawn tokens if `reads_tokens`.

        Inside a wrapper `canvas` may be restricted: `denoised` is then packed over more positions than
        `canvas.masked` says, so bring its values to rows and choose among `canvas.masked` only. A wrapper may
        also shift `canvas.step` and `canvas.budget`; random numbers come from `draws`, which it never shifts.
        Returns the state instead of storing it. Changes none of its arguments.
        """
        ...


class Edit(NamedTuple):
    """Which positions to reveal, and which to take back.

    reveal: bool [B, L], of the masked ones.
    remask: bool [B, L], of those written since decoding began: they are masked again, and their token is forgotten.
    """

    reveal: Tensor
    remask: Tensor


@runtime_checkable
class Editor(Protocol):
    """An unmasker that may take back what it wrote: `edit` instead of `select`, all else as for `Unmasker`.

    The decode loop sees to the rest: what was not masked at the start is never masked again, and at a row's last step
    nothing is, so it ends within its budget. A row in which nothing is masked after a step is finished, early or not.
    The same text can be come by in many ways, so what it writes has no exact NLL.

    may_be_empty: True if a step may neither reveal nor re-mask anything in an unfinished row.
    rereads: True if it needs the denoiser's word on what is written: `denoised` then speaks of the written positions
        too (`Rereader`), each given the others.
    """

    @property
    def reads_tokens(self) -> bool:
        """Whether the choice depends on the drawn tokens."""
        ...

    @property
    def may_be_empty(self) -> bool:
        """Whether a step may leave an unfinished row as it is."""
        ...

    @property
    def rereads(self) -> bool:
        """Whether `denoised` must speak of the written positions too."""
        ...

    def init(self, canvas: Canvas) -> State:
        """State before the first step. What is masked now is what may ever be masked again."""
        ...

    def edit(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Edit, State]:
        """Choose what to reveal and what to take back. Arguments and promises are those of `Unmasker.select`."""
        ...


AnyUnmasker = Unmasker | Editor  # what the decode loop takes


def check_sampler(sampler: object) -> None:
    """Raise UserError unless `sampler` has what the decode loop asks of one."""
    if isinstance(sampler, type):
        raise UserError(f"{sampler.__name__} is a class and no sampler yet: give an object of it, {sampler.__name__}()")
    if hasattr(sampler, "unmasker"):
        raise UserError("a learned order has a sampler for each budget: give order.unmasker(budget), or use decode()")
    wanted = ("reads_tokens", "may_be_empty", "init", "edit" if hasattr(sampler, "edit") else "select")
    if lacking := [name for name in wanted if not hasattr(sampler, name)]:
        raise UserError(
            f"{type(sampler).__name__} is no sampler, it has no {', '.join(lacking)}: give `NAME:key=value,...`, an "
            "Unmasker, or a learned order. hint: `unmask list samplers`"
        )


@runtime_checkable
class Foresees(Protocol):
    """An unmasker that may be empty and knows for how long: budgets far beyond the positions then cost little."""

    def idle(self, canvas: Canvas, denoised: Denoised, state: State, draws: StepDraws) -> Tensor:
        """long [B]: how many steps, this one being the first, it would change nothing if asked. Fewer may be said.

        Asked after a step in which it changed nothing, on the canvas of the next; rows that did change something have
        nothing masked there, and what is said of them is not read. The last step of `canvas` is never among them.
        """
        ...


def idle(unmasker: AnyUnmasker, canvas: Canvas, denoised: Denoised, state: State, draws: StepDraws) -> Tensor:
    """What `unmasker` foresees; 0 where it does not say."""
    if not isinstance(unmasker, Foresees):
        return torch.zeros_like(canvas.step)
    return unmasker.idle(canvas, denoised, state, draws).clamp(min=0).minimum((canvas.steps_left - 1).clamp(min=0))


def reads_entropy(unmasker: AnyUnmasker) -> bool:
    """Whether it says that it reads entropies; most do not."""
    return bool(getattr(unmasker, "reads_entropy", False))


class Stateless:
    """Base of the samplers that need no memory and do not look at drawn tokens."""

    reads_tokens: ClassVar[bool] = False
    may_be_empty: ClassVar[bool] = False

    def init(self, canvas: Canvas) -> State:
        """No state."""
        return None


class Wrapper:
    """Base of what stands around another sampler: reads what `inner` reads, and may be empty exactly if it may."""

    inner: "AnyUnmasker"

    @property
    def reads_tokens(self) -> bool:
        """As `inner`."""
        return self.inner.reads_tokens

    @property
    def may_be_empty(self) -> bool:
        """As `inner`."""
        return self.inner.may_be_empty

    @property
    def reads_entropy(self) -> bool:
        """As `inner`."""
        return reads_entropy(self.inner)

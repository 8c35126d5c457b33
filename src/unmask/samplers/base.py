"""What a sampler is: it says where to reveal, and never what to write."""

from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
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


class Stateless:
    """Base of the samplers that need no memory and do not look at drawn tokens."""

    reads_tokens: ClassVar[bool] = False
    may_be_empty: ClassVar[bool] = False

    def init(self, canvas: Canvas) -> State:
        """No state."""
        return None

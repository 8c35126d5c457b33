"""A learned order as a sampler: a policy, and the rule by which its law becomes a set of positions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import StepDraws
from unmask.core.errors import UserError
from unmask.core.registry import check_name
from unmask.denoisers.base import Denoised
from unmask.reveals.base import OrderPolicy, RevealLaw
from unmask.samplers.base import Selection, State
from unmask.samplers.budgeted import top_up
from unmask.samplers.options import check_choice, check_range
from unmask.samplers.pick import pick_from_level


@dataclass(frozen=True)
class DecodeRule:
    """How a policy's law is turned into positions. Part of what is learned, and chosen on validation.

    kind: "sample" draws from the law; "threshold" takes every position whose coin is at least `level`, and
        always the one with the largest. A threshold mixes several good orders into one that may be bad, so it
        is not simply the sample without its noise.
    level: for "threshold".
    sharpness: factor on the law's logits before the rule, for laws that offer `sharpen(factor)`; 1 leaves it.
    scale: factor on the law's coins, capped at 1, after that (the knob min(1, beta p) of Jazbec et al. 2512.09106),
        for laws that offer `scale(factor)`; 1 leaves them.
    pace: top each step up to the even quota, by inclusion, so that nothing piles up at the last (`Budgeted`).
    """

    kind: Literal["sample", "threshold"] = "sample"
    level: float = 0.5
    sharpness: float = 1.0
    scale: float = 1.0
    pace: bool = False

    def __post_init__(self) -> None:
        check_choice("decode rule", self.kind, ("sample", "threshold"))
        check_range("level", self.level, 0, 1)
        for name in ("sharpness", "scale"):
            check_range(name, getattr(self, name), 0)
            if getattr(self, name) == float("inf"):
                raise UserError(f"{name} must be a finite number, got inf; the rule `threshold` has no noise")
        if self.scale == 0:
            raise UserError("scale must be above 0: no coin would ever come up")
        if not isinstance(self.pace, bool):
            raise UserError(f"pace must be true or false, got {self.pace!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a config file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DecodeRule":
        """The inverse of `to_dict`. Raises UserError on a key or value that is none of ours."""
        for key in values:
            check_name(key, (field.name for field in fields(cls)), "decode rule option")
        return cls(**values)


def changed(law: RevealLaw, verb: str, option: str, factor: float) -> RevealLaw:
    """`law.VERB(factor)`; the law itself at 1. Raises UserError where its family has no such method."""
    if factor == 1:
        return law
    if not hasattr(law, verb):
        raise UserError(f"{option} must be 1 for {type(law).__name__}, which has no `{verb}`, got {factor}")
    found: RevealLaw = getattr(law, verb)(factor)
    return found


def ruled(law: RevealLaw, rule: DecodeRule) -> RevealLaw:
    """The law that `rule` draws from, or takes its threshold on."""
    return changed(changed(law, "sharpen", "sharpness", rule.sharpness), "scale", "scale", rule.scale)


def check_law(canvas: Canvas, inclusion: Tensor) -> None:
    """Raise UserError where `inclusion` [B, L] is no probability: NaN would be as good as never, or as always."""
    wrong = (inclusion.isnan() & canvas.masked).any(dim=-1)
    if bool(wrong.any()):
        row, step = int(canvas.row[wrong][0]), int(canvas.step[wrong][0]) + 1
        raise UserError(
            f"the learned order gives NaN for row {row}, at step {step}: the denoiser's hidden states pass what their "
            "dtype holds, then load it in another (bfloat16 or float32), or weights are damaged, then fetch them again"
        )


@dataclass(frozen=True)
class Learned:
    """Reveal what the policy p(S | canvas, budget) says, by `rule` (after arXiv 2602.23968).

    The threshold is on the law's coins (`law.probabilities()`) where it has them, since inclusion under a
    law conditioned on at least one reveal is larger than the coin; else on `law.inclusion()`. Priority:
    inclusion. Inside a wrapper the policy sees the restricted canvas, and inside `Blockwise` the block's
    step and budget. May be empty only when sampling from a policy that says so (`policy.may_be_empty`). Does
    not look at drawn tokens.
    """

    policy: OrderPolicy
    rule: DecodeRule = DecodeRule()

    @property
    def reads_tokens(self) -> bool:
        """Never: a policy sees the canvas and the denoiser only."""
        return False

    @property
    def may_be_empty(self) -> bool:
        """Where the policy's family is, and is sampled from."""
        always_some = self.rule.kind == "threshold" or self.rule.pace
        return not always_some and bool(getattr(self.policy, "may_be_empty", False))

    @property
    def reads_entropy(self) -> bool:
        """Where the policy says so."""
        return bool(getattr(self.policy, "reads_entropy", False))

    def init(self, canvas: Canvas) -> State:
        """No state: a policy sees all it needs on the canvas."""
        return None

    def select(
        self, canvas: Canvas, denoised: Denoised, written: Tensor | None, state: State, draws: StepDraws
    ) -> tuple[Selection, State]:
        """One policy call, then the rule."""
        law = ruled(self.policy(canvas, denoised), self.rule)
        inclusion = law.inclusion()  # [B, L]
        check_law(canvas, inclusion)
        if self.rule.kind == "sample":
            positions = law.sample(draws) & canvas.masked
        else:
            coins = law.probabilities() if hasattr(law, "probabilities") else inclusion
            positions = pick_from_level(canvas, coins, self.rule.level)
        chosen = Selection(positions, inclusion)
        return top_up(canvas, chosen) if self.rule.pace else chosen, state

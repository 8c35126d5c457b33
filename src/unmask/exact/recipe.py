"""How an order is learned where the best one is known: what can be chosen, and what did best."""

from dataclasses import dataclass

from unmask.core.errors import UserError
from unmask.core.registry import check_name
from unmask.exact.families import FAMILIES, POSTERIORS

FIRST_STAGES = ("bound", "importance")


@dataclass(frozen=True)
class Recipe:
    """How an order is learned on an enumerable text.

    family: of the policy, one of `families.FAMILIES`; a mixture has `components`.
    first_share: share of the updates spent on a posterior's paths first, which draws them knowing the text: numbers of
        its own for every text, of the family `posterior`, a score ratio at temperature `tau`.
    first: what is optimised there. `bound`: equations 2-6, the weight of the divergence rising from `beta` to 1; it
        needs a family whose divergence from the posterior has a closed form. `importance`: the bound by all samples of
        a text together, weighted by policy over posterior, with per-sample baselines.
    multi_sample: after that, the bound by all samples of a text together on the policy's own paths (equations 6b and
        6c); False: their mean log-likelihood, which is the bound with q := p and no divergence.
    tilt: draw paths with each step's credit summed out (equation 6c) instead of as they come (6b).
    entropy: weight of the policy's entropy, in nats per nat, falling to 0 by the end.
    rows, samples: texts per update, and paths drawn for each.
    rate: of Adam, falling to `last_rate` times that along a cosine.
    spread: deviation of the logits at the start; components that start alike stay alike.
    """

    family: str = "categorical"
    components: int = 8
    first_share: float = 0.0
    first: str = "bound"
    posterior: str = "score-ratio"
    tau: float = 0.3
    beta: float = 0.1
    multi_sample: bool = True
    tilt: bool = False
    entropy: float = 0.01
    rows: int = 64
    samples: int = 32
    rate: float = 0.2
    last_rate: float = 0.02
    spread: float = 0.0

    def check(self) -> None:
        """Raise UserError on an unknown name, or a first stage that this policy and posterior cannot have."""
        family = FAMILIES[check_name(self.family, FAMILIES, "policy family")]
        posterior = POSTERIORS[check_name(self.posterior, POSTERIORS, "posterior family")]
        check_name(self.first, FIRST_STAGES, "first stage")
        if self.first_share > 0 and posterior.may_be_empty != family.may_be_empty:
            raise UserError(
                f"a posterior `{self.posterior}` cannot teach the family `{self.family}`: one may reveal nothing in a "
                "step and the other may not"
            )
        if self.first_share > 0 and self.first == "bound" and not family.closed:
            raise UserError(
                f"first must be `importance` for the family `{self.family}`: its divergence from a posterior has no "
                "closed form"
            )
        if self.tilt and not family.tilts:
            raise UserError(f"tilt must be False for the family `{self.family}`, which cannot be tilted")


RECIPE = Recipe()  # what did best in docs/guides/exact.md

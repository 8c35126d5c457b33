"""What a learned order depends on, besides the denoiser, and what cannot be."""

import math
from dataclasses import dataclass

from unmask.core.errors import UserError
from unmask.samplers import make_sampler
from unmask.samplers.options import check_choice


@dataclass(frozen=True)
class LearnConfig:
    """What a learned order depends on, besides the denoiser.

    budgets: one network serves them all; each row of a batch draws one.
    bound_updates: first stage (equations 2-6), posterior and policy. policy_updates: second stage (equation 6b).
    texts: `data` learns from the responses of the task, `own` from right answers that the denoiser writes first, to
        `own_count` training prompts by `own_sampler` (see `train.own_texts`).
    likelihood, miss: what the second stage credits a path with, see `objectives.Credit`. 1 and 0 is the likelihood of
        the text (equation 6b); 0 and 3 about the chance that greedy decoding writes it.
    tilt: draw the paths of the second stage with each step's credit summed out (equation 6c) instead of as they come
        (6b). Far better where most positions are right or wrong; on small symmetric problems the plain paths leave
        the plateau between equally good orders sooner.
    price: nats that each step after the first costs in the second stage, so that easy texts take fewer (after Jazbec
        et al. 2512.09106, whose reward shrinks with the steps in the same multiplicative way).
    tau, tau_end: temperature of equation 3, geometric from one to the other; 0 keeps the expected count at
        |M| / (steps left) instead.
    beta: weight of the divergence at the start of the first stage; it rises to 1.
    entropy: weight of the policy's entropy at the start of the second stage; it falls to 0.
    components: sets of coins in the policy's law. With more than one it is a mixture, which can say "these two or those
        two"; it has no closed entropy and no closed divergence, so `entropy` and `bound_updates` must be 0.
    codes: bits by which the policy is told the two most probable tokens of a position; 0 hides them from it.
    denoiser_update: `frozen`, or `joint`: the denoiser is trained along, in the second stage by the log-likelihood per
        position of the text along the paths walked; or `lora`: factors of rank `lora_rank` beside its matrices are.
    precision: of the denoiser while learning: `bf16`, `fp32`, or `auto` for bf16 where the hardware has it.
    taught_updates: third stage (equation 6d, `train/taught.py`): what a slow decode by `teacher` shows to be right
        already, on canvases that were reached by a threshold; in `taught_rounds` rounds, each of which walks
        `taught_batches` batches of prompts more and learns from all so far.
    features: a folder. The denoiser walks the paths of `feature_batches` batches once and leaves there what an order
        reads on them, if it is not there yet; the order then learns from that alone (`train/features.py`).
    accumulate: pieces that each process takes its rows of an update in, one after the other: the same update within
        rounding, in less memory.
    workers: processes that make batches ahead, the same ones; 0 makes each when its turn comes.
    """

    task: str = "wordprob"
    data: str | None = None
    texts: str = "own"
    own_count: int = 5_000
    own_sampler: str = "threshold:level=0.9"
    budgets: tuple[int, ...] = (2, 4, 8, 16)
    bound_updates: int = 0
    policy_updates: int = 400
    taught_updates: int = 0
    taught_rounds: int = 2
    taught_batches: int = 100
    teacher: str = "frontier:level=0.98"
    rows: int = 32
    samples: int = 4
    steps_per_row: int = 4
    rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 20
    decay: float = 0.3
    clip: float = 1.0
    likelihood: float = 0.0
    miss: float = 3.0
    tilt: bool = True
    price: float = 0.02
    tau: float = 0.0
    tau_end: float = 0.0
    beta: float = 0.1
    entropy: float = 0.0
    width: int = 64
    layers: int = 2
    components: int = 1
    codes: int = 32
    seed: int = 0
    denoiser_update: str = "frozen"
    denoiser_rate: float = 1e-4
    lora_rank: int = 8
    precision: str = "auto"
    features: str | None = None
    feature_batches: int = 50
    accumulate: int = 1
    workers: int = 0
    device: str = "cpu"

    @property
    def updates(self) -> int:
        """Of all stages together."""
        return self.bound_updates + self.policy_updates + self.taught_updates


def check(config: LearnConfig) -> None:
    """Raise a UserError on the first setting that cannot be."""
    if not config.budgets or min(config.budgets) < 1:
        raise UserError(f"budgets must be at least 1 step each, got {list(config.budgets)}")
    check_choice("texts", config.texts, ("data", "own"))
    if config.texts == "own":
        if config.own_count < 1:
            raise UserError(f"own_count must be at least 1 prompt, got {config.own_count}")
        make_sampler(config.own_sampler, end_token=0)
    if config.samples < 2:
        raise UserError(f"samples must be at least 2 (the baseline leaves one out), got {config.samples}")
    for name in ("likelihood", "miss", "price"):
        if not 0 <= getattr(config, name) < math.inf:
            raise UserError(f"{name} must be a number of at least 0, got {getattr(config, name)}")
    if config.likelihood == 0 and config.miss == 0:
        raise UserError("likelihood and miss are both 0: the second stage would have nothing to learn from")
    check_components(config)
    check_denoiser(config)
    check_taught(config)
    if config.rows < 1 or min(config.bound_updates, config.policy_updates, config.taught_updates) < 0:
        raise UserError("rows must be at least 1, and updates at least 0")
    if config.updates < 1:
        raise UserError("nothing to do: bound_updates, policy_updates and taught_updates are all 0")
    if min(config.tau, config.tau_end) < 0 or (config.tau == 0) != (config.tau_end == 0):
        raise UserError(f"tau and tau_end must both be above 0, or both 0, got {config.tau} and {config.tau_end}")


def check_denoiser(config: LearnConfig) -> None:
    """Raise a UserError if the denoiser is to be used in a way that there is not."""
    if config.denoiser_update not in ("frozen", "joint", "lora"):
        raise UserError(f"unknown denoiser update `{config.denoiser_update}`. Choices: frozen, joint, lora")
    if config.lora_rank < 1:
        raise UserError(f"lora_rank must be at least 1, got {config.lora_rank}")
    if config.feature_batches < 1:
        raise UserError(f"feature_batches must be at least 1, got {config.feature_batches}")
    plain = config.denoiser_update == "frozen" and config.tilt and config.bound_updates == 0 and config.entropy == 0
    if config.features and not (plain and config.components == 1):
        raise UserError(
            "features are for the second stage, tilted, with a frozen denoiser and one set of coins: "
            "set bound_updates 0, entropy 0, tilt, components 1 and denoiser_update frozen"
        )
    if config.accumulate < 1:
        raise UserError(f"accumulate must be at least 1 piece, got {config.accumulate}")


def check_taught(config: LearnConfig) -> None:
    """Raise a UserError if the third stage is asked for what it does not do."""
    if config.taught_updates < 1:
        return
    rounds, batches = config.taught_rounds, config.taught_batches
    if rounds < 1 or batches < 1:
        raise UserError(f"taught_rounds and taught_batches must be at least 1, got {rounds} and {batches}")
    if config.taught_updates < rounds:
        raise UserError(f"taught_updates must be at least one a round, got {config.taught_updates} for {rounds} rounds")
    if config.components > 1 or config.denoiser_update != "frozen" or config.features:
        raise UserError(
            "the third stage teaches one set of coins for a frozen denoiser that is at hand: set components 1, "
            "denoiser_update frozen and no features, or taught_updates 0"
        )
    make_sampler(config.teacher, end_token=0)


def check_components(config: LearnConfig) -> None:
    """Raise a UserError if a mixture is asked for what it does not have."""
    if config.components < 1:
        raise UserError(f"components must be at least 1, got {config.components}")
    if config.components > 1 and (config.entropy > 0 or config.bound_updates > 0):
        raise UserError(
            f"entropy and bound_updates must be 0 for a mixture of {config.components} components, which has no closed "
            f"entropy and no closed divergence, got {config.entropy} and {config.bound_updates}"
        )

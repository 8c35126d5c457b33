"""Learn an order: first the bound with a posterior that sees the text, then the policy on its own paths.

The loop is `learn`; everything above it is preparation.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.denoisers.folder import TextDenoiser, save_denoiser
from unmask.denoisers.transformer import Transformer
from unmask.objectives import (
    Credit,
    bound_surrogate,
    log_mean_exp,
    path_log_likelihoods,
    tilted_paths,
    vimco_surrogate,
)
from unmask.orders.folder import LearnedOrder, save_order
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.orders.posterior import PosteriorConfig, PosteriorNetwork, paced
from unmask.reveals.score_ratio import ScoreLaw, at_temperature
from unmask.samplers import make_sampler
from unmask.samplers.learned import DecodeRule
from unmask.samplers.options import check_choice
from unmask.tasks import make_task
from unmask.tasks.base import Example, Task
from unmask.train.batches import Batch, Batches
from unmask.train.checkpoint import load_checkpoint, restoring, save_checkpoint
from unmask.train.line import Line
from unmask.train.optimizers import Optimizers, clip_gradient, not_finite
from unmask.train.own_texts import own_texts
from unmask.train.precision import resolve_precision
from unmask.train.runs import RunLog, open_run
from unmask.train.schedule import trapezoid


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
    denoiser_update: `frozen`, or `joint`: the denoiser is trained along, in the second stage by the log-likelihood per
        position of the text along the paths walked.
    precision: of the denoiser while learning: `bf16`, `fp32`, or `auto` for bf16 where the hardware has it.
    """

    task: str = "wordprob"
    data: str | None = None
    texts: str = "own"
    own_count: int = 5_000
    own_sampler: str = "threshold:level=0.9"
    budgets: tuple[int, ...] = (2, 4, 8, 16)
    bound_updates: int = 0
    policy_updates: int = 400
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
    seed: int = 0
    denoiser_update: str = "frozen"
    denoiser_rate: float = 1e-4
    precision: str = "auto"
    device: str = "cpu"


class LearnResult(NamedTuple):
    """What `learn` leaves: the order, where it stands on disk, and the validation its rules were chosen by."""

    order: LearnedOrder
    folder: Path
    validation: dict[str, Any]


Validate = Callable[[LearnedOrder, TextDenoiser], dict[str, float]]
ChooseRules = Callable[[LearnedOrder, TextDenoiser], tuple[dict[int, DecodeRule], dict[str, Any]]]


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
    if config.denoiser_update not in ("frozen", "joint"):
        raise UserError(f"unknown denoiser update `{config.denoiser_update}`. Choices: frozen, joint")
    if config.rows < 1 or config.bound_updates < 0 or config.policy_updates < 0:
        raise UserError("rows must be at least 1, and updates at least 0")
    if config.bound_updates + config.policy_updates < 1:
        raise UserError("nothing to do: bound_updates and policy_updates are both 0")
    if min(config.tau, config.tau_end) < 0 or (config.tau == 0) != (config.tau_end == 0):
        raise UserError(f"tau and tau_end must both be above 0, or both 0, got {config.tau} and {config.tau_end}")


def draw_budgets(clean: Canvas, budgets: Sequence[int], draws: Draws) -> Canvas:
    """The same canvas, each row with one of `budgets`, all equally likely."""
    choice = (draws.row_uniform(clean, "budget") * len(budgets)).long()
    return replace(clean, budget=torch.tensor(list(budgets), device=clean.row.device)[choice])


def posterior_law(config: LearnConfig, progress: float) -> ScoreLaw:
    """How scores become q at this point of the first stage."""
    if config.tau == 0:
        return paced
    return at_temperature(config.tau * (config.tau_end / config.tau) ** progress)


class StageLoss(NamedTuple):
    """loss: scalar, to minimise. report: numbers for the log, in nats unless the name says otherwise."""

    loss: Tensor
    report: dict[str, float]


def bound_loss(
    clean: Canvas,
    posterior: PosteriorNetwork,
    policy: PolicyNetwork,
    denoiser: Callable[[Canvas], Denoised],
    draws: Draws,
    config: LearnConfig,
    progress: float,
) -> StageLoss:
    """First stage: minus the surrogate of the bound, per response."""
    bound = bound_surrogate(
        clean,
        posterior(clean),
        posterior_law(config, progress),
        policy,
        denoiser,
        draws=draws,
        samples=config.samples,
        steps_per_row=config.steps_per_row,
        beta=config.beta + (1 - config.beta) * progress,
    )
    report = {"elbo": bound.elbo.mean().item(), "kl": bound.kl.mean().item(), "reveal": bound.reveal.item()}
    return StageLoss(-bound.surrogate.mean(), report)


def policy_loss(
    clean: Canvas,
    policy: PolicyNetwork,
    denoiser: Callable[[Canvas], Denoised],
    draws: Draws,
    config: LearnConfig,
    progress: float,
) -> StageLoss:
    """Second stage: minus the multi-sample bound on the policy's paths, steps paid for and entropy mixed in."""
    credit = Credit(config.likelihood, config.miss)
    if config.tilt:
        tilted = tilted_paths(clean, policy, denoiser, draws=draws, samples=config.samples, credit=credit)
        credits, drawn, entropy, misses, likelihood, order = tilted
    else:
        paths = path_log_likelihoods(clean, policy, denoiser, draws=draws, samples=config.samples)
        credits = credit.likelihood * paths.log_likelihood - credit.miss * paths.misses
        drawn, entropy, misses, order = paths.log_policy, paths.entropy, paths.misses, paths.order
        likelihood = paths.log_likelihood
    steps = order.num_steps.view_as(credits)
    surrogate = vimco_surrogate(credits - config.price * (steps - 1), drawn)
    surrogate = surrogate + config.entropy * (1 - progress) * entropy.mean(dim=-1)
    report = {
        "bound": log_mean_exp(credits.detach()).mean().item(),
        "credit": credits.detach().exp().mean().item(),
        "misses": misses.mean().item(),
        "entropy": entropy.mean().item(),
        "steps": steps.float().mean().item(),
    }
    loss = -surrogate.mean()
    if config.denoiser_update == "joint":  # misses have no gradient: without this the denoiser would learn nothing
        loss = loss - likelihood.mean(dim=-1).sum() / clean.masked.sum()
    return StageLoss(loss, report)


def stage_loss(
    update: int,
    clean: Canvas,
    posterior: PosteriorNetwork,
    policy: PolicyNetwork,
    denoiser: Callable[[Canvas], Denoised],
    draws: Draws,
    config: LearnConfig,
) -> StageLoss:
    """The loss of whichever stage `update` (from 0) belongs to."""
    if update < config.bound_updates:
        return bound_loss(clean, posterior, policy, denoiser, draws, config, update / config.bound_updates)
    progress = (update - config.bound_updates) / config.policy_updates
    return policy_loss(clean, policy, denoiser, draws, config, progress)


def frozen_scorer(network: Transformer, precision: str) -> Callable[[Canvas], Denoised]:
    """The denoiser without gradient; a bfloat16 copy of it if asked for, which is about twice as fast."""
    frozen = copy.deepcopy(network).bfloat16() if precision == "bf16" else network

    @torch.no_grad()
    def score(canvas: Canvas) -> Denoised:
        return frozen(canvas)  # type: ignore[no-any-return]

    return score


def trained_scorer(network: Transformer, precision: str) -> Callable[[Canvas], Denoised]:
    """The denoiser with gradient; with bfloat16 matrix products if asked for."""

    def score(canvas: Canvas) -> Denoised:
        with torch.autocast(canvas.tokens.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            return network(canvas)  # type: ignore[no-any-return]

    return score


def learn(
    denoiser: TextDenoiser,
    config: LearnConfig,
    out: Path,
    *,
    overwrite: bool = False,
    checkpoint_every: int = 25,
    validate_every: int = 100,
    validate: Validate | None = None,
    choose_rules: ChooseRules | None = None,
    identity: dict[str, Any] | None = None,
) -> LearnResult:
    """Learn an order for a denoiser on a task; killed and called again it goes on where it was.

    Leaves `out/order`, `out/log.jsonl`, `out/checkpoint.safetensors`, and `out/denoiser` if that was trained along.
    identity: what else must agree for a resumed run to be the same (say, a digest of the denoiser).
    Raises UserError on bad settings, or if the loss stops being finite (the last good checkpoint is kept).
    """
    check(config)
    config = replace(config, precision=resolve_precision(config.precision, config.device))
    task = make_task(config.task, config.data)

    def batches_of(examples: Sequence[Example]) -> Batches:
        found = Batches(
            examples, denoiser.codec, config.rows, denoiser.response_length, denoiser.context, config.seed + 1, pad_to=1
        )
        found.batch(0)
        return found

    batches = batches_of(task.examples("train"))  # what is wrong with the data shows before the folder is claimed
    joint = config.denoiser_update == "joint"
    network = denoiser.network.to(config.device).eval()
    if joint:
        network.requires_grad_(True)
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):  # building a module draws weights that `initialise` writes over
        policy = PolicyNetwork(PolicyConfig(denoiser.network.hidden_width, config.width, config.layers))
        posterior = PosteriorNetwork(PosteriorConfig(denoiser.codec.vocabulary, config.width))
    policy.initialise(generator)
    posterior.initialise(generator)
    learners = nn.ModuleDict({"policy": policy, "posterior": posterior}).to(config.device)
    optimizers = [Optimizers(learners, config.rate, 0.0, config.weight_decay)]
    if joint:
        learners["denoiser"] = network
        optimizers.append(Optimizers(network, config.denoiser_rate, 0.0, config.weight_decay))
    skip = ("device", "data")
    known = {key: value for key, value in asdict(config).items() if key not in skip}
    claim = open_run(out, "learn", known | (identity or {}), overwrite)
    if config.texts == "own":
        batches = batches_of(write_texts(denoiser, task, config, out / "texts.jsonl"))
    total, done, checkpoint = config.bound_updates + config.policy_updates, 0, out / "checkpoint.safetensors"
    if checkpoint.exists():
        tensors, meta = load_checkpoint(checkpoint)
        with restoring(checkpoint):
            restore(learners, optimizers, tensors)
            done = int(meta["update"])
    scorer = (trained_scorer if joint else frozen_scorer)(network, config.precision)
    log = RunLog(out / "log.jsonl", total, done, "learn")
    order = LearnedOrder(policy, {}, {})
    seen: dict[str, float] = {}
    try:
        for update in range(done, total):
            learners.train()
            batch = batches.batch(update)
            draws = Draws(config.seed * 1_000_003 + update)
            clean = draw_budgets(Batch(batch.canvas.to(config.device), []).canvas, config.budgets, draws)
            stage = stage_loss(update, clean, posterior, policy, scorer, draws, config)
            stage.loss.backward()  # type: ignore[no-untyped-call]
            norm = clip_gradient(learners.parameters(), config.clip)
            if not (torch.isfinite(stage.loss) and torch.isfinite(norm)):
                raise not_finite(update + 1, stage.loss, norm, checkpoint, config.rate)
            for optimizer in optimizers:
                optimizer.step(trapezoid(update, total, config.warmup, config.decay))
            log.write({"update": update + 1, "norm": norm.item(), **stage.report})
            log.show(update + 1, "  ".join(f"{name} {value:.2f}" for name, value in (stage.report | seen).items()))
            last = update + 1 == total
            if validate is not None and ((update + 1) % validate_every == 0 or last):
                learners.eval()
                seen = validate(order, denoiser)
                log.write({"update": update + 1, **seen})
            if last or (update + 1) % checkpoint_every == 0:
                save_checkpoint(checkpoint, state(learners, optimizers), {"update": update + 1})
    finally:
        log.close()
        claim.close()
    learners.eval()
    rules, validation = choose_rules(order, denoiser) if choose_rules is not None else ({}, {})
    card = {"learn": asdict(config), "validation": validation}
    finished = LearnedOrder(policy, rules, card)
    save_order(finished, out / "order")
    if joint:
        save_denoiser(replace(denoiser, card=denoiser.card | {"trained along": asdict(config)}), out / "denoiser")
    return LearnResult(finished, out / "order", validation)


def write_texts(denoiser: TextDenoiser, task: Task, config: LearnConfig, path: Path) -> list[Example]:
    """The denoiser's own texts, written at the precision it is learned with, under a progress line."""
    rough = config.precision == "bf16"
    writer = replace(denoiser, network=copy.deepcopy(denoiser.network).bfloat16()) if rough else denoiser
    with Line("write texts", config.own_count) as line:
        return own_texts(
            writer, task, path, count=config.own_count, sampler=config.own_sampler,
            progress=lambda at: line.show(at.done, f"{at.right} right"),
        )  # fmt: skip


def state(learners: nn.Module, optimizers: Sequence[Optimizers]) -> dict[str, Tensor]:
    """Everything a checkpoint holds, by name."""
    tensors = {f"learners.{name}": value for name, value in learners.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        tensors |= {f"{number}.{name}": value for name, value in optimizer.tensors().items()}
    return tensors


def restore(learners: nn.Module, optimizers: Sequence[Optimizers], tensors: dict[str, Tensor]) -> None:
    """Put back what `state` took out."""
    learners.load_state_dict({name[9:]: value for name, value in tensors.items() if name.startswith("learners.")})
    for number, optimizer in enumerate(optimizers):
        prefix = f"{number}."
        optimizer.restore({name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)})

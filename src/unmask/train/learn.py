"""Learn an order: first the bound with a posterior that sees the text, then the policy on its own paths.

The loop is `learn`; everything above it is preparation.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.denoisers.base import Denoised
from unmask.denoisers.folder import TextDenoiser, save_denoiser
from unmask.denoisers.network import Network
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
from unmask.samplers.learned import DecodeRule
from unmask.tasks import make_task
from unmask.tasks.base import Example, Task
from unmask.train.batches import Batch, Batches
from unmask.train.checkpoint import load_checkpoint, restoring, save_checkpoint
from unmask.train.learn_config import LearnConfig, check
from unmask.train.line import Line
from unmask.train.optimizers import Optimizers, clip_gradient, not_finite
from unmask.train.own_texts import own_texts
from unmask.train.precision import resolve_precision
from unmask.train.runs import RunLog, open_run
from unmask.train.schedule import trapezoid


class LearnResult(NamedTuple):
    """What `learn` leaves: the order, where it stands on disk, and the validation its rules were chosen by."""

    order: LearnedOrder
    folder: Path
    validation: dict[str, Any]


Validate = Callable[[LearnedOrder, TextDenoiser], dict[str, float]]
ChooseRules = Callable[[LearnedOrder, TextDenoiser], tuple[dict[int, DecodeRule], dict[str, Any]]]


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
    one_set = config.components == 1
    if config.tilt:
        tilted = tilted_paths(
            clean, policy, denoiser, draws=draws, samples=config.samples, credit=credit, with_entropy=one_set
        )
        credits, drawn, entropy, misses, likelihood, order = tilted
    else:
        paths = path_log_likelihoods(
            clean, policy, denoiser, draws=draws, samples=config.samples, with_entropy=one_set
        )
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


def in_bfloat16(network: Network) -> Network:
    """A copy in bfloat16, or the network itself where it is in that already: a large one is not held twice."""
    if all(weight.dtype == torch.bfloat16 for weight in network.parameters()):
        return network
    return copy.deepcopy(network).bfloat16()


def frozen_scorer(network: Network, precision: str) -> Callable[[Canvas], Denoised]:
    """The denoiser without gradient; a bfloat16 copy of it if asked for, which is about twice as fast."""
    frozen = in_bfloat16(network) if precision == "bf16" else network

    @torch.no_grad()
    def score(canvas: Canvas) -> Denoised:
        return frozen(canvas)  # type: ignore[no-any-return]

    return score


def trained_scorer(network: Network, precision: str) -> Callable[[Canvas], Denoised]:
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
        shape = PolicyConfig(denoiser.network.hidden_width, config.width, config.layers, components=config.components)
        policy = PolicyNetwork(shape)
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
    writer = replace(denoiser, network=in_bfloat16(denoiser.network)) if rough else denoiser
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

"""Learn an order: the bound with a posterior that sees the text, the policy on its own paths, what slow decodes teach.

The loop is `learn`; everything above it is preparation.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.core.holding import NotHeld
from unmask.denoisers.base import Denoised
from unmask.denoisers.digest import denoiser_digest
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
from unmask.samplers import make_sampler
from unmask.samplers.learned import DecodeRule
from unmask.tasks import make_task
from unmask.tasks.base import Example, Task, checksums
from unmask.train.batches import Batches
from unmask.train.checkpoint import find_checkpoint, read_progress, restoring, save_checkpoint
from unmask.train.features import (
    effective_share,
    feature_bound,
    make_shard,
    on_device,
    open_features,
    read_shard,
    write_shard,
)
from unmask.train.in_step import InStep
from unmask.train.learn_config import LearnConfig, check
from unmask.train.line import Line
from unmask.train.lora import add_factors, is_factor, merge_factors, save_factors
from unmask.train.optimizers import Optimizers, clip_gradient, not_finite
from unmask.train.own_texts import own_texts
from unmask.train.precision import resolve_precision
from unmask.train.processes import Piece, Prepared, Processes, lost_processes, open_processes
from unmask.train.runs import Log, claim_run, open_log
from unmask.train.schedule import trapezoid
from unmask.train.shards import missing_shards
from unmask.train.stage import StageLoss, Step
from unmask.train.taught import Prompts, forget_lessons, taught_step


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
    fullness: float = 1.0,
) -> StageLoss:
    """Second stage: minus the multi-sample bound on the policy's paths, steps paid for and entropy mixed in.

    fullness: positions to write per row here, over those of the whole batch of which these rows are a piece.
    """
    credit = Credit(config.likelihood, config.miss)
    one_set = config.components == 1
    if config.tilt:
        tilted = tilted_paths(
            clean, policy, denoiser, draws=draws, samples=config.samples, credit=credit, with_entropy=one_set
        )
        credits, drawn, entropy, misses, likelihood, order = tilted
    else:
        paths = path_log_likelihoods(clean, policy, denoiser, draws=draws, samples=config.samples, with_entropy=one_set)
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
    if config.denoiser_update != "frozen":  # misses have no gradient: without this the denoiser would learn nothing
        loss = loss - likelihood.mean(dim=-1).sum() / clean.masked.sum() * fullness
    return StageLoss(loss, report)


def stage_loss(
    update: int,
    clean: Canvas,
    posterior: PosteriorNetwork,
    policy: PolicyNetwork,
    denoiser: Callable[[Canvas], Denoised],
    draws: Draws,
    config: LearnConfig,
    fullness: float = 1.0,
) -> StageLoss:
    """The loss of whichever stage `update` (from 0) belongs to."""
    if update < config.bound_updates:
        return bound_loss(clean, posterior, policy, denoiser, draws, config, update / config.bound_updates)
    progress = (update - config.bound_updates) / config.policy_updates
    return policy_loss(clean, policy, denoiser, draws, config, progress, fullness)


def in_precision(network: Network, precision: str) -> Network:
    """The network itself, or a bfloat16 copy of one that is not in bfloat16 yet, which is about twice as fast."""
    if precision != "bf16" or all(weight.dtype == torch.bfloat16 for weight in network.parameters()):
        return network
    return copy.deepcopy(network).bfloat16()


def frozen_scorer(network: Network, precision: str) -> Callable[[Canvas], Denoised]:
    """The denoiser without gradient, `in_precision`: a network in bfloat16 is not copied."""
    frozen = in_precision(network, precision)

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


def make_scorer(
    processes: Processes, network: Network, config: LearnConfig
) -> tuple[Prepared, Callable[[Canvas], Denoised]]:
    """The denoiser as it is learned with, and how to run anything else that uses `network`."""
    if processes.sharded:
        network = network.bfloat16() if config.precision == "bf16" else network
        spread = processes.spread(network)
        return spread, InStep(network, spread, processes)
    make = frozen_scorer if config.denoiser_update == "frozen" else trained_scorer
    return processes.spread(network), make(network, config.precision)


def check_processes(config: LearnConfig, processes: Processes) -> None:
    """Raise a UserError on what cannot be done by several processes, or by such as these."""
    if config.features and processes.world > 1:
        raise UserError("features are made and learned from by one process; start it without a launcher")
    if config.taught_updates and processes.world > 1:
        raise UserError("the third stage is taught by one process; start it without a launcher, or leave it out")
    if config.denoiser_update != "frozen" and processes.sharded:
        raise UserError(f"denoiser_update {config.denoiser_update} needs whole weights; use DDP instead of FSDP")


def unused(config: LearnConfig) -> tuple[str, ...]:
    """Settings that do not matter as the others are."""
    rank = () if config.denoiser_update == "lora" else ("lora_rank",)
    batches = () if config.features else ("feature_batches",)
    taught = () if config.taught_updates else ("taught_updates", "taught_rounds", "taught_batches", "teacher")
    return (*rank, "features", *batches, *taught)


def let_learn(network: Network, config: LearnConfig) -> None:
    """Say which weights of the denoiser are to learn, where any are."""
    if config.denoiser_update == "joint":
        network.requires_grad_(True)
    elif config.denoiser_update == "lora":
        add_factors(network, config.lora_rank, config.seed)


def batches_of(examples: Sequence[Example], denoiser: TextDenoiser, config: LearnConfig) -> Batches:
    """The batches to learn from. Raises UserError if no example fits."""
    found = Batches(
        examples, denoiser.codec, config.rows, denoiser.response_length, denoiser.context, config.seed + 1, pad_to=1
    )
    found.batch(0)
    return found


def new_learners(config: LearnConfig, denoiser_width: int, vocabulary: int) -> tuple[PolicyNetwork, PosteriorNetwork]:
    """Both before the first update, of weights drawn from the seed."""
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):  # building a module draws weights that `initialise` writes over
        shape = PolicyConfig(
            denoiser_width, config.width, config.layers, hidden=max(160, 5 * config.width // 2),
            components=config.components, codes=config.codes,
        )
        policy = PolicyNetwork(shape)
        posterior = PosteriorNetwork(PosteriorConfig(vocabulary, config.width))
    return policy.initialise(generator), posterior.initialise(generator)


def take_piece(clean: Canvas, piece: Piece) -> tuple[Canvas, float]:
    """The rows of a piece, and their fullness (see `policy_loss`)."""
    if piece.rows is None:
        return clean, 1.0
    part = clean.take(piece.rows.to(clean.row.device))
    return part, float(part.masked.sum()) / len(part.row) * len(clean.row) / max(1, int(clean.masked.sum()))


def backward(
    pieces: Sequence[Piece],
    clean: Canvas,
    processes: Processes,
    scorer: Callable[[Canvas], Denoised],
    loss: Callable[[Canvas, float], StageLoss],
) -> StageLoss:
    """`loss(rows, fullness)` of every piece, its gradient added up; what all pieces of all processes come to."""
    stages = []
    for piece in pieces:
        stage = loss(*take_piece(clean, piece))
        (stage.loss * piece.share).backward()  # type: ignore[no-untyped-call]
        stages.append(StageLoss(stage.loss.detach(), stage.report))
    if isinstance(scorer, InStep):
        scorer.wait(clean)
    if processes.world == 1 and len(stages) == 1:
        return stages[0]
    shares = [piece.share for piece in pieces]
    numbers = [[float(stage.loss), *stage.report.values()] for stage in stages]
    mine = (torch.tensor(shares, dtype=torch.float64)[:, None] * torch.tensor(numbers, dtype=torch.float64)).sum(0)
    total = processes.total(mine.to(processes.device)).tolist()
    return StageLoss(torch.tensor(total[0]), dict(zip(stages[0].report, total[1:], strict=True)))


def online_step(
    config: LearnConfig,
    batches: Batches,
    policy: PolicyNetwork,
    posterior: PosteriorNetwork,
    scorer: Callable[[Canvas], Denoised],
    processes: Processes,
) -> Step:
    """Updates with the denoiser at hand."""
    pieces = processes.pieces(config.rows, config.accumulate)

    def take(update: int) -> StageLoss:
        clean, draws = texts_of(update, config, batches, processes)
        return backward(
            pieces, clean, processes, scorer,
            lambda rows, fullness: stage_loss(update, rows, posterior, policy, scorer, draws, config, fullness),
        )  # fmt: skip

    return take


def texts_of(update: int, config: LearnConfig, batches: Batches, processes: Processes) -> tuple[Canvas, Draws]:
    """The texts of an update with their budgets, and its draws."""
    draws = Draws(config.seed * 1_000_003 + update)
    clean = batches.batch(update).canvas.to(processes.device)
    return draw_budgets(clean, config.budgets, draws), draws


def make_features(
    config: LearnConfig,
    identity: dict[str, Any],
    batches: Batches,
    policy: PolicyNetwork,
    scorer: Callable[[Canvas], Denoised],
    processes: Processes,
) -> None:
    """The one pass with the denoiser, if asked for and not made yet: paths of the policy before its first update."""
    if not config.features:
        return
    folder, credit = Path(config.features), Credit(config.likelihood, config.miss)
    names = ("task", "texts", "budgets", "rows", "samples", "likelihood", "miss", "seed", "precision")
    known = {name: getattr(config, name) for name in names}
    if config.texts == "own":
        known |= {"own_count": config.own_count, "own_sampler": config.own_sampler}
    held = processes.on_main(lambda: open_features(folder, known | identity, config.feature_batches)) or NotHeld()
    proposal, _ = new_learners(config, policy.config.denoiser_width, 1)  # not the one that a checkpoint put back
    proposal.to(processes.device)
    with held, Line("features", config.feature_batches) as line:
        for number in missing_shards(folder, config.feature_batches):
            held.check()
            clean, draws = texts_of(number, config, batches, processes)
            write_shard(folder, number, make_shard(clean, proposal, scorer, draws, config.samples, credit))
            line.show(number + 1, "batches walked")


def teaching(
    config: LearnConfig,
    folder: Path,
    batches: Batches,
    task: Task,
    denoiser: TextDenoiser,
    policy: PolicyNetwork,
    scorer: Callable[[Canvas], Denoised],
    processes: Processes,
    log: Log,
) -> Step:
    """The updates of the third stage, numbered as those of the whole run; prompts are none of an earlier stage."""
    before = config.updates - config.taught_updates

    def prompts(number: int) -> Prompts:
        clean, draws = texts_of(before + number, config, batches, processes)
        return Prompts(clean, batches.batch(before + number).examples, draws)

    teacher = make_sampler(config.teacher, denoiser.codec.end_tokens)
    step = taught_step(
        config, folder, prompts, task, denoiser.codec, policy, scorer, teacher,
        lambda update, words: log.show(before + update, words),
    )  # fmt: skip
    return lambda update: step(update - before)


def to_come(config: LearnConfig, done: int, lessons: Path) -> tuple[int, int]:
    """The batches that are still to be asked for: from the first to before the last."""
    before, walked = config.updates - config.taught_updates, config.taught_rounds * config.taught_batches
    if not config.taught_updates:
        return done, config.updates
    if done < before:
        return done, before + walked
    return before + next(missing_shards(lessons, walked), walked), before + walked


def features_step(config: LearnConfig, policy: PolicyNetwork, processes: Processes) -> Step | None:
    """Updates from features, the shards one after the other and over again, without the denoiser; None without any."""
    if not config.features:
        return None
    folder, credit = Path(config.features), Credit(config.likelihood, config.miss)

    def take(update: int) -> StageLoss:
        shard = on_device(read_shard(folder, update % config.feature_batches), processes.device)
        found = feature_bound(shard, policy, credit, config.price)
        loss = -found.bound.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        report = {
            "bound": found.bound.detach().mean().item(),
            "misses": found.misses.mean().item(),
            "steps": found.steps.float().mean().item(),
            "effective": effective_share(found),
        }
        return StageLoss(loss.detach(), report)

    return take


@lost_processes()
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

    Leaves `out/order`, `out/log.jsonl`, `out/checkpoint.safetensors`, and `out/denoiser` if that was trained along (by
    LoRA: merged, and `out/adapter` by itself); `out/lessons` is there while the third stage runs.
    identity: what else must agree for a resumed run to be the same, besides the settings, the denoiser and the data.
    A denoiser given in bfloat16 is not copied: its weights are held once, also while it validates.
    Started as several processes (`train/processes.py`) each takes a share of every batch; how many there are, and in
    how many pieces each takes its share (`accumulate`), may change between calls.
    Raises UserError on bad settings, or if the loss stops being finite (the last good checkpoint is kept).
    """
    with ExitStack() as held:
        return _learn(
            denoiser, config, out, held, overwrite, checkpoint_every, validate_every, validate, choose_rules,
            identity or {},
        )  # fmt: skip


def _learn(
    denoiser: TextDenoiser,
    config: LearnConfig,
    out: Path,
    held: ExitStack,
    overwrite: bool,
    checkpoint_every: int,
    validate_every: int,
    validate: Validate | None,
    choose_rules: ChooseRules | None,
    identity: dict[str, Any],
) -> LearnResult:
    """`learn`, which lets go of the folder however this ends."""
    check(config)
    processes = open_processes(config.device)
    config = replace(config, precision=resolve_precision(config.precision, config.device))
    task = make_task(config.task, config.data)
    batches = batches_of(task.examples("train"), denoiser, config)  # what is wrong shows before the folder is claimed
    trained = config.denoiser_update != "frozen"
    check_processes(config, processes)
    made_with = {"denoiser": denoiser_digest(denoiser), "examples": checksums(task, "train", "validation")}
    identity = made_with | identity
    network = denoiser.network.to(processes.device).eval()
    let_learn(network, config)
    policy, posterior = new_learners(config, denoiser.network.hidden_width, denoiser.codec.vocabulary)
    learners = nn.ModuleDict({"policy": policy, "posterior": posterior}).to(processes.device)
    optimizers = [Optimizers(learners, config.rate, 0.0, config.weight_decay)]
    if trained:
        learners["denoiser"] = network
        optimizers.append(Optimizers(network, config.denoiser_rate, 0.0, config.weight_decay))
    skip = ("device", "data", "accumulate", "workers", *unused(config))
    known = {key: value for key, value in asdict(config).items() if key not in skip}
    claim = held.enter_context(claim_run(processes, out, "learn", known | identity, overwrite))
    if config.texts == "own":
        texts = write_texts(denoiser, task, config, out / "texts.jsonl", processes)
        batches = batches_of(texts, denoiser, config)
    total, checkpoint = config.updates, out / "checkpoint.safetensors"
    done = resume(processes, checkpoint, learners, optimizers)
    spread, scorer = make_scorer(processes, network, config)
    make_features(config, identity, batches, policy, scorer, processes)
    log = open_log(processes, out / "log.jsonl", total, done, "learn")
    first = features_step(config, policy, processes)
    first = first or online_step(config, batches, policy, posterior, scorer, processes)
    last_stage = teaching(config, out / "lessons", batches, task, denoiser, policy, scorer, processes, log)
    batches.prefetch(*to_come(config, done, out / "lessons"), config.workers, claim.let_go)
    order = LearnedOrder(policy, {}, {})
    seen: dict[str, float] = {}
    try:
        for update in range(done, total):
            claim.check()
            learners.train()
            stage = first(update) if update < total - config.taught_updates else last_stage(update)
            processes.sum_gradients(learners.parameters())
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
                seen = processes.validating(spread, partial(validate, order, denoiser))
                log.write({"update": update + 1, **seen})
            if last or (update + 1) % checkpoint_every == 0:
                tensors, meta = state(learners, optimizers), {"update": update + 1}
                processes.on_main(partial(save_checkpoint, checkpoint, tensors, meta))
    finally:
        log.close()
    learners.eval()
    picked = processes.validating(spread, partial(as_json, choose_rules or no_rules, order, denoiser))
    rules, validation = {budget: DecodeRule.from_dict(rule) for budget, rule in picked["rules"]}, picked["validation"]
    card = {"learn": asdict(config), "made_with": made_with, "validation": validation}
    claim.check()
    finished = LearnedOrder(policy, rules, card)
    processes.on_main(lambda: save_order(finished, out / "order"))
    processes.on_main(lambda: forget_lessons(out / "lessons"))
    if config.denoiser_update == "lora":
        processes.on_main(lambda: save_factors(network, config.lora_rank, out / "adapter"))
        merge_factors(network)
    if trained:
        along = replace(denoiser, card=denoiser.card | {"trained along": asdict(config)})
        processes.on_main(lambda: save_denoiser(along, out / "denoiser"))
    return LearnResult(finished, out / "order", validation)


def no_rules(order: LearnedOrder, denoiser: TextDenoiser) -> tuple[dict[int, DecodeRule], dict[str, Any]]:
    """Nothing is chosen."""
    return {}, {}


def as_json(choose_rules: ChooseRules, order: LearnedOrder, denoiser: TextDenoiser) -> dict[str, Any]:
    """What `choose_rules` gives, in a form that one process can tell another."""
    rules, validation = choose_rules(order, denoiser)
    return {"rules": [[budget, rule.to_dict()] for budget, rule in rules.items()], "validation": validation}


def write_texts(
    denoiser: TextDenoiser, task: Task, config: LearnConfig, path: Path, processes: Processes
) -> list[Example]:
    """The denoiser's own texts, written at the precision it is learned with, under a progress line."""
    writer = replace(denoiser, network=in_precision(denoiser.network, config.precision))
    with Line("write texts", config.own_count) if processes.is_main else nullcontext() as line:
        return own_texts(
            writer, task, path, count=config.own_count, sampler=config.own_sampler, processes=processes,
            progress=lambda at: None if line is None else line.show(at.done, f"{at.right} right"),
        )  # fmt: skip


def state(learners: nn.Module, optimizers: Sequence[Optimizers]) -> dict[str, Tensor]:
    """Everything a checkpoint holds, by name; of a denoiser with factors beside its matrices only these."""
    tensors = {f"learners.{name}": value for name, value in learned(learners).items()}
    for number, optimizer in enumerate(optimizers):
        tensors |= {f"{number}.{name}": value for name, value in optimizer.tensors().items()}
    return tensors


def learned(learners: nn.Module) -> dict[str, Tensor]:
    """The weights of all that learns, by name."""
    weights = learners.state_dict()
    with_factors = any(map(is_factor, weights))
    return {
        name: value for name, value in weights.items()
        if not with_factors or is_factor(name) or not name.startswith("denoiser.")
    }  # fmt: skip


def resume(processes: Processes, checkpoint: Path, learners: nn.Module, optimizers: Sequence[Optimizers]) -> int:
    """Put back the last checkpoint, if there is one; the update it was made after, 0 without."""
    if (found := find_checkpoint(processes, checkpoint)) is None:
        return 0
    with restoring(checkpoint):
        restore(learners, optimizers, found.tensors)
        return read_progress(found.meta).update


def restore(learners: nn.Module, optimizers: Sequence[Optimizers], tensors: dict[str, Tensor]) -> None:
    """Put back what `state` took out."""
    weights = {name[9:]: value for name, value in tensors.items() if name.startswith("learners.")}
    if (wrong := learned(learners).keys() ^ weights.keys()) and any(map(is_factor, learned(learners))):
        raise KeyError(sorted(wrong)[0])
    learners.load_state_dict(weights, strict=not any(map(is_factor, weights)))
    for number, optimizer in enumerate(optimizers):
        prefix = f"{number}."
        optimizer.restore({name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)})

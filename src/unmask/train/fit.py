"""Fit a denoiser: mask, predict, repeat. The loop is `fit`; everything above it is preparation."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.denoisers.codec import Codec
from unmask.denoisers.digest import denoiser_digest
from unmask.denoisers.folder import ARCHITECTURES, TextDenoiser, save_denoiser
from unmask.denoisers.hub import load_denoiser
from unmask.denoisers.network import Network
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.objectives.denoising import denoising_loss, mask_for_denoising, stratified_times
from unmask.tasks import make_task
from unmask.tasks.base import Example, Task, checksums
from unmask.tasks.mixed import Part, mixed
from unmask.train.batches import Batch, Batches
from unmask.train.checkpoint import find_checkpoint, read_progress, restoring, save_checkpoint
from unmask.train.optimizers import Optimizers, clip_gradient, not_finite
from unmask.train.precision import resolve_precision
from unmask.train.processes import Piece, lost_processes, open_processes
from unmask.train.runs import claim_run, open_log
from unmask.train.schedule import trapezoid
from unmask.train.sharding import full_tensors, load_whole


@dataclass(frozen=True)
class FitConfig:
    """What a fit depends on. Same values, same seed, same machine: same weights to the last bit.

    mix: other tasks to train on as well, each as NAME=SHARE of the examples, for tasks that need no data.
    time_power: masking rates are u ** time_power, u uniform. 1 is the bound; above 1 lightly masked texts are seen
        more often, where a token is known from the others and so can be learned.
    new_head: with `init` of an encoder saved without its output head: begin one, drawn by `seed`.
    template: with `init`: how prompts are written, as in `load_denoiser`; its own unless given.
    precision: of the matrix products: `bf16`, `fp32`, or `auto` for bf16 where the hardware has it.
    workers: processes that make batches ahead, the same ones; 0 makes each when its turn comes.
    """

    task: str = "wordprob"
    data: str | None = None
    mix: tuple[str, ...] = ()
    time_power: float = 1.0
    updates: int = 16_000
    rows: int = 64
    rate: float = 2e-3
    muon_rate: float = 0.006
    weight_decay: float = 0.01
    warmup: int = 200
    decay: float = 0.3
    clip: float = 1.0
    seed: int = 0
    vocabulary: int = 1024
    layers: int = 6
    width: int = 128
    heads: int = 4
    hidden: int = 352
    response_length: int | None = None
    context: int = 160
    init: str | None = None
    new_head: bool = False
    ignore_extra: bool = False
    template: str | None = None
    precision: str = "auto"
    compile: bool = False
    workers: int = 0
    device: str = "cpu"


class FitResult(NamedTuple):
    """What `fit` leaves: the denoiser, where it stands on disk, and its last validation."""

    denoiser: TextDenoiser
    folder: Path
    validation: dict[str, float]


Validate = Callable[[TextDenoiser, Task], dict[str, float]]

CODEC_EXAMPLES = 20_000
# What a run may be called again with otherwise. A head is new at its first start alone: the checkpoint has it after.
# The template is part of the denoiser that a run begins with, and the digest of that is part of the identity.
NOT_IDENTITY = ("updates", "workers", "device", "data", "new_head", "ignore_extra", "template")


def make_codec(task: Task, vocabulary: int) -> Codec:
    """A tokenizer learned from the first training examples of a task."""
    train = task.examples("train")
    some = [train[index] for index in range(min(CODEC_EXAMPLES, len(train)))]
    return Codec.train((text for example in some for text in (example.prompt + " ->", example.response)), vocabulary)


def training_examples(task: Task, mix: Sequence[str]) -> Sequence[Example]:
    """The training split, with the shares of other tasks that `mix` asks for (`arithmetic=0.4`)."""
    parts = []
    for item in mix:
        name, _, share = item.partition("=")
        try:
            parts.append(Part(make_task(name).examples("train"), float(share)))
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"cannot read `{item}`: write a mixture as NAME=SHARE, e.g. arithmetic=0.4") from error
    rest = 1.0 - sum(part.share for part in parts)
    return mixed([Part(task.examples("train"), rest), *parts]) if parts else task.examples("train")


def response_tokens(codec: Codec, task: Task) -> int:
    """Enough for the longest of the first training responses with what ends it, rounded up to a multiple of 8."""
    train = task.examples("train")
    some = (train[index].response for index in range(min(CODEC_EXAMPLES, len(train))))
    longest = max((len(codec.encode(response, codec.special)) for response in some), default=1)
    return -(-(longest + max(1, len(codec.turn_end))) // 8) * 8


def start(config: FitConfig, task: Task) -> TextDenoiser:
    """The denoiser before the first update: random weights, or those of `config.init`."""
    if config.init:
        new_head = config.seed if config.new_head else None
        found = load_denoiser(
            config.init,
            dtype=torch.float32,
            new_head=new_head,
            ignore_extra=config.ignore_extra,
            template=config.template,
        )
        length = config.response_length or response_tokens(found.codec, task)
        network = found.network
        if isinstance(network, Transformer):  # rotary positions are a limit it was fitted within, not a table
            network.config = replace(network.config, context=max(network.config.context, config.context))
        return replace(found, response_length=length)
    if config.new_head:
        raise UserError("a new output head goes on a denoiser that has none; name it with --init")
    if config.template is not None:
        raise UserError("a template is chosen for a denoiser to go on from; name that with --init")
    codec = make_codec(task, config.vocabulary)
    shape = TransformerConfig(
        vocabulary=codec.vocabulary,
        mask_token=codec.mask_token,
        context=config.context,
        layers=config.layers,
        width=config.width,
        heads=config.heads,
        hidden=config.hidden,
    )
    with torch.random.fork_rng(devices=[]):  # building a module draws weights that `initialise` writes over
        network = Transformer(shape).initialise(torch.Generator().manual_seed(config.seed))
    return TextDenoiser(network, codec, config.response_length or response_tokens(codec, task), {})


WHOLE_BATCH = Piece(None, 1.0)


def update_loss(
    network: Callable[[Canvas], Any], batch: Batch, draws: Draws, time_power: float = 1.0, piece: Piece = WHOLE_BATCH
) -> Tensor:
    """Masked-denoising loss of one batch, or what a piece of it adds to that.

    Times are stratified over the whole batch, draws keyed by the examples, so that pieces add up to the whole.
    """
    clean = batch.canvas
    times = stratified_times(len(clean.row), draws.row_uniform(clean, "time")[0]) ** time_power
    times = times[torch.argsort(draws.row_uniform(clean, "stratum"))]  # rows are sorted by length, times must not be
    if piece.rows is not None:
        rows = piece.rows.to(clean.row.device)
        clean, times = clean.take(rows), times[rows]
    canvas = mask_for_denoising(clean, times, draws.uniform(clean, "mask"))
    return denoising_loss(network(canvas), clean, times).loss * piece.share


def autocast(config: FitConfig) -> AbstractContextManager[object]:
    """bfloat16 matrix products if asked for."""
    if config.precision == "bf16":
        return torch.autocast(torch.device(config.device).type, dtype=torch.bfloat16)
    return nullcontext()


@lost_processes()
def fit(
    config: FitConfig,
    out: Path,
    *,
    overwrite: bool = False,
    checkpoint_every: int = 200,
    validate_every: int = 2_000,
    validate: Validate | None = None,
) -> FitResult:
    """Fit a denoiser for a task; killed and called again with the same arguments it goes on where it was.

    Started as several processes (`train/processes.py`) each takes a share of every batch; how many there are may change
    between calls.

    Leaves `out/denoiser` (the folder format), `out/log.jsonl` and `out/checkpoint.safetensors`. The number of
    updates may be raised or lowered between calls while the run is on its plateau.
    Raises UserError on bad settings, or if the loss stops being finite (the last good checkpoint is kept).
    """
    with ExitStack() as held:
        return _fit(config, out, held, overwrite, checkpoint_every, validate_every, validate)


def _fit(
    config: FitConfig,
    out: Path,
    held: ExitStack,
    overwrite: bool,
    checkpoint_every: int,
    validate_every: int,
    validate: Validate | None,
) -> FitResult:
    """`fit`, which lets go of the folder however this ends."""
    if config.updates < 1 or config.rows < 1:
        raise UserError(f"updates and rows must be at least 1, got {config.updates} and {config.rows}")
    processes = open_processes(config.device)
    config = replace(config, precision=resolve_precision(config.precision, config.device))
    if config.compile and processes.sharded:
        raise UserError("a compiled network cannot be sharded; pass --no-compile, or use DDP instead of FSDP")
    task = make_task(config.task, config.data)
    examples = training_examples(task, config.mix)  # what is wrong with the mixture shows before a tokenizer is learned
    denoiser = start(config, task)
    identity = {key: value for key, value in asdict(config).items() if key not in NOT_IDENTITY}
    identity |= {"examples": checksums(task, "train", "validation")}  # the same path may hold other data by now
    identity |= {"init_weights": denoiser_digest(denoiser) if config.init else None}
    network = denoiser.network.to(processes.device)
    batches = Batches(
        examples, denoiser.codec, config.rows, denoiser.response_length,
        denoiser.context, config.seed, pad_to=16 if config.compile else 8,
    )  # fmt: skip
    batches.batch(0)  # what is wrong with the data shows here, before the folder is claimed
    prepared = processes.prepare(network)
    optimizers = Optimizers(network, config.rate, config.muon_rate, config.weight_decay)
    claim = held.enter_context(claim_run(processes, out, "fit", identity, overwrite))
    done, checkpoint = 0, out / "checkpoint.safetensors"
    validation: dict[str, float] = {}
    if (found := find_checkpoint(processes, checkpoint)) is not None:
        tensors, meta = found
        weights = {name[8:]: value for name, value in tensors.items() if name.startswith("network.")}
        with restoring(checkpoint):
            load_whole(network, weights)
            optimizers.restore(tensors)
            progress = read_progress(meta)
            done, validation = progress.update, progress.validation or {}
    trunk = network.trunk
    fast_trunk = torch.compile(trunk, dynamic=False) if config.compile else trunk
    draws = Draws(config.seed)
    pieces = processes.pieces(config.rows)
    batches.prefetch(done, config.updates, config.workers, claim.let_go)
    log = open_log(processes, out / "log.jsonl", config.updates, done, "fit")

    def save(update: int) -> None:
        weights = {f"network.{name}": value for name, value in full_tensors(network.state_dict()).items()}
        tensors = weights | optimizers.tensors()
        processes.on_main(
            lambda: save_checkpoint(checkpoint, tensors, {"update": update, "validation": validation})
        )

    try:
        for update in range(done, config.updates):
            claim.check()
            network.train()
            network.trunk = fast_trunk
            batch = batches.batch(update)
            here = Batch(batch.canvas.to(processes.device), batch.examples)
            loss = torch.zeros((), device=processes.device)
            for number, piece in enumerate(pieces, start=1):
                with nullcontext() if number == len(pieces) else prepared.holding():
                    with autocast(config), attention_kernel(config):
                        work = partial(update_loss, network, here, draws, config.time_power, piece)
                        part = prepared(work)
                    (part * prepared.scale).backward()  # type: ignore[no-untyped-call]
                loss = loss + part.detach()
            loss = processes.total(loss)
            norm = clip_gradient(network.parameters(), config.clip)
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                raise not_finite(update + 1, loss, norm, checkpoint, config.rate)
            optimizers.step(trapezoid(update, config.updates, config.warmup, config.decay))
            if update % 20 == 0:
                log.write({"update": update + 1, "loss": loss.item(), "norm": norm.item()})
            log.show(update + 1, f"loss {loss.item():.4f}" + shown(validation))
            last = update + 1 == config.updates
            if validate is not None and (last or (update + 1) % validate_every == 0):
                network.eval()
                network.trunk = trunk  # decoding has too many shapes to compile for
                validation = processes.validating(prepared, partial(validate, denoiser, task))
                log.write({"update": update + 1, **validation})
            if last or (update + 1) % checkpoint_every == 0:
                save(update + 1)
    finally:
        log.close()
    claim.check()
    network.trunk = trunk
    network.eval()
    if processes.sharded:
        network = put_together(network)
    card = {"fit": asdict(config), "validation": validation}
    finished = replace(denoiser, network=network, card=card)
    processes.on_main(lambda: save_denoiser(finished, out / "denoiser"))
    return FitResult(finished, out / "denoiser", validation)


def put_together(network: Network) -> Network:
    """A whole network, on the CPU, from one whose weights are spread over the processes."""
    kinds = type(network).__mro__  # sharding puts a class of its own in front
    plain = next(kind.network for kind in ARCHITECTURES.values() if kind.network in kinds)
    whole: Network = plain(network.config)
    whole.load_state_dict(full_tensors(network.state_dict()))
    return whole.eval()


def attention_kernel(config: FitConfig) -> AbstractContextManager[object]:
    """On a CPU the plain product is faster to train through than the fused kernel; elsewhere torch chooses."""
    return sdpa_kernel(SDPBackend.MATH) if config.device == "cpu" else nullcontext()


def shown(numbers: dict[str, float]) -> str:
    """` name 0.12` for the progress line."""
    return "".join(f"  {name} {value:.3f}" for name, value in numbers.items())

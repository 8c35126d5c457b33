"""Features on disk: walk paths with the denoiser once, keep what an order network reads on them, then learn without it.

The paths are drawn from the tilted law r_0 of the policy as it was then (equation 6c). Any other policy p is judged on
them by importance weights: with Z and r its own normalisers and tilted law, w = Z(path) r(path) / r_0(path) has the
mean E_p[credit] for every p, so log mean_k w_k is a lower bound on log E_p[credit], what learning on line maximises,
and is differentiable as it stands (decision 009).
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.errors import UserError
from unmask.core.files import read_json, write_json
from unmask.core.holding import LOCK, Held, hold
from unmask.core.order import Order
from unmask.core.temporary import sweep
from unmask.core.typed import brief
from unmask.denoisers.base import Denoised, Denoiser, Statistics
from unmask.objectives import Credit, log_mean_exp, tilted_paths
from unmask.reveals.base import OrderPolicy
from unmask.train.shards import check_canvas, check_seen, check_tensor, reading_shard, shard_path, write_shard_file

FORMAT, VERSION = "unmask-features", 1
HEADER = "features.json"


@dataclass(frozen=True)
class Kept:
    """What stays of a `Denoised`: all that order networks read, and how the clean tokens are seen; no vocabulary.

    hidden is bfloat16, log_probs is of the clean tokens; None where nobody will ask.
    """

    where: Tensor
    shape: tuple[int, int]
    hidden: Tensor | None
    top2: Tensor
    top2_tokens: Tensor
    entropy: Tensor
    log_probs: Tensor | None

    def statistics(self, entropy: bool = False) -> Statistics:
        """As `Denoised.statistics`; the entropy is among them anyway."""
        return Statistics(self.top2, self.top2_tokens, self.entropy)

    def log_prob(self, tokens: Tensor) -> Tensor:
        """[M]: of the clean tokens, which are the only ones that can be asked for."""
        return cast(Tensor, self.log_probs)

    def to_rows(self, values: Tensor, fill: float) -> Tensor:
        """As `Denoised.to_rows`."""
        return Denoised.to_rows(cast(Denoised, self), values, fill)

    def from_rows(self, values: Tensor) -> Tensor:
        """As `Denoised.from_rows`."""
        return Denoised.from_rows(cast(Denoised, self), values)


FIELDS = ("hidden", "top2", "top2_tokens", "entropy", "log_probs")
CANVAS = ("tokens", "masked", "valid", "step", "budget", "row")


def keep(said: Denoised, tokens: Tensor | None = None) -> Kept:
    """What stays of `said`, where it is; `tokens` (long [B, L]) are those whose probability will be asked for."""
    hidden = None if said.hidden is None else said.hidden.bfloat16()
    log_probs = None if tokens is None else said.log_prob(said.from_rows(tokens)).float()
    return Kept(said.where, said.shape, hidden, *said.statistics(entropy=True), log_probs)


def kept_of(kept: Kept) -> dict[str, Tensor]:
    """Its tensors by name, on the CPU."""
    found = {name: getattr(kept, name) for name in FIELDS}
    return {name: value.cpu() for name, value in found.items() if value is not None}


class Recorder:
    """A denoiser that keeps what it said, on the CPU, and how the tokens that stand on the canvas are seen."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser
        self.calls: list[dict[str, Tensor]] = []

    @torch.no_grad()
    def __call__(self, canvas: Canvas) -> Denoised:
        kept = keep(self.denoiser(canvas), canvas.tokens)
        self.calls.append(kept_of(kept))
        return cast(Denoised, kept)


class Player:
    """Says again, call by call, what a recorder kept; the canvases must be the same ones."""

    def __init__(self, calls: list[dict[str, Tensor]]) -> None:
        self.calls = iter(calls)

    def __call__(self, canvas: Canvas) -> Denoised:
        found = next(self.calls)
        where = canvas.masked.nonzero()
        assert len(where) == len(found["top2"]), "another path than the one that was kept"
        device = where.device
        shape = (canvas.masked.shape[0], canvas.masked.shape[1])
        values = {name: found[name].to(device) if name in found else None for name in FIELDS}
        return cast(Denoised, Kept(where, shape, **values))  # type: ignore[arg-type]


class Shard(NamedTuple):
    """One batch. clean: its texts. steps: long [B * K, L], the paths. log_drawn: [B, K], log r_0 of each.

    calls: what the denoiser said, step by step.
    """

    clean: Canvas
    steps: Tensor
    log_drawn: Tensor
    calls: list[dict[str, Tensor]]


def make_shard(
    clean: Canvas, policy: OrderPolicy, denoiser: Denoiser, draws: Draws, samples: int, credit: Credit
) -> Shard:
    """Walk K = `samples` tilted paths of each text, keeping what is seen on the way."""
    recorder = Recorder(denoiser)
    with torch.no_grad():
        paths = tilted_paths(clean, policy, recorder, draws=draws, samples=samples, credit=credit, with_entropy=False)
    return Shard(clean.to("cpu"), paths.order.steps.cpu(), paths.log_drawn.cpu(), recorder.calls)


class FeatureBound(NamedTuple):
    """bound: [B], log mean_k w_k, steps paid for; to maximise. effective: [B], paths that still count, from 1 to K.

    steps, misses: [B, K], of the paths, weights or no weights.
    """

    bound: Tensor
    effective: Tensor
    steps: Tensor
    misses: Tensor


def feature_bound(shard: Shard, policy: OrderPolicy, credit: Credit, price: float) -> FeatureBound:
    """The multi-sample bound of any policy on the paths of a shard, differentiable in the policy."""
    samples = shard.log_drawn.shape[1]
    paths = tilted_paths(
        shard.clean, policy, Player(shard.calls), draws=Draws(0), samples=samples, credit=credit,
        order=Order(shard.steps), with_entropy=False,
    )  # fmt: skip
    ratio = paths.log_drawn - shard.log_drawn
    steps = Order(shard.steps).num_steps.view_as(ratio)
    share = ratio.detach().softmax(dim=-1)
    effective = 1 / share.square().sum(dim=-1)
    bound = log_mean_exp(paths.log_weight - price * (steps - 1) + ratio)
    return FeatureBound(bound, effective, steps, paths.misses)


# ---- on disk


def open_features(folder: Path, identity: dict[str, Any], shards: int) -> Held:
    """Begin a folder of features, or recognise it. Raises UserError if it is of another denoiser, task or setting.

    identity: what must agree, such as digests of the denoiser and of the texts.
    As long as what is returned stays open no other process makes features there.
    """
    asked = json.loads(json.dumps({"format": FORMAT, "version": VERSION, "identity": identity, "shards": shards}))
    path = folder / HEADER
    _check_free(folder)
    held = hold(folder)
    try:
        _check_free(folder)
        sweep(folder, HEADER, "shard-*.safetensors")
        if path.exists():
            _check_same(folder, read_json(path), asked)
        else:
            write_json(path, asked)
        return held
    except BaseException:
        held.close()
        raise


def _check_free(folder: Path) -> None:
    if folder.exists() and not (folder / HEADER).exists():
        ours = (LOCK, f".{HEADER}.")
        if not folder.is_dir() or any(not each.name.startswith(ours) for each in folder.iterdir()):
            raise UserError(f"{folder} is not empty and holds no features; choose another folder for them")


def _check_same(folder: Path, known: dict[str, Any], asked: dict[str, Any]) -> None:
    if known.get("format") != FORMAT or known.get("version") != VERSION:
        raise UserError(f"{folder / HEADER} is not of features of this version of unmask; choose another folder")
    identity = known.get("identity")
    here = {**asked["identity"], "shards": asked["shards"]}
    there = {**(identity if isinstance(identity, dict) else {}), "shards": known.get("shards")}
    wrong = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    if wrong:
        told = ", ".join(f"{name} {brief(there.get(name))} there, {here.get(name)!r} here" for name in wrong)
        raise UserError(f"the features in {folder} are of another run ({told}); choose another folder for them")


def write_shard(folder: Path, number: int, shard: Shard) -> None:
    """Write one shard in one go."""
    tensors = {f"clean.{name}": getattr(shard.clean, name) for name in CANVAS}
    tensors |= {"steps": shard.steps, "log_drawn": shard.log_drawn}
    for call, found in enumerate(shard.calls):
        tensors |= {f"{call}.{name}": value for name, value in found.items()}
    sizes = {"calls": len(shard.calls), "rows": len(shard.clean.row)}
    write_shard_file(shard_path(folder, number), tensors, header(number) | sizes)


def read_shard(folder: Path, number: int) -> Shard:
    """Read one shard. Raises UserError naming the file if it is missing, damaged or not what it should be."""
    with reading_shard(shard_path(folder, number), header(number)) as (tensors, meta):
        clean = check_canvas(Canvas(*(tensors[f"clean.{name}"] for name in CANVAS)))
        calls = [
            {name: tensors[f"{call}.{name}"] for name in FIELDS if f"{call}.{name}" in tensors}
            for call in range(min(meta["calls"], len(tensors)))
        ]
        if len(clean.row) != meta["rows"]:
            raise ValueError(f"{len(clean.row)} rows instead of {brief(meta['rows'])}")
        log_drawn = check_tensor(tensors["log_drawn"], "log_drawn", "float", len(clean.row), None)
        steps = check_tensor(tensors["steps"], "steps", "long", log_drawn.numel(), clean.tokens.shape[1])
        for call in calls:
            check_seen(call, len(call["top2"]))
        return Shard(clean, steps, log_drawn, calls)


def header(number: int) -> dict[str, Any]:
    """What every shard says of itself."""
    return {"format": FORMAT, "version": VERSION, "number": number}


def on_device(shard: Shard, device: str) -> Shard:
    """The same shard where the policy is; the features of a step follow when it comes to it."""
    return shard._replace(
        clean=shard.clean.to(device), steps=shard.steps.to(device), log_drawn=shard.log_drawn.to(device)
    )


def effective_share(found: FeatureBound) -> float:
    """The share of the paths that still count, from 1 / K to 1: how far the policy has left the one that drew them."""
    share = float(found.effective.mean()) / found.steps.shape[1]
    return share if math.isfinite(share) else 0.0

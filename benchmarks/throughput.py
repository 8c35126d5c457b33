"""How fast fit and learn are on a device, as a ratio to the CPU measured in the same run.

    PYTHONPATH=src python3 benchmarks/throughput.py --quick --device cpu
    PYTHONPATH=src python3 benchmarks/throughput.py --device cuda --size 8x384 --rows 64 256 1024 --out large.json

What runs is what `unmask fit` and `unmask learn` run for an update: loss, gradient, clipping, optimizer step, and the
numbers they log, which wait for the device. Texts are random tokens, so neither data nor weights are needed.

    fit     tokens/s of the masked-denoising loss; every position of prompt and response counts
    bound   paths/s of the first stage: orders drawn from the posterior (equation 6)
    policy  paths/s of the second stage: paths walked by the policy, one denoiser pass per step (equation 6b)
    data    examples/s that one CPU core makes, tokenizes and packs: above that rate, fit waits for its data

After warm-up every case is measured in turn, and the whole turn again `--rounds` times, so that a machine that slows
down slows everything down. Reported: the median over updates with quartiles, and for each case of the device its
ratio to the fastest CPU case of the same kind, per token or path. JSON goes to stdout and to --out.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import torch
from torch import nn

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.files import write_text
from unmask.denoisers.codec import Codec
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.evaluate.records import provenance
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.orders.posterior import PosteriorConfig, PosteriorNetwork
from unmask.tasks import make_task
from unmask.train.batches import Batch, Batches
from unmask.train.fit import FitConfig, attention_kernel, autocast, update_loss
from unmask.train.learn import bound_loss, frozen_scorer, policy_loss
from unmask.train.learn_config import LearnConfig
from unmask.train.optimizers import Optimizers, clip_gradient

KINDS = ("fit", "bound", "policy")
PRECISIONS = {"bfloat16": "bf16", "float32": "fp32"}
MASK = 2  # id of the mask token, as in every codec trained here


class Case(NamedTuple):
    """One thing to time. kind: of KINDS. rows: examples per update. dtype: of the matrix products."""

    kind: str
    device: str
    dtype: str
    rows: int


class Shape(NamedTuple):
    """What every case of a run shares. samples and budget concern the two stages of learn."""

    layers: int
    width: int
    vocabulary: int
    prompt: int
    response: int
    samples: int
    budget: int
    compile: bool


def network_of(shape: Shape) -> TransformerConfig:
    """Heads of 64 (at least 4 of them) and a feed-forward of 2.75 widths: 6x128 is the bundled denoiser's shape."""
    return TransformerConfig(
        vocabulary=shape.vocabulary,
        mask_token=MASK,
        context=shape.prompt + shape.response,
        layers=shape.layers,
        width=shape.width,
        heads=max(4, shape.width // 64),
        hidden=round(2.75 * shape.width / 32) * 32,
    )


def clean_canvas(shape: Shape, rows: int) -> Canvas:
    """Random texts of equal length, the response maskable."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(MASK + 1, shape.vocabulary, (rows, shape.prompt + shape.response), generator=generator)
    masked = torch.arange(tokens.shape[1]).expand(tokens.shape) >= shape.prompt
    return Canvas.make(tokens, masked, shape.budget)


def make_update(case: Case, shape: Shape) -> Callable[[int], object]:
    """`update(number)`: one whole update of this case, number deciding its draws."""
    generator = torch.Generator().manual_seed(0)
    network = Transformer(network_of(shape)).initialise(generator).to(case.device)
    clean = clean_canvas(shape, case.rows).to(case.device)
    precision = PRECISIONS[case.dtype]
    if case.kind == "fit":
        return fit_update(network, clean, FitConfig(precision=precision, device=case.device), shape)
    config = LearnConfig(precision=precision, device=case.device, samples=shape.samples, budgets=(shape.budget,))
    policy_shape = PolicyConfig(shape.width, config.width, config.layers, codes=config.codes)
    policy = PolicyNetwork(policy_shape).initialise(generator)
    posterior = PosteriorNetwork(PosteriorConfig(shape.vocabulary, config.width)).initialise(generator)
    learners = nn.ModuleDict({"policy": policy, "posterior": posterior}).to(case.device)
    scorer = frozen_scorer(network.requires_grad_(False).eval(), precision)
    optimizer = Optimizers(learners, config.rate, 0.0, config.weight_decay)

    def update(number: int) -> object:
        if case.kind == "bound":
            stage = bound_loss(clean, posterior, policy, scorer, Draws(number), config, 0.5)
        else:
            stage = policy_loss(clean, policy, scorer, Draws(number), config, 0.5)
        stage.loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_gradient(learners.parameters(), config.clip)
        optimizer.step(0.1)
        return stage.report, norm.item()

    return update


def fit_update(network: Transformer, clean: Canvas, config: FitConfig, shape: Shape) -> Callable[[int], object]:
    """One update as in the loop of `train.fit.fit`."""
    optimizer = Optimizers(network, config.rate, config.muon_rate, config.weight_decay)
    if shape.compile:
        network.trunk = torch.compile(network.trunk, dynamic=False)  # type: ignore[method-assign]

    def update(number: int) -> object:
        with autocast(config), attention_kernel(config):
            loss = update_loss(network, Batch(clean, []), Draws(number))
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_gradient(network.parameters(), config.clip)
        optimizer.step(0.1)
        return loss.item(), norm.item()

    return update


def time_updates(update: Callable[[int], object], device: str, seconds: float, least: int, first: int) -> list[float]:
    """Seconds of each update, for `seconds` in all and at least `least` updates."""
    on_gpu = device.startswith("cuda")
    taken: list[float] = []
    while len(taken) < least or sum(taken) < seconds:
        began = time.perf_counter()
        update(first + len(taken))
        if on_gpu:
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
    return taken


def measure(cases: list[Case], shape: Shape, *, seconds: float, rounds: int, warmup: int) -> list[dict[str, Any]]:
    """A record per case: median seconds of an update, quartiles, and how much that is per second."""
    taken: dict[Case, list[float]] = {case: [] for case in cases}
    peak: dict[Case, float] = {}
    failed: dict[Case, str] = {}
    for turn in range(rounds):
        for case in cases:
            if case in failed:
                continue
            with torch.cuda.device(case.device) if case.device.startswith("cuda") else nullcontext():
                try:
                    update = make_update(case, shape)
                    time_updates(update, case.device, 0.0, warmup, first=0)
                    if case.device.startswith("cuda"):
                        torch.cuda.reset_peak_memory_stats()
                    taken[case] += time_updates(update, case.device, seconds, 2, first=warmup)
                except torch.OutOfMemoryError:
                    failed[case] = "out of memory"
                if case.device.startswith("cuda"):
                    peak[case] = torch.cuda.max_memory_allocated() / 2**30
                    torch.cuda.empty_cache()
            middle = f"{1000 * median(taken[case]):.1f} ms" if taken[case] else failed[case]
            say(f"round {turn + 1}/{rounds}  {case.kind:6} {case.device} {case.dtype} rows {case.rows}: {middle}")
    found = [record(case, shape, taken[case], failed.get(case), peak.get(case)) for case in cases]
    return [entry | {"ratio_to_cpu": ratio(entry, found)} for entry in found]


def record(case: Case, shape: Shape, taken: list[float], failed: str | None, peak: float | None) -> dict[str, Any]:
    """What is kept of one case."""
    each = shape.prompt + shape.response if case.kind == "fit" else shape.samples
    unit = "tokens_per_second" if case.kind == "fit" else "paths_per_second"
    entry: dict[str, Any] = {**case._asdict(), "updates": len(taken), "unit": unit}
    if failed is not None or not taken:
        return entry | {"failed": failed or "not run", "per_second": None}
    quarter, middle, three_quarters = quantiles(taken, n=4, method="inclusive")
    return entry | {
        "update_seconds": middle,
        "update_seconds_quartiles": [quarter, three_quarters],
        "per_second": case.rows * each / middle,
        "peak_gib": peak,
    }


def ratio(entry: dict[str, Any], found: list[dict[str, Any]]) -> float | None:
    """How many times as fast as the fastest CPU case of the same kind; None on the CPU itself."""
    rivals = [
        other["per_second"]
        for other in found
        if other["kind"] == entry["kind"] and other["device"] == "cpu" and other["per_second"] is not None
    ]
    if entry["device"] == "cpu" or entry["per_second"] is None or not rivals:
        return None
    return float(entry["per_second"] / max(rivals))


def data_rate(rows: int, pools: int) -> dict[str, Any]:
    """Examples of `wordprob` one core makes ready per second: generated, tokenized, sorted and packed."""
    task = make_task("wordprob")
    train = task.examples("train")
    some = [train[index] for index in range(2_000)]
    codec = Codec.train((text for item in some for text in (item.prompt + " ->", item.response)), 1024)
    batches = Batches(train, codec, rows, 48, 160, 0)
    batches.batch(0)  # caches of the tokenizer fill here
    began = time.perf_counter()
    for pool in range(1, pools + 1):
        batches.batch(pool * batches.pool)
    made = rows * batches.pool * pools
    return {"rows": rows, "examples_per_second": made / (time.perf_counter() - began)}


def say(text: str) -> None:
    """Tell the person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def plan(device: str, rows: list[int], dtypes: list[str], cpu_rows: int) -> list[Case]:
    """The CPU at one number of rows in every dtype, then the device at all of them."""
    cpu = [Case(kind, "cpu", dtype, cpu_rows) for kind in KINDS for dtype in dtypes]
    if device == "cpu":
        return [*cpu, *(Case(k, "cpu", dtypes[0], n) for k in KINDS for n in rows if n != cpu_rows)]
    return [*cpu, *(Case(kind, device, dtype, n) for kind in KINDS for dtype in dtypes for n in rows)]


def read_size(text: str) -> tuple[int, int]:
    """`8x384` as (8, 384)."""
    layers, _, width = text.partition("x")
    try:
        return int(layers), int(width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected LAYERSxWIDTH such as 8x384, got `{text}`") from None


def arguments() -> argparse.Namespace:
    """The command line. Plain argparse: this file has to run where only torch and the package's core are."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=read_size, default=(6, 128), metavar="LAYERSxWIDTH", help="default 6x128")
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 64, 256, 1024], help="examples per update")
    parser.add_argument("--cpu-rows", type=int, default=16, help="examples per update on the CPU, default 16")
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"], choices=list(PRECISIONS))
    parser.add_argument("--vocabulary", type=int, default=1024)
    parser.add_argument("--prompt", type=int, default=56, help="positions of the prompt, default 56")
    parser.add_argument("--response", type=int, default=48, help="positions of the response, default 48")
    parser.add_argument("--samples", type=int, default=8, help="paths per example, default 8")
    parser.add_argument("--budget", type=int, default=4, help="most steps of a path, default 4")
    parser.add_argument("--seconds", type=float, default=2.0, help="per case and round, default 2")
    parser.add_argument("--rounds", type=int, default=2, help="times the whole plan is gone through, default 2")
    parser.add_argument("--warmup", type=int, default=3, help="updates thrown away first, default 3")
    parser.add_argument("--compile", action="store_true", help="compile the network of fit, as `unmask fit --compile`")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice unless given")
    parser.add_argument("--quick", action="store_true", help="a tiny network for a few seconds: shows that it runs")
    parser.add_argument("--out", type=Path, help="file the JSON is also written to")
    return parser.parse_args()


def main() -> None:
    """Measure, and write one JSON object."""
    given = arguments()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    layers, width = given.size
    shape = Shape(
        layers, width, given.vocabulary, given.prompt, given.response, given.samples, given.budget, given.compile
    )
    rows, cpu_rows, seconds, rounds, warmup = given.rows, given.cpu_rows, given.seconds, given.rounds, given.warmup
    if given.quick:
        shape = small(shape)
        rows, cpu_rows, seconds, rounds, warmup = [2, 4], 2, 0.05, 1, 1
    cases = plan(given.device, rows, given.dtypes, cpu_rows)
    result = {
        **provenance(given.device),
        "quick": given.quick,
        "shape": shape._asdict(),
        "parameters": sum(value.numel() for value in Transformer(network_of(shape)).parameters()),
        "cpu_cores": os.cpu_count(),
        "float32_matmul": torch.get_float32_matmul_precision(),
        "data": data_rate(rows[-1], 1 if given.quick else 3),
        "cases": measure(cases, shape, seconds=seconds, rounds=rounds, warmup=warmup),
    }
    result["commit"] = result["commit"] or os.environ.get("COMMIT")
    text = json.dumps(result, indent=2)
    if given.out is not None:
        write_text(given.out, text + "\n")
    print(text)


def small(shape: Shape) -> Shape:
    """The same, small enough for a test."""
    return shape._replace(layers=1, width=32, vocabulary=64, prompt=8, response=8, samples=2, budget=2)


if __name__ == "__main__":
    main()

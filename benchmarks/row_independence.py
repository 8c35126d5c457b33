"""Does a row become the same text alone and in a batch of 64, for every sampler?

    PYTHONPATH=src python3 benchmarks/row_independence.py --problems 256 --out docs/records/row-independence
    PYTHONPATH=src python3 benchmarks/row_independence.py --dtype bfloat16 float32 --exact false true --out runs/dtypes

Everything random is a hash of what it is for, so in exact arithmetic every text is the same. In floating point the
rounding of a product may depend on the shape of the batch, and may turn a near tie. This counts how often that changes
a text of the bundled denoiser, on problems of wordprob's validation split, and names each row where it does; with
`--exact true` the batch is decoded with `decode(..., exact=True)`, where it must never happen, and timed in turns with
the same batch decoded together. `float32-from-bfloat16` computes in float32 with weights rounded to bfloat16.
"""

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from decode_speed import ratio, take_turns

from unmask import load_denoiser
from unmask.core.files import write_json
from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.problems import first_problems
from unmask.evaluate.records import provenance
from unmask.orders.folder import LearnedOrder, load_order
from unmask.samplers import SAMPLERS
from unmask.samplers.generate import Generation, decode
from unmask.tasks import make_task
from unmask.train.precision import DTYPES

BATCH = 64
ROUNDED = "float32-from-bfloat16"
# An option that changes what is computed, beside each sampler's defaults.
VARIANTS = ("entropy:alg_temp=0.5", "remdm:conf=true", "top-prob:block=16,eot=tail", "top-prob:exit=prophet")


class Texts(NamedTuple):
    """prompts and rows: the problems and their places in the split."""

    prompts: list[str]
    rows: list[int]


def compare(
    denoiser: TextDenoiser,
    texts: Texts,
    sampler: str,
    budget: int,
    order: LearnedOrder | None,
    exact: bool,
    repeats: int,
) -> dict[str, Any]:
    """Batch 1 against batch `BATCH`: the share of identical texts, each row that differs, and wall time.

    With `exact` also how many times as long it takes, in `repeats` turns.
    """

    def run(prompts: list[str], rows: list[int], exact: bool = exact) -> list[Generation]:
        unmasker = order if order is not None and sampler == "learned" else sampler
        return decode(denoiser, prompts, sampler=unmasker, budget=budget, batch=BATCH, rows=rows, exact=exact)

    began = time.monotonic()
    alone = [run([prompt], [row])[0] for prompt, row in zip(texts.prompts, texts.rows, strict=True)]
    middle, together = time.monotonic(), run(texts.prompts, texts.rows)
    differing = [
        {"row": row, "alone": one.text, "together": other.text, "nfe": [one.nfe, other.nfe]}
        for row, one, other in zip(texts.rows, alone, together, strict=True)
        if one.tokens != other.tokens
    ]
    cell = {
        "identical": 1 - len(differing) / len(texts.rows),
        "same_log_prob": sum(one.log_prob == other.log_prob for one, other in zip(alone, together, strict=True))
        / len(texts.rows),
        "differing": differing,
        "seconds_together": time.monotonic() - middle,
        "seconds_alone": middle - began,
    }
    if exact and repeats:
        cases = {
            name: lambda exact=exact: run(texts.prompts, texts.rows, exact)
            for name, exact in {"exact": True, "plain": False}.items()
        }
        taken = take_turns(cases, repeats)
        cell["times_as_long"] = ratio(taken["exact"], taken["plain"])
    return cell


def load(dtype: str, device: str) -> TextDenoiser:
    """The bundled denoiser, computing in `dtype`."""
    denoiser = load_denoiser("wordprob", device=device, dtype=DTYPES["bfloat16" if dtype == ROUNDED else dtype])
    if dtype == ROUNDED:
        denoiser.network.float()
    return denoiser


def key_of(cell: dict[str, Any]) -> tuple[object, ...]:
    """What a cell is found by; records made before there was a choice are of float32, not exact."""
    mode = cell.get("dtype", "float32"), cell.get("exact", False)
    return (*mode, cell["sampler"], cell["budget"], cell["problems"])


def main() -> int:
    """Print a line for each sampler and budget, and one JSON object at the end."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--problems", type=int, default=256)
    parser.add_argument("--budgets", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--samplers", nargs="*", default=[*SAMPLERS, *VARIANTS])
    parser.add_argument("--order", type=Path, help="folder of a learned order, measured too, as `learned`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", nargs="+", choices=[*DTYPES, ROUNDED], default=["float32"])
    parser.add_argument("--exact", nargs="+", choices=["false", "true"], default=["false"])
    parser.add_argument("--repeats", type=int, default=3, help="turns in which the exact mode is timed; 0 for none")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice unless given")
    parser.add_argument("--out", type=Path, help="folder that gets record.json")
    given = parser.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    denoisers = {name: load(name, given.device) for name in given.dtype}
    chosen = first_problems(denoisers[given.dtype[0]], make_task("wordprob"), "validation", given.problems).chosen
    texts = Texts([problem.example.prompt for problem in chosen], [problem.row for problem in chosen])
    order = None if given.order is None else load_order(given.order, given.device)
    samplers = [*given.samplers, *([] if order is None else ["learned"])]
    path = None if given.out is None else given.out / "record.json"
    found = provenance(given.device)
    found["commit"] = found["commit"] or os.environ.get("COMMIT")
    settings = {"split": "validation", "seed": 0, "batches": [1, BATCH], "threads": torch.get_num_threads()}
    record = {**found, **settings, "cells": []}
    if path is not None and path.is_file():
        record["cells"] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    done = {key_of(cell) for cell in record["cells"]}
    modes = [{"dtype": dtype, "exact": exact == "true"} for dtype in given.dtype for exact in given.exact]
    for mode, budget, sampler in itertools.product(modes, given.budgets, samplers):
        cell: dict[str, Any] = {**mode, "sampler": sampler, "budget": budget, "problems": len(texts.rows)}
        if key_of(cell) in done:
            continue
        cell |= compare(denoisers[mode["dtype"]], texts, sampler, budget, order, mode["exact"], given.repeats)
        words = f"{mode['dtype']}{', exact' if mode['exact'] else ''}"
        print(
            f"{words:16s} {sampler:28s} T={budget:<3d} identical {cell['identical']:.4f}", file=sys.stderr, flush=True
        )
        for row in cell["differing"]:
            print(f"  row {row['row']}: {row['alone']!r} alone, {row['together']!r}", file=sys.stderr, flush=True)
        record["cells"].append(cell)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, record)
    print(json.dumps(record, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

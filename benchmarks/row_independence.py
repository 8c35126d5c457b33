"""Does a row become the same text alone and in a batch of 64, for every sampler, in float32?

    PYTHONPATH=src python3 benchmarks/row_independence.py --problems 256 --out docs/records/row-independence

Everything random is a hash of what it is for, so in exact arithmetic every text is the same. In float32 the rounding of
a matrix product depends on the batch, and may turn a near tie. This counts how often that changes a text of the bundled
denoiser, on problems of wordprob's validation split, and names each row where it does.
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

from unmask import load_denoiser
from unmask.core.files import write_json
from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.problems import first_problems
from unmask.evaluate.records import provenance
from unmask.orders.folder import LearnedOrder, load_order
from unmask.samplers import SAMPLERS
from unmask.samplers.generate import Generation, decode
from unmask.tasks import make_task

BATCH = 64
# An option that changes what is computed, beside each sampler's defaults.
VARIANTS = ("entropy:alg_temp=0.5", "remdm:conf=true", "top-prob:block=16,eot=tail", "top-prob:exit=prophet")


class Texts(NamedTuple):
    """prompts and rows: the problems and their places in the split."""

    prompts: list[str]
    rows: list[int]


def compare(
    denoiser: TextDenoiser, texts: Texts, sampler: str, budget: int, order: LearnedOrder | None
) -> dict[str, Any]:
    """Batch 1 against batch `BATCH`: the share of identical texts, each row that differs, and wall time."""

    def run(batch: int) -> list[Generation]:
        unmasker = order if order is not None and sampler == "learned" else sampler
        return decode(denoiser, texts.prompts, sampler=unmasker, budget=budget, batch=batch, rows=texts.rows)

    began = time.monotonic()
    alone, together = run(1), run(BATCH)
    differing = [
        {"row": row, "alone": one.text, "together": other.text, "nfe": [one.nfe, other.nfe]}
        for row, one, other in zip(texts.rows, alone, together, strict=True)
        if one.tokens != other.tokens
    ]
    return {
        "sampler": sampler,
        "budget": budget,
        "problems": len(texts.rows),
        "identical": 1 - len(differing) / len(texts.rows),
        "differing": differing,
        "seconds": time.monotonic() - began,
    }


def main() -> int:
    """Print a line for each sampler and budget, and one JSON object at the end."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--problems", type=int, default=256)
    parser.add_argument("--budgets", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--samplers", nargs="*", default=[*SAMPLERS, *VARIANTS])
    parser.add_argument("--order", type=Path, help="folder of a learned order, measured too, as `learned`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="folder that gets record.json")
    given = parser.parse_args()
    denoiser = load_denoiser("wordprob", device=given.device, dtype=torch.float32)
    chosen = first_problems(denoiser, make_task("wordprob"), "validation", given.problems).chosen
    texts = Texts([problem.example.prompt for problem in chosen], [problem.row for problem in chosen])
    order = None if given.order is None else load_order(given.order, given.device)
    samplers = [*given.samplers, *([] if order is None else ["learned"])]
    path = None if given.out is None else given.out / "record.json"
    found = provenance(given.device)
    found["commit"] = found["commit"] or os.environ.get("COMMIT")
    record = {**found, "dtype": "float32", "split": "validation", "batches": [1, BATCH], "cells": []}
    if path is not None and path.is_file():
        record["cells"] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    done = {(cell["sampler"], cell["budget"], cell["problems"]) for cell in record["cells"]}
    for budget, sampler in itertools.product(given.budgets, samplers):
        if (sampler, budget, len(texts.rows)) in done:
            continue
        cell = compare(denoiser, texts, sampler, budget, order)
        print(f"{sampler:28s} T={budget:<3d} identical {cell['identical']:.4f}", file=sys.stderr, flush=True)
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

"""Which family, objective and number of samples close the gap on texts whose best order is known.

    python benchmarks/exact_study.py --out docs/records/exact-study

Every recipe learns on instances that the suite does not report (numbers from 100), for the same number of updates.
A second start does only what is missing.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unmask.evaluate.records import provenance
from unmask.exact.gap import measure
from unmask.exact.recipe import RECIPE, Recipe

PLAIN = replace(RECIPE, samples=8, entropy=0.0)
COINS = replace(PLAIN, family="bernoulli")
OR_NONE = replace(PLAIN, family="bernoulli-or-none", posterior="reveal-times")
MIXTURE = replace(PLAIN, family="mixture", spread=0.5)
RECIPES: dict[str, Recipe] = {
    "coins, bound only": replace(COINS, first_share=1.0),
    "coins, bound only, reveal times": replace(OR_NONE, first_share=1.0),
    "coins, importance only": replace(COINS, first_share=1.0, first="importance"),
    "coins, importance only, reveal times": replace(OR_NONE, first_share=1.0, first="importance"),
    "all sets, importance only": replace(PLAIN, first_share=1.0, first="importance"),
    "coins, bound then paths": replace(COINS, first_share=0.3),
    "coins, one sample": replace(COINS, multi_sample=False),
    "coins": COINS,
    "coins, tilted": replace(COINS, tilt=True),
    "coins, or none": OR_NONE,
    "Plackett-Luce": replace(PLAIN, family="plackett-luce"),
    "mixture of 3": replace(MIXTURE, components=3),
    "mixture of 8": MIXTURE,
    "all sets, importance then paths": replace(PLAIN, first_share=0.3, first="importance"),
    "all sets, one sample": replace(PLAIN, multi_sample=False),
    "all sets, one sample, entropy": replace(PLAIN, multi_sample=False, entropy=0.01),
    "all sets, K = 2": replace(PLAIN, samples=2),
    "all sets, K = 4": replace(PLAIN, samples=4),
    "all sets, K = 8": PLAIN,
    "all sets, K = 8, entropy": replace(PLAIN, entropy=0.01),
    "all sets, K = 8, tilted": replace(PLAIN, tilt=True),
    "all sets, K = 32": replace(PLAIN, samples=32),
    "all sets, K = 32, entropy (default)": RECIPE,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=["chain", "gate", "hmm", "ising-weak"])
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--numbers", type=int, nargs="+", default=[100])
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.out / "record.json"
    settings = {"updates": options.updates}
    record: dict[str, Any] = {"settings": settings, **provenance("cpu"), "cells": []}
    if path.exists():
        found = json.loads(path.read_text())
        record = found if found["settings"] == settings else record
    done = {(cell["recipe"], cell["family"], cell["number"], cell["steps"]) for cell in record["cells"]}
    options.out.mkdir(parents=True, exist_ok=True)
    for family in options.families:
        for number in options.numbers:
            for steps in options.steps:
                for name, recipe in RECIPES.items():
                    if (name, family, number, steps) in done:
                        continue
                    began = time.monotonic()
                    cell = measure(family, number, steps, updates=options.updates, recipe=recipe)
                    record["cells"].append({"recipe": name, **cell.to_dict()})
                    path.write_text(json.dumps(record, indent=1) + "\n")
                    print(f"{family} {steps} {name}: {cell.closed} in {time.monotonic() - began:.0f} s", flush=True)
    for name in RECIPES:
        closed = [cell["closed"] for cell in record["cells"] if cell["recipe"] == name and cell["closed"] is not None]
        print(f"{name:26s} median {100 * statistics.median(closed):6.1f} %  worst {100 * min(closed):6.1f} %")


if __name__ == "__main__":
    main()

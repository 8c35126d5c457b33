"""The experiment of Fox et al. (2026, arXiv 2602.23968) from one end to the other: SMDM-170M on GSM8K, orders learned.

    python recipes/fox2026.py --out runs/fox2026 --device cuda      the paper's scale: one GPU, a hub, a day or two
    python recipes/fox2026.py --out runs/toy --scale toy            minutes on two CPU cores, offline

    1. checkpoint  SMDM-170M with TinyLlama's tokenizer from the hub; at toy scale a tiny random one in the same layout
    2. data        GSM8K from --data or the hub; at toy scale made-up problems in the same format
    3. fit         45,000 updates of 256 rows; 128 tokens of question and 64 of response, in the equation format
    4. learn       15,000 updates of 32 rows and 8 orders each, for 5, 10 and 15 steps
    5. bench       the learned order and the paper's heuristics on the test split, at the learned order's steps
    6. report      the paper's table beside ours, in OUT/report.md

Each stage is an `unmask` command, which is printed and which goes on where it was: start the recipe again after a kill.
The paper's full text was not to be had, so learning rates are ours; and one network serves all budgets, where the
paper has one for each. `--method bound` learns by the bound alone (equations 2 to 6), as the paper does. With either
method the policy is told tokens, too (decision 010).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tiny_smdm

BUDGETS = (5, 10, 15)
SAMPLERS = ("iid", "margin", "top-prob", "threshold:level=0.9")
WEIGHTS = ("nieshen/SMDM", "mdm_safetensors/mdm-170M-100e18.safetensors")
TOKENIZER = ("TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T", "tokenizer.json")
CODEC = {"template": "<s>{prompt} ->"}  # the response follows: `question -> <<48/2=24>> <<48+24=72>> #### 72`


@dataclass(frozen=True)
class Scale:
    """How much of everything. count: test problems. context: tokens of question and response together."""

    fit_updates: int
    fit_rows: int
    learn_updates: int
    learn_rows: int
    samples: int
    count: int
    context: int = 192
    response: int = 64


SCALES = {
    "paper": Scale(45_000, fit_rows=256, learn_updates=15_000, learn_rows=32, samples=8, count=1319),
    "toy": Scale(20, fit_rows=4, learn_updates=6, learn_rows=2, samples=2, count=3, context=160, response=40),
}


class Reported(NamedTuple):
    """A row of the paper's table: accuracy in %, single seed; steps as the paper gives them."""

    budget: int
    sampler: str
    steps: float
    accuracy: float


PAPER = (
    Reported(5, "learned", 4.01, 33.1),
    Reported(5, "iid", 4, 29.0),
    Reported(5, "margin", 4, 24.0),
    Reported(5, "top-prob", 4, 23.7),
    Reported(10, "learned", 9.57, 37.8),
    Reported(10, "margin", 10, 39.5),
    Reported(15, "learned", 9.43, 39.0),
    Reported(15, "margin", 12, 42.3),
)


def checkpoint(scale: str, out: Path) -> Path:
    """Where the denoiser to start from is: one safetensors file with its tokenizer beside it."""
    folder = out / "checkpoint"
    if scale == "toy":
        weights = tiny_smdm.write(folder)
    else:
        from huggingface_hub import hf_hub_download

        weights = Path(hf_hub_download(*WEIGHTS, local_dir=folder))
        hf_hub_download(*TOKENIZER, local_dir=weights.parent)
    (weights.parent / "codec.json").write_text(json.dumps(CODEC), encoding="utf-8")
    return weights


def commands(given: argparse.Namespace, scale: Scale, start: Path, data: str | None) -> list[list[str]]:
    """The `unmask` commands of stages 3 to 5."""
    task = ["--task", "gsm8k", *(["--data", data] if data else [])]
    machine = ["--device", given.device, "--seed", str(given.seed)]
    denoiser, order = given.out / "fit" / "denoiser", given.out / "learn" / "order"
    budgets = [str(budget) for budget in BUDGETS]
    first, second = ("--bound-updates", "--policy-updates")
    if given.method == "ours":
        first, second = second, first
    return [
        [
            "fit", *task, "--init", str(start), "--no-mix", "--no-compile",
            "--updates", str(scale.fit_updates), "--rows", str(scale.fit_rows),
            "--context", str(scale.context), "--response-length", str(scale.response),
            "--rate", "2e-4", "--muon-rate", "0", "--weight-decay", "0.1",
            "--out", str(given.out / "fit"), *machine,
        ],
        [
            "learn", *task, "--denoiser", str(denoiser), "--texts", "data", "--budgets", *budgets,
            first, str(scale.learn_updates), second, "0",
            "--rows", str(scale.learn_rows), "--samples", str(scale.samples),
            "--rule-count", str(min(200, scale.count)), "--out", str(given.out / "learn"), *machine,
        ],
        [
            "bench", *task, "--denoiser", str(denoiser), "--split", "test", "--samplers", *SAMPLERS,
            "--orders", f"learned={order}", "--budgets", *budgets, "--count", str(scale.count),
            "--one-per-step", "left-to-right", "--out", str(given.out / "bench"), *machine,
        ],
    ]  # fmt: skip


def report(rows: Sequence[dict[str, Any]], scale: str) -> str:
    """The paper's table, and beside each row ours at the nearest number of steps."""
    small = "" if scale == "paper" else " At this scale the numbers show that it runs, and nothing else."
    lines = [
        "# The experiment of Fox et al. (arXiv 2602.23968), run with unmask",
        "",
        f"Scale: {scale}.{small} Accuracies in %, ours with Wilson's 95 % interval; steps as mean [min, max].",
        "",
        "| steps allowed | sampler | paper: steps | paper: accuracy | ours: steps | ours: accuracy |",
        "|---|---|---|---|---|---|",
    ]
    for told in PAPER:
        found = nearest(rows, told)
        ours = ("", "") if found is None else (steps(found), accuracy(found))
        lines.append(f"| {told.budget} | {told.sampler} | {told.steps:g} | {told.accuracy} | {ours[0]} | {ours[1]} |")
    head = ["| sampler | steps | accuracy | learned ahead by |", "|---|---|---|---|"]
    lines += ["", "Everything that was measured:", "", *head]
    for row in rows:
        versus = row["versus"]
        ahead = f"{versus['points']:+.1f} [{versus['low']:.1f}, {versus['high']:.1f}]" if versus else ""
        lines.append(f"| {row['sampler']} | {steps(row)} | {accuracy(row)} | {ahead} |")
    return "\n".join([*lines, ""])


def nearest(rows: Sequence[dict[str, Any]], told: Reported) -> dict[str, Any] | None:
    """Our row of that sampler: learned at the same budget, a heuristic at the nearest mean steps."""
    same = [row for row in rows if row["sampler"].partition(":")[0] == told.sampler]
    if told.sampler == "learned":
        same = [row for row in same if row["budget"] == told.budget]
    return min(same, key=lambda row: abs(row["steps_mean"] - told.steps), default=None)


def steps(row: dict[str, Any]) -> str:
    """`3.72 [1, 4]`"""
    return f"{row['steps_mean']:.2f} [{row['steps_min']}, {row['steps_max']}]"


def accuracy(row: dict[str, Any]) -> str:
    """`88.4 [85.3, 90.9]`"""
    return f"{100 * row['accuracy']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def main() -> int:
    """All stages, one after the other."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, required=True, help="folder of all stages")
    parser.add_argument("--scale", choices=list(SCALES), default="paper")
    parser.add_argument("--data", help="folder with train.jsonl and test.jsonl of GSM8K; the hub's unless given")
    parser.add_argument("--method", choices=("ours", "bound"), default="ours", help="how the order is learned")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    scale = SCALES[given.scale]
    start = checkpoint(given.scale, given.out)
    data = given.data
    if data is None and given.scale == "toy":
        data = str(tiny_smdm.write_problems(given.out / "data", scale.count))
    for words in commands(given, scale, start, data):
        print("unmask", *words, file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", "unmask", *words], check=False)
        if done.returncode:
            return done.returncode
    rows = json.loads((given.out / "bench" / "table.json").read_text(encoding="utf-8"))
    text = report(rows, given.scale)
    (given.out / "report.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

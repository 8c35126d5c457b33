"""Does a device compute what the CPU computes, and each row what it would compute alone?

    PYTHONPATH=src python3 benchmarks/agreement.py --device cuda --out runs/gpu/check/agreement.json

Needs no weights and no data: a small denoiser of random weights reads random tokens. Every line of the result is a
number with the limit it must stay under; the exit code is 1 if one does not.

Draws are integers hashed, so they must be the same to the last bit. Matrix products are not: their rounding depends on
the device and on the batch. So whole decodes are compared in float64, where rounding is too small to turn a choice and
one row that differs is a bug; float32 and bfloat16 are held to the size of their rounding.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from throughput import KINDS, Case, Shape, make_update
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.draws import Draws
from unmask.core.files import write_text
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.evaluate.records import provenance
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers import Decoded, Learned, Unmasker, decode_canvas, make_sampler

VOCABULARY, MASK, END = 64, 2, 1
LENGTH, ROWS = 40, 32
SAMPLERS = ("iid", "random", "left-to-right", "top-prob:block=8", "margin:eot=tail", "entropy", "threshold:level=0.5")


class Check(NamedTuple):
    """value: what was measured, smaller is better. limit: what it may be. about: in words."""

    name: str
    value: float
    limit: float
    about: str

    @property
    def ok(self) -> bool:
        """Whether it holds; not a number does not."""
        return self.value <= self.limit


def network(dtype: torch.dtype, device: str) -> Transformer:
    """Random weights of the size that keeps activations near 1, and logits spread over a few nats."""
    config = TransformerConfig(VOCABULARY, MASK, context=LENGTH + 8, layers=4, width=64, heads=4, hidden=160)
    made = Transformer(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
        made.embed.weight *= 3
    return made.requires_grad_(False).eval().to(device=device, dtype=dtype)


def canvas() -> Canvas:
    """Rows of different lengths and budgets, padded on the left, masked spans anywhere."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(MASK + 1, VOCABULARY, (ROWS, LENGTH), generator=generator)
    masked = torch.rand(ROWS, LENGTH, generator=generator) < 0.6
    pad = torch.randint(0, LENGTH // 2, (ROWS, 1), generator=generator)
    budget = torch.randint(1, 9, (ROWS,), generator=generator)
    return Canvas.make(tokens, masked, budget, torch.arange(LENGTH) >= pad)


def pad(rows: Canvas, left: int, right: int) -> Canvas:
    """The same rows with more padding."""
    return replace(
        rows,
        tokens=torch.nn.functional.pad(rows.tokens, (left, right), value=MASK),
        masked=torch.nn.functional.pad(rows.masked, (left, right), value=False),
        valid=torch.nn.functional.pad(rows.valid, (left, right), value=False),
    )


def logits(made: Transformer, rows: Canvas) -> Tensor:
    """[M, V] in float64 on the CPU, without the column of the mask token."""
    found: Tensor = made(rows).logits(slice(None)).double().cpu()
    return found[:, [token for token in range(VOCABULARY) if token != MASK]]


def root_mean_square(value: Tensor) -> float:
    """Of all entries."""
    return float(value.square().mean().sqrt())


def draws_agree(device: str) -> Iterator[Check]:
    """The same random numbers everywhere."""
    rows = canvas()
    here, there = Draws(7).uniform(rows, "token"), Draws(7).uniform(rows.to(device), "token").cpu()
    yield Check("draws", float((here != there).sum()), 0, "random numbers that differ from the CPU's")


def logits_agree(device: str) -> Iterator[Check]:
    """One forward pass on the device and on the CPU in float64, as a share of the logits' own size."""
    rows = canvas()
    exact = logits(network(torch.float64, "cpu"), rows)
    size = root_mean_square(exact)
    for dtype, limit in ((torch.float64, 1e-9), (torch.float32, 1e-4), (torch.bfloat16, 0.05)):
        found = logits(network(dtype, device), rows.to(device))
        name = str(dtype).removeprefix("torch.")
        about = "root mean square difference of logits from the CPU's in float64, relative to theirs"
        yield Check(f"logits {name}", root_mean_square(found - exact) / size, limit, about)


def rows_are_independent(device: str) -> Iterator[Check]:
    """Each row alone, and among others with more padding on either side: the largest difference of its logits."""
    rows = canvas().to(device)
    for dtype, limit in ((torch.float64, 1e-9), (torch.float32, 1e-3)):
        made = network(dtype, device)
        together = logits(made, rows)
        alone = torch.cat([logits(made, rows.take(rows.row == row)) for row in range(ROWS)])
        among = logits(made, pad(rows, 3, 5))
        worst = max(float((other - together).abs().max()) for other in (alone, among))
        name = str(dtype).removeprefix("torch.")
        yield Check(f"rows {name}", worst, limit, "largest difference of a row's logits, alone and among others")


def decodes_agree(device: str) -> Iterator[Check]:
    """Whole decodes in float64: the device against the CPU, and rows alone against rows in a batch."""
    for name, unmasker_on in samplers(device):
        for temperature in (0.0, 1.0):
            here = decode(unmasker_on["cpu"], canvas(), "cpu", temperature)
            there = decode(unmasker_on[device], canvas(), device, temperature)
            about = "rows decoded in float64 that differ"
            label = f"decode {name} at temperature {temperature:g}"
            yield Check(f"{label}: device", differing(here, there), 0, f"{about} from the CPU's")
            apart = 0
            for row in range(0, ROWS, 4):
                one = torch.tensor([row])
                alone = decode(unmasker_on[device], canvas().take(one), device, temperature)
                apart += differing(alone, take(there, one))
            yield Check(f"{label}: rows", apart, 0, f"{about} when decoded alone")


def take(decoded: Decoded, rows: Tensor) -> Decoded:
    """Some rows of a decode."""
    return Decoded._make(value.take(rows) if isinstance(value, Canvas) else value[rows] for value in decoded)


def samplers(device: str) -> Iterator[tuple[str, dict[str, Unmasker]]]:
    """Heuristics, and a policy of random weights, on the CPU and on the device."""
    for spec in SAMPLERS:
        made = make_sampler(spec, END)
        yield spec, {"cpu": made, device: made}
    policies: dict[str, Unmasker] = {}
    for where in ("cpu", device):
        policy = PolicyNetwork(PolicyConfig(denoiser_width=64, width=32, layers=1))
        policy.initialise(torch.Generator().manual_seed(2)).eval().to(device=where, dtype=torch.float64)
        policies[where] = Learned(policy)
    yield "learned", policies


def decode(unmasker: Unmasker, rows: Canvas, device: str, temperature: float) -> Decoded:
    """In float64, brought to the CPU."""
    found = decode_canvas(network(torch.float64, device), rows.to(device), unmasker, temperature=temperature)
    return Decoded._make(value.to("cpu") for value in found)


def differing(one: Decoded, other: Decoded) -> int:
    """Rows whose tokens, or the steps they were revealed at, are not the same."""
    same = (one.canvas.tokens == other.canvas.tokens) & (one.revealed_at == other.revealed_at)
    return int((~same.all(dim=-1)).sum())


def updates_agree(device: str) -> Iterator[Check]:
    """One update of fit and of both stages of learn in float32: what is logged, against the CPU's."""
    shape = Shape(layers=2, width=64, vocabulary=VOCABULARY, prompt=16, response=16, samples=4, budget=4, compile=False)
    for kind in KINDS:
        here, there = (flat(make_update(Case(kind, where, "float32", 8), shape)(0)) for where in ("cpu", device))
        worst = max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(here, there, strict=True))
        yield Check(f"update {kind}", worst, 1e-3, "largest difference of a logged number from the CPU's, relative")


def flat(logged: object) -> list[float]:
    """The numbers of an update: a loss or a report, and the norm of the gradient."""
    assert isinstance(logged, tuple)
    report, norm = logged
    return [*(report.values() if isinstance(report, dict) else [report]), norm]


GROUPS = (draws_agree, logits_agree, rows_are_independent, decodes_agree, updates_agree)


def main() -> int:
    """Run every check, print a line for each, and write one JSON object."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="file the JSON is also written to")
    given = parser.parse_args()
    checks: list[Check] = []
    for group in GROUPS:
        for check in group(given.device):
            mark = "ok  " if check.ok else "FAIL"
            print(f"{mark} {check.name}: {check.value:.3g} (limit {check.limit:g})", file=sys.stderr, flush=True)
            checks.append(check)
    ok = all(check.ok for check in checks)
    found = provenance(given.device)
    found["commit"] = found["commit"] or os.environ.get("COMMIT")
    result = {**found, "ok": ok, "checks": [{**check._asdict(), "ok": check.ok} for check in checks]}
    text = json.dumps(result, indent=2)
    if given.out is not None:
        write_text(given.out, text + "\n")
    print(text)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())

"""The sentence compares with the right rows: by hand."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "results_ahead.py"
spec = importlib.util.spec_from_file_location("results_ahead", SCRIPT)
assert spec is not None
assert spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


def row(sampler: str, budget: int, accuracy: float, mean: float, least: int = 1, learned: bool = False) -> dict:
    versus = None if learned else {"points": 80 - 100 * accuracy, "low": 1.0, "high": 9.0, "p": 0.01, "holm": 0.05}
    return {
        "sampler": sampler, "budget": budget, "accuracy": accuracy, "steps_mean": mean, "steps_min": least,
        "steps_max": budget, "learned": learned, "versus": versus, "n": 100, "retention": 0.9 if learned else None,
    }  # fmt: skip


ROWS = [
    row("learned", 5, 0.80, 3.6, learned=True),
    row("learned:one-per-step", 48, 0.89, 48.0, 48, learned=True),
    row("threshold:level=0.8", 4, 0.70, 3.62),  # within rounding of the order's mean
    row("threshold:level=0.9", 5, 0.75, 3.9),  # passes it on average
    row("margin", 4, 0.71, 4.0, 4),  # a fixed quota at the mean rounded up
    row("margin", 5, 0.74, 5.0, 5),
    row("top-prob", 48, 0.88, 48.0, 48),  # slower than either
]


def test_at_the_mean_and_at_the_most(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(json.dumps(ROWS))
    first, mean, most = module.ahead_sentence(tmp_path).splitlines()
    assert first == "In 3.60 steps on average, at most 5, it is right on 80.0 % of 100 problems."
    assert mean.startswith("The best of 2 tuned heuristics at as many steps on average, `margin`, has 71.0 %")
    assert "which is 9.0 points less" in mean
    assert "may take 5 steps, `threshold:level=0.9`, has 75.0 %, which is 5.0 points less [1.0, 9.0]" in most
    assert most.endswith("It keeps 90 % of the accuracy that one position per step reaches.")


@pytest.mark.parametrize(("mean", "fits"), [(3.65, True), (3.66, False)])
def test_a_mean_may_pass_the_orders_by_what_tuning_allows(mean: float, fits: bool) -> None:
    assert module.fits(row("threshold", 5, 0.7, mean), ROWS[0]) == fits

"""benchmarks/policy_cost.py counts what a pass of either network costs."""

import importlib.util
from pathlib import Path

import pytest

from unmask.denoisers.transformer import TransformerConfig
from unmask.orders.policy import PolicyConfig

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "policy_cost.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("policy_cost", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_count_is_that_of_the_products_written_out(script):
    """2 operations for each multiplication: projections and feed-forward, scores and values, the head."""
    length, response, width, hidden, vocabulary, layers = 48, 16, 32, 96, 50, 2
    shape = TransformerConfig(vocabulary, 0, layers=layers, width=width, heads=2, hidden=hidden, tied=False)
    policy = PolicyConfig(denoiser_width=width, width=8, layers=1, heads=2, hidden=12)
    found = script.cost(shape, policy, length, response)["steps"][0]
    block = 2 * length * (4 * width**2 + 3 * width * hidden) + 4 * length**2 * width
    assert found["denoiser"] == layers * block + 2 * response * width * vocabulary
    reading = 2 * response * 8 * (width + 7) + 2 * 6 * 8
    inside = 2 * response * (4 * 8**2 + 3 * 8 * 12) + 4 * response**2 * 8
    assert found["policy"] == reading + inside + 2 * response * 8


@pytest.mark.slow
def test_beside_eight_billion_parameters_the_policy_is_under_two_percent(script):
    found = script.cost(script.LLADA_8B, PolicyConfig(denoiser_width=4096, codes=32), 1024, 256)
    assert found["denoiser_parameters"] == pytest.approx(8.0e9, rel=0.01)
    assert found["share_first_step"] < 0.02
    assert max(step["share"] for step in found["steps"]) < 0.02

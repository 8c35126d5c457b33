"""Layer 2: short texts by enumeration. The oracle of the tests, and the suite where the optimum is known."""

from unmask.exact.choices import Choices
from unmask.exact.enumerate import all_sets, decode_marginal, exact_elbo, log_marginal, set_log_probs, set_number
from unmask.exact.gap import Cell, measure, summaries
from unmask.exact.learn import LearnedExactly, learn
from unmask.exact.nll import sampler_nll
from unmask.exact.optimum import optimum, static_optimum
from unmask.exact.recipe import RECIPE, Recipe
from unmask.exact.suite import FAMILIES, entropy, instance

__all__ = [
    "FAMILIES",
    "RECIPE",
    "Cell",
    "Choices",
    "LearnedExactly",
    "Recipe",
    "all_sets",
    "decode_marginal",
    "entropy",
    "exact_elbo",
    "instance",
    "learn",
    "log_marginal",
    "measure",
    "optimum",
    "sampler_nll",
    "set_log_probs",
    "set_number",
    "static_optimum",
    "summaries",
]

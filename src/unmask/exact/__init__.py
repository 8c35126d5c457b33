"""Layer 2: short texts by enumeration. The oracle of the tests, and the suite where the optimum is known."""

from unmask.exact.enumerate import all_sets, decode_marginal, exact_elbo, log_marginal, set_log_probs, set_number

__all__ = ["all_sets", "decode_marginal", "exact_elbo", "log_marginal", "set_log_probs", "set_number"]

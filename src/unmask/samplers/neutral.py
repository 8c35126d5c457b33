"""Generation arguments of other libraries that no sampler of ours heeds, and the values at which they change nothing.

Tokens are drawn from the denoiser's whole law, at most at another temperature, and positions in a sampler's order: what
would cut that law, steer it, or assume writing from left to right is refused by name rather than passed over.
"""

from collections.abc import Mapping
from typing import Any

# None and False never ask for anything. These do not either: transformers assumes them where nothing is said.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "assistant_confidence_threshold": (0.4,),
    "assistant_lookbehind": (10,),
    "diversity_penalty": (0.0,),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1.0,),
    "epsilon_cutoff": (0.0,),
    "eta_cutoff": (0.0,),
    "guidance_scale": (1.0,),
    "length_penalty": (1.0,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "min_p": (0.0,),
    "no_repeat_ngram_size": (0,),
    "num_assistant_tokens": (20,),
    "num_assistant_tokens_schedule": ("constant",),
    "num_beam_groups": (1,),
    "num_beams": (1,),
    "num_return_sequences": (1,),
    "renormalize_logits": (True,),  # the law is normalised anyway
    "repetition_penalty": (1.0,),
    "target_lookbehind": (10,),
    "top_k": (0, -1),
    "top_p": (1.0,),
    "typical_p": (1.0,),
    "use_cache": (True,),  # says how, not what
}


def unheeded(arguments: Mapping[str, Any], neutral: Mapping[str, tuple[Any, ...]] = NEUTRAL) -> list[str]:
    """Those of `arguments` that ask for something, in alphabetical order; `neutral`: values that do not."""
    return sorted(name for name, value in arguments.items() if not _asks_nothing(value, neutral.get(name, ())))


def _asks_nothing(value: Any, harmless: tuple[Any, ...]) -> bool:
    return value is None or value is False or (isinstance(value, int | float | str) and value in harmless)

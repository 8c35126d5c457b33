"""What other programs call things, and what does the same here: pointers for errors, never second names.

Sources: LLaDA's `generate.py` (Nie et al. 2025), Dream's `generation_utils.py` (Ye et al. 2025), Fast-dLLM (Wu et al.
2025), MDLM (Sahoo et al. 2024), EB-Sampler (Ben-Hamu et al. 2025), and the usual arguments of transformers and vLLM.
"""

from collections.abc import Mapping

_TOP_PROB = "`top-prob` here, with LLaDA's blocks `top-prob:block=32`"
_THRESHOLD = "`threshold:level=0.9` here"

# what a sampler is called elsewhere, with `-` for `_` -> what it is here
SAMPLERS: Mapping[str, str] = {
    **dict.fromkeys(("low-confidence", "low-confidence-static", "llada"), _TOP_PROB),
    **dict.fromkeys(("maskgit-plus", "maskgit", "confidence", "max-prob", "top-1", "top1"), _TOP_PROB),
    **dict.fromkeys(("origin", "ancestral", "ddpm", "ddpm-cache", "mdlm"), "`iid` here"),
    **dict.fromkeys(
        ("topk-margin", "top-k-margin", "top-margin", "prob-margin", "probability-margin", "margin-confidence"),
        "`margin` here",
    ),
    **dict.fromkeys(("neg-entropy", "negative-entropy", "min-entropy"), "`entropy` here"),
    **dict.fromkeys(
        ("confidence-threshold", "low-confidence-dynamic", "dynamic", "parallel", "fast-dllm", "thresholding"),
        f"{_THRESHOLD}, Fast-dLLM's other rule `factor:factor=1`",
    ),
    **dict.fromkeys(("eb", "eb-sampler", "entropy-bound", "entropy-threshold"), "`entropy-bounded:bound=0.1` here"),
    **dict.fromkeys(("uniform", "random-order"), "`random` here"),
    **dict.fromkeys(("autoregressive", "ar", "l2r", "sequential"), "`left-to-right` here"),
    **dict.fromkeys(
        ("semi-autoregressive", "semi-ar", "block", "blockwise", "block-diffusion"),
        "an option of every sampler here, e.g. `top-prob:block=32`",
    ),
    **dict.fromkeys(("prophet", "early-exit"), "an option of every sampler here, e.g. `top-prob:exit=prophet`"),
    **dict.fromkeys(("dus", "dilated-unmasking"), "`dilated` here"),
    **dict.fromkeys(("pc-sampler", "position-confidence"), "`pc` here"),
    **dict.fromkeys(("path-planning", "p2-self"), "`p2` here"),
    **dict.fromkeys(("slow-fast", "slowfast-sampling"), "`slowfast` here"),
    "halton-maskgit": "`halton` here",
    "re-mdm": "`remdm` here",
    "greedy": "temperature 0 here, the default; which positions it is written at says e.g. `top-prob`",
}

# what an option of a sampler is called elsewhere -> what it is here; {name} is the sampler
OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("threshold", "confidence", "confidence_threshold", "tau", "conf"), "`{name}:level=0.9`"),
    **dict.fromkeys(("gamma", "epsilon", "entropy_bound"), "`entropy-bounded:bound=0.1`"),
    **dict.fromkeys(("block_length", "block_size", "blocks"), "`{name}:block=32`"),
    **dict.fromkeys(("steps", "budget", "num_steps", "nfe"), "`--budget 8`, or `budget=8` in Python"),
    **dict.fromkeys(("temperature", "temp"), "`--temperature 1`, or `temperature=1.0` in Python"),
    **dict.fromkeys(("gen_length", "max_new_tokens", "length"), "`--response-length 128`"),
    **dict.fromkeys(("eos", "eot_rule", "confidence_eos_eot_inf"), "`{name}:eot=defer`"),
    "alg_temp": "`entropy:alg_temp=0.1`; the other samplers draw no noise",
    "early_exit": "`{name}:exit=prophet`",
}


def sampler_pointer(name: str) -> str | None:
    """What a sampler that is called `name` elsewhere is here, as the end of a sentence; None if it is not known."""
    return SAMPLERS.get(name.strip().lower().replace("_", "-"))


def option_pointer(sampler: str, option: str, own: Mapping[str, object]) -> str | None:
    """What is written instead of an option called so elsewhere; None if that is not known, or `sampler` has none."""
    pointer = OPTIONS.get(option.lower().replace("-", "_"))
    if pointer is None or (":level" in pointer and "level" not in own):
        return None
    return pointer.format(name=sampler)

"""What a task of lm-eval asks of a generation, in our words. Knows nothing of lm-eval but its argument names."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from unmask.core.errors import UserError
from unmask.samplers.options import check_temperature

LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # lm-eval's names, first wins
UNCHANGED: dict[str, tuple[Any, ...]] = {  # arguments that would change what is drawn, and where they do not
    "top_k": (None, 0, -1),
    "top_p": (None, 1, 1.0),
    "min_p": (None, 0, 0.0),
    "num_beams": (None, 1),
    "repetition_penalty": (None, 1, 1.0),
}


class Asked(NamedTuple):
    """How to write: at most `length` positions, cut before the first of `until`. repeat: 0 for the first time."""

    until: tuple[str, ...]
    length: int
    temperature: float
    repeat: int


def asked(arguments: Mapping[str, Any], response_length: int, repeat: int = 0) -> Asked:
    """Read a request's generation arguments. Raises UserError on what no sampler of ours can do.

    The temperature counts unless do_sample is false. Nothing said is temperature 0.
    """
    for name, harmless in UNCHANGED.items():
        if name in arguments and arguments[name] not in harmless:
            raise UserError(
                f"the task asks for {name}={arguments[name]}, and tokens are drawn from the denoiser's whole law; "
                f"leave it out with --gen_kwargs {name}={harmless[1]}"
            )
    until = arguments.get("until") or ()
    length = next((arguments[name] for name in LENGTHS if arguments.get(name) is not None), response_length)
    temperature = float(arguments.get("temperature") or 0.0)
    check_temperature("temperature", temperature)
    return Asked(
        until=(until,) if isinstance(until, str) else tuple(text for text in until if text),
        length=min(int(length), response_length),
        temperature=temperature if arguments.get("do_sample", True) else 0.0,
        repeat=repeat,
    )

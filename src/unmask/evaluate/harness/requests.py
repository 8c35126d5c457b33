"""What a task of lm-eval asks of a generation, in our words. Knows nothing of lm-eval but its argument names."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from unmask.core.errors import UserError
from unmask.samplers.neutral import NEUTRAL, unheeded
from unmask.samplers.options import check_temperature, check_whole

LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # lm-eval's names, first wins
HEEDED = {"until", "temperature", "do_sample", *LENGTHS}


class Asked(NamedTuple):
    """How to write: at most `length` positions, cut before the first of `until`. repeat: 0 for the first time."""

    until: tuple[str, ...]
    length: int
    temperature: float
    repeat: int


def asked(arguments: Mapping[str, Any], response_length: int, repeat: int = 0) -> Asked:
    """Read a request's generation arguments. Raises UserError on what no sampler of ours can do, or on no value.

    The temperature counts unless do_sample is false. Nothing said is temperature 0.
    """
    rest = {name: value for name, value in arguments.items() if name not in HEEDED}
    for name in unheeded(rest):
        neutral = NEUTRAL.get(name, (None,))[0]
        raise UserError(
            f"the task asks for {name}={arguments[name]}, and tokens are drawn from the denoiser's whole law, in a "
            f"sampler's order; leave it out with --gen_kwargs {name}={neutral}"
        )
    until = arguments.get("until") or ()
    stops = [until] if isinstance(until, str) else until
    if not isinstance(stops, list | tuple) or not all(isinstance(text, str) for text in stops):
        raise UserError(f"the task asks for until={until!r}, which should be a text or a list of texts")
    name, length = next(
        ((name, arguments[name]) for name in LENGTHS if arguments.get(name) is not None),
        ("max_gen_toks", response_length),
    )
    check_whole(name, int(length) if isinstance(length, float) and length.is_integer() else length, 1)
    temperature = arguments.get("temperature") or 0.0
    check_temperature("temperature", temperature)
    if not isinstance(do_sample := arguments.get("do_sample", True), bool | None):
        raise UserError(f"the task asks for do_sample={do_sample!r}, which should be true or false")
    return Asked(
        until=tuple(text for text in stops if text),
        length=min(int(length), response_length),
        temperature=float(temperature) if do_sample is None or do_sample else 0.0,
        repeat=repeat,
    )

"""Whether two spellings name the same sampler: `threshold:level=0.90`, `threshold:level=.9` and `threshold` do."""

import inspect
from functools import cache

from unmask.core.errors import UserError
from unmask.core.registry import Option, parse_spec
from unmask.samplers import COMMON_OPTIONS, SAMPLERS, sampler_options, wrap

Meaning = tuple[str, frozenset[tuple[str, Option]]]


@cache
def meaning(spec: str) -> Meaning:
    """The name and every option, defaults filled in and numbers read; equal where two specs mean the same.

    What is no sampler's name, as the label of an order, means itself.
    """
    try:
        name, given = parse_spec(spec)
    except UserError:
        return spec, frozenset()
    if name not in SAMPLERS:
        return spec, frozenset()
    common = inspect.signature(wrap).parameters
    options: dict[str, Option] = {key: common[key].default for key in COMMON_OPTIONS} | sampler_options(name) | given
    return name, frozenset((key, _number(value)) for key, value in options.items())


def _number(value: Option) -> Option:
    """One of the equal numbers 1 and 1.0, and apart from both true."""
    if isinstance(value, bool):
        return str(value).lower()
    return float(value) if isinstance(value, int) else value


def named(spec: str, choices: list[str]) -> str | None:
    """The one of `choices` that is spelled or means `spec`; None if there is none."""
    if spec in choices:
        return spec
    return next((each for each in choices if meaning(each) == meaning(spec)), None)

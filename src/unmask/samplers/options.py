"""A sampler's options: what may be said for each, and the check of it where it comes in.

    @dataclass(frozen=True)
    class Threshold(Stateless):
        level: float = number(0.9, 0, 1)

        def __post_init__(self) -> None:
            check_options(self)
"""

import sys
from collections.abc import Callable
from dataclasses import field, fields
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeGuard

from unmask.core.errors import UserError
from unmask.core.typed import brief

MOST = 2**63 - 1  # of whole numbers: what a tensor holds
COLDEST = 1e-100  # of temperatures: float32 logits, up to 3e38, divided by it are far from the end of float64


class Valid(NamedTuple):
    """What an option may be: in words, and as a check that raises UserError (option name, value)."""

    words: str
    check: Callable[[str, object], None]


def number(default: float, low: float, high: float = float("inf")) -> Any:
    """A field that is a number from `low` to `high`, both included."""
    return _field(default, Valid(_span(low, high), lambda option, value: check_range(option, value, low, high)))


def whole(default: int, low: int) -> Any:
    """A field that is a whole number of at least `low`."""
    return _field(default, Valid(_whole(low), lambda option, value: check_whole(option, value, low)))


def choice(default: str, choices: tuple[str, ...]) -> Any:
    """A field that is one of `choices`."""
    words = f"one of {', '.join(choices)}"
    return _field(default, Valid(words, lambda option, value: check_choice(option, value, choices)))


def flag(default: bool) -> Any:
    """A field that is true or false."""
    return _field(default, Valid("true or false", check_flag))


def file(words: str) -> Any:
    """A field that names a file, none by default; `words` say what is in it. Reading it is the sampler's business."""
    return _field("", Valid(words, check_path))


def temperature(default: float) -> Any:
    """A field that something is divided by before it is drawn; 0 draws nothing."""
    return _field(default, Valid(f"0, or a finite number of at least {COLDEST:g}", check_temperature))


def check_options(sampler: Any) -> None:
    """Raise UserError unless every option made by the functions above is in its range."""
    for option in fields(sampler):
        if "valid" in option.metadata:
            option.metadata["valid"].check(option.name, getattr(sampler, option.name))


def option_ranges(kind: Any) -> dict[str, str]:
    """What each option of a sampler's class may be, in words."""
    return {option.name: option.metadata["valid"].words for option in fields(kind) if "valid" in option.metadata}


def check_range(option: str, value: object, low: float, high: float = float("inf")) -> None:
    """Raise UserError unless `value` is a number from `low` to `high`, both included."""
    if not isinstance(value, bool) and isinstance(value, Real) and low <= float(value) <= high:
        return
    raise UserError(f"{option} must be {_span(low, high)}, got {value}")


def check_temperature(option: str, value: Any) -> None:
    """Raise UserError unless `value` is 0, or finite and not so small that logits divided by it pass float64."""
    check_range(option, value, 0)
    if value != 0 and not COLDEST <= float(value) <= sys.float_info.max:
        raise UserError(
            f"{option} must be 0 (the most probable, no draw) or a finite number of at least {COLDEST:g}, got {value}"
        )


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number, of Python or of numpy; true and false are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_whole(option: str, value: object, low: int) -> None:
    """Raise UserError unless `value` is a whole number from `low` that 64 bits hold."""
    if not is_whole(value) or value < low:
        raise UserError(f"{option} must be {_whole(low)}, got {brief(value)}")
    if value > MOST:
        raise UserError(f"{option} must be at most {MOST}, which is what 64 bits hold, got {brief(value)}")


def check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise UserError unless `value` is one of `choices`."""
    if value not in choices:
        raise UserError(f"{option} must be one of {', '.join(choices)}, got {value}")


def check_flag(option: str, value: object) -> None:
    """Raise UserError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise UserError(f"{option} must be true or false, got {value}")


def check_path(option: str, value: object) -> None:
    """Raise UserError unless `value` is a text."""
    if not isinstance(value, str):
        raise UserError(f"{option} must be the path of a file, got {value}")


def check_answer(option: str, value: object) -> None:
    """Raise UserError unless `value` is "all" or a whole number from 1."""
    if isinstance(value, str) and value == "all":
        return
    if not is_whole(value) or value < 1:
        raise UserError(f"{option} must be all or {_whole(1)}, got {brief(value)}")
    check_whole(option, value, 1)


def _field(default: object, valid: Valid) -> Any:
    return field(default=default, metadata={"valid": valid})


def _span(low: float, high: float) -> str:
    return f"a number of at least {low:g}" if high == float("inf") else f"a number from {low:g} to {high:g}"


def _whole(low: int) -> str:
    return f"a whole number of at least {low}"

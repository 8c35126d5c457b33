"""Checks of a sampler's options, where they come in."""

from unmask.core.errors import UserError


def check_range(option: str, value: object, low: float, high: float = float("inf")) -> None:
    """Raise UserError unless `value` is a number from `low` to `high`, both included."""
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return
    span = f"a number of at least {low:g}" if high == float("inf") else f"a number from {low:g} to {high:g}"
    raise UserError(f"{option} must be {span}, got {value}")


def check_whole(option: str, value: object, low: int) -> None:
    """Raise UserError unless `value` is a whole number from `low`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise UserError(f"{option} must be a whole number of at least {low}, got {value}")


def check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise UserError unless `value` is one of `choices`."""
    if value not in choices:
        raise UserError(f"{option} must be one of {', '.join(choices)}, got {value}")

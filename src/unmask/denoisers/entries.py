"""Entries of a config.json that another library wrote: taken by name, checked, or refused in one sentence."""

from collections.abc import Mapping
from typing import Any, TypeVar

from unmask.core.errors import UserError
from unmask.core.typed import brief, fits

Value = TypeVar("Value", int, float, str, bool)
Choice = TypeVar("Choice")

MISSING: Any = object()


def entry(
    values: Mapping[str, Any], name: str, kind: type[Value], default: Any = MISSING, file: str = "config.json"
) -> Value:
    """`values[name]` as a `kind`; `default` where it is absent or null, if one is given. file: where it stands.

    Raises UserError naming the entry if it is missing or something else. A whole number will do as a float.
    """
    value = values.get(name)
    if value is None:
        if default is MISSING:
            raise UserError(f"{file} has no `{name}`; copy the whole folder again from where it came")
        value = default
    if not fits(value, kind):
        # a number of the right type may still be infinite, NaN or far too large
        wanted = f"of type {kind.__name__}" if type(value) is not kind else "an ordinary number"
        raise UserError(f"{file} has `{name}` {brief(value)}, which should be {wanted}")
    return kind(value)


def one_of(values: Mapping[str, Any], name: str, choices: Mapping[str, Choice], default: str) -> str:
    """The name that stands in `values[name]`, one of `choices`. Raises UserError saying which there are."""
    value = entry(values, name, str, default)
    if value not in choices:
        known = ", ".join(choices)
        raise UserError(f"config.json has `{name}` {brief(value)}, which this network lacks; it has {known}")
    return value


def must_be(values: Mapping[str, Any], name: str, wanted: Any, why: str) -> None:
    """Raises UserError if `values[name]` is there and is not `wanted`; `why` says what it would mean."""
    value = values.get(name)
    if value is not None and value != wanted:
        raise UserError(f"config.json has `{name}` {brief(value)} and only {wanted!r} can be read: {why}")

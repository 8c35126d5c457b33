"""Names with options (`threshold:level=0.7`), and what to say when a name is wrong."""

import difflib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from unmask.core.errors import UserError
from unmask.core.published import option_pointer, sampler_pointer

Option = bool | int | float | str


class Spec(NamedTuple):
    """A parsed `NAME:key=value,key=value`."""

    name: str
    options: dict[str, Option]

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name}:" + ",".join(f"{key}={value}" for key, value in self.options.items())


def parse_value(text: str) -> Option:
    """Read `true`, `7`, `0.7` or a word as the Python value it looks like."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_spec(text: str) -> Spec:
    """Split `NAME:key=value,...`. Raises UserError if an option is not of the form key=value."""
    name, _, rest = text.strip().partition(":")
    options: dict[str, Option] = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            example = f"{name}:level=0.7"
            raise UserError(f"cannot read option `{item}` of `{text}`: write key=value, e.g. `{example}`")
        key = key.strip().replace("-", "_")
        if key in options:
            raise UserError(f"`{text}` has the option `{key}` twice; give it once")
        options[key] = parse_value(value.strip())
    return Spec(name.strip(), options)


def check_sampler_name(name: str, choices: Iterable[str]) -> str:
    """`check_name` for a sampler, with what the published ones are called here."""
    return check_name(name, choices, "sampler", "unmask list samplers", sampler_pointer(name))


def check_sampler_options(name: str, given: Iterable[str], own: Mapping[str, object], common: Iterable[str]) -> None:
    """`check_name` for the options of a sampler: its own, and those that all of them take."""
    for key in given:
        check_name(key, [*own, *common], f"option of `{name}`", pointer=option_pointer(name, key, own))


def check_name(name: str, choices: Iterable[str], kind: str, hint: str = "", pointer: str | None = None) -> str:
    """Return `name` if it is one of `choices`, else raise a UserError that says which one was meant.

    `kind` is the noun of the sentence ("sampler"), `hint` a command that lists the choices. pointer: what is called
    `name` elsewhere is here, where that is known (`core.published`).
    """
    known = list(choices)
    if name in known:
        return name
    hint = f" hint: `{hint}`" if hint else ""
    if pointer is not None:
        raise UserError(f"unknown {kind} `{name}`. What others call so is {pointer}.{hint}")
    written = {each.lower(): each for each in known}  # whatever the case it is asked for in
    close = [written[each] for each in difflib.get_close_matches(name.lower(), written, n=1, cutoff=0.5)]
    meant = f" Did you mean `{close[0]}`?" if close else ""
    raise UserError(f"unknown {kind} `{name}`.{meant} Choices: {', '.join(sorted(known))}.{hint}")

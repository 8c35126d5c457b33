"""One option of a sampler over many values: `threshold.level=0.5:0.95:0.05`, so that a table shows a whole curve."""

import re
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from unmask.core.errors import UserError
from unmask.core.registry import check_sampler_name, check_sampler_options, parse_spec
from unmask.evaluate.pinned import Pinned, parse_pinned
from unmask.evaluate.tune import ADAPTIVE
from unmask.samplers import COMMON_OPTIONS, SAMPLERS, make_sampler, sampler_options

SHAPE = re.compile(r"(?P<spec>.+)\.(?P<option>[A-Za-z_-]+)=(?P<values>[^=]+)")
MOST = 100  # values of one sweep; more is a slip in the step
EXAMPLE = "threshold.level=0.5,0.7,0.9 or threshold.level=0.5:0.95:0.05"


class Sweep(NamedTuple):
    """spec: the sampler with the options that stay. budget: None where it was not given."""

    spec: str
    option: str
    values: tuple[str, ...]
    budget: int | None

    @property
    def swept(self) -> "Swept":
        """What is swept."""
        return Swept(parse_spec(self.spec).name, self.option)

    def pinned(self, most: int) -> list[Pinned]:
        """The samplers. Where the option sets the number of steps, the budget is `most` unless given."""
        joined = "," if ":" in self.spec else ":"
        budget = self.budget or (most if self.swept in ADAPTIVE_OPTIONS else None)
        return [Pinned(f"{self.spec}{joined}{self.option}={value}", budget) for value in self.values]


class Swept(NamedTuple):
    """An option of a sampler, both by name."""

    name: str
    option: str


ADAPTIVE_OPTIONS = frozenset(Swept(name, option) for name, (option, _) in ADAPTIVE.items())


def parse_sweep(text: str) -> Sweep:
    """Read `NAME.option=VALUE,VALUE`, `NAME.option=FIRST:LAST:STEP` or `NAME:key=value.option=...`, each with @STEPS.

    Raises UserError on an unknown sampler or option, a value the sampler refuses, and a range that is none.
    """
    whole = parse_pinned(text)
    match = SHAPE.fullmatch(whole.spec)
    if match is None:
        raise UserError(f"cannot read the sweep `{text}`: write NAME.option=VALUES, e.g. {EXAMPLE}")
    spec, option = match["spec"].strip(), match["option"].replace("-", "_")
    name, fixed = parse_spec(spec)
    check_sampler_name(name, SAMPLERS)
    check_sampler_options(name, [option], sampler_options(name), COMMON_OPTIONS)
    if option in fixed:
        raise UserError(f"`{text}` both sets and sweeps `{option}`; leave it out before the point")
    sweep = Sweep(spec, option, tuple(dict.fromkeys(_values(match["values"], text))), whole.budget)
    for each in sweep.pinned(1):
        make_sampler(each.spec, end_token=0)
    return sweep


def _values(text: str, whole: str) -> list[str]:
    if ":" in text:
        return _range(text, whole)
    values = [value.strip() for value in text.split(",")]
    if not all(values):
        raise UserError(f"the sweep `{whole}` has an empty value; write e.g. {EXAMPLE}")
    return values


def _range(text: str, whole: str) -> list[str]:
    """FIRST:LAST:STEP in decimals, LAST included where a step falls on it."""
    try:
        first, last, step = map(Decimal, text.split(":"))
        if not (first.is_finite() and last.is_finite() and step.is_finite()):
            raise InvalidOperation
    except (InvalidOperation, ValueError):
        raise UserError(f"cannot read the range `{text}` of `{whole}`: write FIRST:LAST:STEP, e.g. {EXAMPLE}") from None
    if step == 0 or (last - first) / step < 0:
        raise UserError(f"the range `{text}` of `{whole}` never gets from {first} to {last} in steps of {step}")
    count = int((last - first) / step) + 1
    if count > MOST:
        raise UserError(f"the range `{text}` of `{whole}` has {count} values; at most {MOST} are swept")
    return [f"{first + number * step:f}" for number in range(count)]

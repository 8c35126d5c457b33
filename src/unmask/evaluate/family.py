"""What belongs on one curve: a sampler without the option that is swept, over its budgets and levels."""

from collections.abc import Collection

from unmask.evaluate.sweep import ADAPTIVE_OPTIONS, Swept

ONE_PER_STEP = ":one-per-step"  # after the label of a learned order made to reveal one position at a time


def family(sampler: str, learned: bool = False, swept: Collection[Swept] = ADAPTIVE_OPTIONS) -> str:
    """The name of the curve a row of the table lies on.

    `threshold:level=0.7,eot=defer` -> `threshold:eot=defer`; `margin:block=8` stays. A learned order's is its
    label, the slowest point of its curve being the one where it reveals one position per step.
    """
    if learned:
        return sampler.removesuffix(ONE_PER_STEP)
    name, _, options = sampler.partition(":")
    fixed = [item for item in options.split(",") if item and Swept(name, key_of(item)) not in swept]
    return ":".join(filter(None, (name, ",".join(fixed))))


def key_of(item: str) -> str:
    """The option that `key=value` sets."""
    return item.partition("=")[0].strip().replace("-", "_")

"""The many ways to write down one solution: which factor first, which summand first, which branch first.

    "a*b; c*d; r1+r2"    <<4*3=12>> <<2*5=10>> <<12+10=22>>
                         <<5*2=10>> <<4*3=12>> <<12+10=22>>    and six more

People who solve a problem choose among such ways without thinking, and a text written by people is not a function of
its question. Neither is this one: where two positions of a response depend on the same choice, writing both at once
may mix two ways (`<<4*4=12>>`), however good the denoiser. That is what an order has to know.
"""

import re
from collections.abc import Sequence
from random import Random
from typing import NamedTuple


class Step(NamedTuple):
    """One equation: operands are names in the scope (`a`, `r1`, `12`), applied from left to right."""

    operands: tuple[str, ...]
    operators: tuple[str, ...]


def shuffled(items: Sequence[str], rng: Random) -> list[str]:
    """`items` in a random order, all orders equally likely. Only rng.random() is drawn from."""
    left = list(items)
    return [left.pop(int(rng.random() * len(left))) for _ in range(len(items))]


def rearranged(step: Step, rng: Random) -> Step:
    """An equal step: factors trade places, so do summands, and so do the numbers that are taken away.

    The operators stay where they are, so that every way of writing is equally long in numbers. A division, or a mix
    of products and sums, stays as it is.
    """
    operands, operators = step
    signs = ("*" if set(operators) == {"*"} else "+", *operators)
    if not (set(signs) == {"*"} or set(signs) <= {"+", "-"}):
        return step
    pools = {
        sign: shuffled([x for x, its in zip(operands, signs, strict=True) if its == sign], rng)
        for sign in sorted(set(signs))
    }
    return Step(tuple(pools[sign].pop(0) for sign in signs), operators)


def sequence(steps: Sequence[Step], rng: Random) -> list[int]:
    """A random order to write the steps in, each after those whose results it uses; numbers from 0.

    At every point each step that could come next is equally likely.
    """
    needs = [{int(x[1:]) - 1 for x in step.operands if re.fullmatch(r"r\d", x)} for step in steps]
    order: list[int] = []
    while len(order) < len(steps):
        ready = [i for i in range(len(steps)) if i not in order and needs[i] <= set(order)]
        order.append(ready[int(rng.random() * len(ready))])
    return order

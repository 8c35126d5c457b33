"""Several training sets as one endless sequence, each with its share."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from unmask.core.errors import UserError
from unmask.tasks.base import ENDLESS, Example
from unmask.tasks.sequence import Lazy


class Part(NamedTuple):
    """Examples, and the share of the mixture drawn from them."""

    examples: Sequence[Example]
    share: float


def mixed(parts: Sequence[Part]) -> Sequence[Example]:
    """Example i comes from one part, by its share, and there from anywhere: a pure function of i.

    Shares must be positive and sum to 1; raises UserError otherwise.
    """
    total = sum(part.share for part in parts)
    if min(part.share for part in parts) <= 0 or abs(total - 1) > 1e-6:
        raise UserError(f"shares of a mixture must be above 0 and sum to 1, got {[part.share for part in parts]}")

    def make(index: int) -> Example:
        draw = random.Random(f"mixed/{index}")
        part = draw.choices(parts, [part.share for part in parts])[0]
        return part.examples[draw.randrange(len(part.examples))]

    return Lazy(make, ENDLESS)

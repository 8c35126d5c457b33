"""One entry for every family of `FAMILIES`: the contract tests run over all of them."""

from .tiny import Tiny
from .tiny_llada import TINY_LLADA

TINY: dict[str, Tiny] = {
    "llada": TINY_LLADA,
}

"""One entry for every family of `FAMILIES`: the contract tests run over all of them."""

from .tiny import Tiny
from .tiny_dream import TINY_DREAM
from .tiny_llada import TINY_LLADA
from .tiny_smdm import TINY_SMDM

TINY: dict[str, Tiny] = {
    "llada": TINY_LLADA,
    "dream": TINY_DREAM,
    "smdm": TINY_SMDM,
}

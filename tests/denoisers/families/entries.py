"""One entry for every family of `FAMILIES`: the contract tests run over all of them."""

from .tiny import Tiny
from .tiny_bert import TINY_BERT
from .tiny_dream import TINY_DREAM
from .tiny_llada import TINY_LLADA
from .tiny_mdlm import TINY_MDLM
from .tiny_modern_bert import TINY_MODERN_BERT
from .tiny_smdm import TINY_SMDM

TINY: dict[str, Tiny] = {
    "llada": TINY_LLADA,
    "dream": TINY_DREAM,
    "smdm": TINY_SMDM,
    "mdlm": TINY_MDLM,
    "bert": TINY_BERT,
    "modern_bert": TINY_MODERN_BERT,
}

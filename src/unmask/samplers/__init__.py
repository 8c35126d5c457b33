"""The samplers, by name, and how to make one from a line of text."""

import inspect

from unmask.core.errors import UserError
from unmask.core.registry import Option, Spec, check_name, parse_spec
from unmask.reveals.base import OrderPolicy
from unmask.samplers.base import Selection, State, Unmasker
from unmask.samplers.blockwise import Blockwise
from unmask.samplers.budgeted import Budgeted
from unmask.samplers.decode import Decoded, Step, decode_canvas
from unmask.samplers.dilated import Dilated
from unmask.samplers.end_of_text import END_RULES, EndOfText
from unmask.samplers.entropy import Entropy
from unmask.samplers.entropy_bounded import EntropyBounded
from unmask.samplers.factor import Factor
from unmask.samplers.halton import Halton
from unmask.samplers.iid import IID
from unmask.samplers.klass import KLASS
from unmask.samplers.learned import DecodeRule, Learned
from unmask.samplers.least_certain import LeastCertain
from unmask.samplers.left_to_right import LeftToRight
from unmask.samplers.margin import Margin
from unmask.samplers.options import check_choice
from unmask.samplers.pc import PC
from unmask.samplers.slowfast import SlowFast
from unmask.samplers.threshold import Threshold
from unmask.samplers.top_prob import TopProb
from unmask.samplers.uniform import Random

SAMPLERS: dict[str, type[Unmasker]] = {
    "iid": IID,
    "random": Random,
    "left-to-right": LeftToRight,
    "top-prob": TopProb,
    "margin": Margin,
    "entropy": Entropy,
    "threshold": Threshold,
    "factor": Factor,
    "entropy-bounded": EntropyBounded,
    "klass": KLASS,
    "slowfast": SlowFast,
    "pc": PC,
    "least-certain": LeastCertain,
    "dilated": Dilated,
    "halton": Halton,
}

COMMON_OPTIONS: dict[str, str] = {
    "block": "positions per block, opened from left to right (whole, at least 1; default: no blocks)",
    "eot": "when predicted ends of text may be revealed (free, defer, tail; default: free)",
    "pace": "top each step up to an even pace; exact also cuts it (true, false, exact; default: false)",
}


def wrap(
    unmasker: Unmasker,
    *,
    block: Option | None = None,
    eot: Option = "free",
    pace: Option = False,
    end_token: int | None = None,
) -> Unmasker:
    """Put the common options around any sampler: Blockwise(Budgeted(EndOfText(unmasker))), where asked for.

    The end-of-text rule is innermost, so that the pace counts the positions it holds back and takes them
    last; blocks are outermost, so that rule and pace apply to each block as to a whole response.
    """
    check_choice("eot", eot, END_RULES)
    pace = str(pace).lower()
    check_choice("pace", pace, ("true", "false", "exact"))
    if eot != "free":
        if end_token is None:
            raise UserError(f"eot={eot} needs an end token, and this denoiser names none: use eot=free")
        unmasker = EndOfText(unmasker, eot, end_token)  # type: ignore[arg-type]
    if pace != "false":
        unmasker = Budgeted(unmasker, exact=pace == "exact")
    if block is not None:
        unmasker = Blockwise(unmasker, block)  # type: ignore[arg-type]
    return unmasker


def make_sampler(sampler: str | Spec | Unmasker, end_token: int | None = None) -> Unmasker:
    """The sampler that `NAME:key=value,...` names, e.g. `threshold:level=0.7,block=32`; an Unmasker as it is.

    Every name takes the options of `COMMON_OPTIONS`; the others are the fields of its class. `end_token` is
    needed for an end-of-text rule only. Raises UserError that says what was wrong and what would be right.
    """
    if isinstance(sampler, str):
        sampler = parse_spec(sampler)
    if not isinstance(sampler, Spec):
        return sampler
    name, options = sampler
    if name == "learned":
        raise UserError("`learned` is not made from a name: load the order from its folder (--order DIR)")
    kind = SAMPLERS[check_name(name, SAMPLERS, "sampler", hint="unmask list samplers")]
    own = sampler_options(name)
    for key in options:
        check_name(key, [*own, *COMMON_OPTIONS], f"option of `{name}`")
    common = {key: value for key, value in options.items() if key not in own}
    unmasker = kind(**{key: value for key, value in options.items() if key in own})
    return wrap(unmasker, end_token=end_token, **common)


def sampler_options(name: str) -> dict[str, Option]:
    """The sampler's own options with their defaults, without the common ones."""
    return {key: parameter.default for key, parameter in inspect.signature(SAMPLERS[name]).parameters.items()}


__all__ = [
    "COMMON_OPTIONS",
    "END_RULES",
    "SAMPLERS",
    "Blockwise",
    "Budgeted",
    "DecodeRule",
    "Decoded",
    "EndOfText",
    "Learned",
    "OrderPolicy",
    "Selection",
    "State",
    "Step",
    "Unmasker",
    "decode_canvas",
    "make_sampler",
    "sampler_options",
    "wrap",
]

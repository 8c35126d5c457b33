"""The samplers, by name, and how to make one from a line of text."""

import inspect

from unmask.core.errors import UserError
from unmask.core.registry import Option, Spec, check_sampler_name, check_sampler_options, parse_spec
from unmask.reveals.base import OrderPolicy
from unmask.samplers.base import AnyUnmasker, Edit, Editor, Selection, State, Unmasker, check_sampler
from unmask.samplers.blockwise import Blockwise, BlockwiseEditor
from unmask.samplers.budgeted import Budgeted
from unmask.samplers.decode import Decoded, Step, decode_canvas
from unmask.samplers.dilated import Dilated
from unmask.samplers.early_exit import EarlyExit
from unmask.samplers.end_of_text import END_RULES, EndOfText, Ends, end_ids
from unmask.samplers.entropy import Entropy
from unmask.samplers.entropy_bounded import EntropyBounded
from unmask.samplers.factor import Factor
from unmask.samplers.frontier import Frontier
from unmask.samplers.halton import Halton
from unmask.samplers.iid import IID
from unmask.samplers.klass import KLASS
from unmask.samplers.learned import DecodeRule, Learned
from unmask.samplers.least_certain import LeastCertain
from unmask.samplers.left_to_right import LeftToRight
from unmask.samplers.margin import Margin
from unmask.samplers.options import check_answer, check_choice
from unmask.samplers.p2 import P2
from unmask.samplers.pc import PC
from unmask.samplers.remdm import ReMDM
from unmask.samplers.slowfast import SlowFast
from unmask.samplers.threshold import Threshold
from unmask.samplers.top_prob import TopProb
from unmask.samplers.uniform import Random
from unmask.samplers.wino import WINO

SAMPLERS: dict[str, type[AnyUnmasker]] = {
    "iid": IID,
    "random": Random,
    "left-to-right": LeftToRight,
    "top-prob": TopProb,
    "margin": Margin,
    "entropy": Entropy,
    "threshold": Threshold,
    "frontier": Frontier,
    "factor": Factor,
    "entropy-bounded": EntropyBounded,
    "klass": KLASS,
    "slowfast": SlowFast,
    "pc": PC,
    "least-certain": LeastCertain,
    "dilated": Dilated,
    "halton": Halton,
    "wino": WINO,
    "remdm": ReMDM,
    "p2": P2,
}

COMMON_OPTIONS: dict[str, str] = {
    "block": "positions per block, opened from left to right (whole, at least 1; default: no blocks)",
    "eot": "when predicted ends of text may be revealed (free, defer, tail, zero; default: free)",
    "pace": "top each step up to an even pace; exact also cuts it (true, false, exact; default: false)",
    "exit": "reveal all once the answer is certain (never, prophet; default: never)",
    "answer": "for exit=prophet: where it is, the whole response or its last positions (all, at least 1; default: all)",
}


def wrap(
    unmasker: AnyUnmasker,
    *,
    block: Option | None = None,
    eot: Option = "free",
    pace: Option = False,
    exit: Option = "never",
    answer: Option = "all",
    end_token: Ends | None = None,
) -> AnyUnmasker:
    """Put the common options around any sampler: EarlyExit(Blockwise(Budgeted(EndOfText(unmasker)))), where asked for.

    The end-of-text rule is innermost, so that the pace counts the positions it holds back and takes them
    last; blocks are around both, so that rule and pace apply to each block as to a whole response; the early exit
    waits for none of them. Samplers that re-mask take blocks only.
    """
    check_sampler(unmasker)
    check_choice("eot", eot, END_RULES)
    pace = str(pace).lower()
    check_choice("pace", pace, ("true", "false", "exact"))
    check_choice("exit", exit, ("never", "prophet"))
    check_answer("answer", answer)
    if answer != "all" and exit == "never":
        raise UserError(f"answer={answer} says where an early exit looks, and there is none: add exit=prophet")
    if eot != "free":
        if not end_ids(end_token):
            raise UserError(f"eot={eot} needs an end token, and this denoiser names none: use eot=free")
        unmasker = EndOfText(unmasker, eot, end_ids(end_token))  # type: ignore[arg-type]
    if pace != "false":
        unmasker = Budgeted(unmasker, exact=pace == "exact")  # type: ignore[arg-type]
    if block is not None:
        kind = BlockwiseEditor if isinstance(unmasker, Editor) else Blockwise
        unmasker = kind(unmasker, block)  # type: ignore[arg-type]
    if exit == "prophet":
        unmasker = EarlyExit(unmasker, answer)  # type: ignore[arg-type]
    return unmasker


def make_sampler(sampler: str | Spec | AnyUnmasker, end_token: Ends | None = None) -> AnyUnmasker:
    """The sampler that `NAME:key=value,...` names, e.g. `threshold:level=0.7,block=32`; an Unmasker as it is.

    Every name takes the options of `COMMON_OPTIONS`; the others are the fields of its class. `end_token`, an id
    or several (`codec.end_tokens`), is needed for an end-of-text rule only. Raises UserError that says what was wrong
    and what would be right.
    """
    if isinstance(sampler, str):
        sampler = parse_spec(sampler)
    if not isinstance(sampler, Spec):
        check_sampler(sampler)
        return sampler
    name, options = sampler
    if name == "learned":
        raise UserError("`learned` is not made from a name: load the order from its folder (--order DIR)")
    kind = SAMPLERS[check_sampler_name(name, SAMPLERS)]
    own = sampler_options(name)
    check_sampler_options(name, options, own, COMMON_OPTIONS)
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
    "AnyUnmasker",
    "Blockwise",
    "BlockwiseEditor",
    "Budgeted",
    "DecodeRule",
    "Decoded",
    "EarlyExit",
    "Edit",
    "Editor",
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

"""Model families whose checkpoints are read as they are. A new one: one file, one test, one line here."""

import difflib

from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.families.base import Family
from unmask.denoisers.families.bert import BERT
from unmask.denoisers.families.dream import DREAM
from unmask.denoisers.families.llada import LLADA
from unmask.denoisers.families.mdlm import MDLM
from unmask.denoisers.families.modern_bert import MODERN_BERT
from unmask.denoisers.families.smdm import SMDM

FAMILIES: dict[str, Family] = {
    "llada": LLADA,
    "dream": DREAM,
    "smdm": SMDM,
    "mdlm": MDLM,
    "bert": BERT,
    "modern_bert": MODERN_BERT,
}


def recognise(checkpoint: Checkpoint) -> str:
    """The name of its family. Raises UserError with the nearest ones if it is of none."""
    for name, family in FAMILIES.items():
        if family.is_of(checkpoint):
            return name
    kind = checkpoint.config.get("model_type")
    said = ", ".join(map(str, checkpoint.config.get("architectures") or []))
    if kind is None:
        what = f"{checkpoint.path} has no config.json that says what it is, and its tensors are of no known family"
    else:
        what = f"unknown architecture `{kind}`" + (f" ({said})" if said else "") + f" in {checkpoint.path}"
    known = {kind.lower(): name for name, family in FAMILIES.items() for kind in (name, *family.model_types)}
    near = {known[close]: None for close in difflib.get_close_matches(str(kind).lower(), known, n=3, cutoff=0.4)}
    meant = f" The nearest: {', '.join(near)}." if near else ""
    raise UserError(
        f"{what}.{meant} Families: {', '.join(FAMILIES)}; docs/guides/checkpoints.md shows how to write an adapter"
    )

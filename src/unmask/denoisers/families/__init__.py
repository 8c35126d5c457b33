"""Model families whose checkpoints are read as they are. A new one: one file, one test, one line here."""

import difflib
import re
from collections.abc import Sequence

from unmask.core.errors import UserError
from unmask.denoisers.checkpoint import Checkpoint
from unmask.denoisers.families.base import Family, architectures
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


# What the class of a model says of the kind it is, and why it is no denoiser.
KINDS = (
    (r"(ForCausalLM|LMHeadModel|DoubleHeadsModel)$",
     "it is an autoregressive (causal) model, which writes from left to right and knows no mask token"),
    (r"(ForConditionalGeneration|ForSeq2SeqLM)$", "it writes with an encoder and a decoder, and not into a canvas"),
    (r"(ForSequenceClassification|ForTokenClassification|ForQuestionAnswering|ForMultipleChoice)$",
     "it classifies, and writes nothing"),
)  # fmt: skip
CAUSAL = {
    "llama", "gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "falcon", "mistral", "mixtral", "qwen2", "qwen3",
    "qwen2_moe", "qwen3_moe", "gemma", "gemma2", "gemma3", "gemma3_text", "phi", "phi3", "olmo", "olmo2", "starcoder2",
    "deepseek_v2", "deepseek_v3", "gpt_oss", "smollm3", "stablelm", "mpt", "mamba",
}  # fmt: skip


def recognise(checkpoint: Checkpoint) -> str:
    """The name of its family. Raises UserError with the nearest ones if it is of none."""
    for name, family in FAMILIES.items():
        if family.is_of(checkpoint):
            return name
    kind = checkpoint.config.get("model_type")
    classes = architectures(checkpoint)
    known = {each.lower(): name for name, family in FAMILIES.items() for each in (name, *family.model_types)}
    said = ", ".join(classes)
    if kind is None and checkpoint.config:
        what = f"config.json in {checkpoint.folder} has no `model_type`" + (f" ({said})" if said else "")
        what += f'; write there what it is, e.g. "model_type": "{next(iter(FAMILIES.values())).model_types[0]}"'
    elif kind is None:
        what = f"{checkpoint.path} has no config.json that says what it is, and its tensors are of no known family"
    else:
        what = f"unknown architecture `{kind}`" + (f" ({said})" if said else "") + f" in {checkpoint.path}"
    if (own := known.get(str(kind).lower())) is not None and FAMILIES[own].architectures:
        what += f"; of that type only {' and '.join(FAMILIES[own].architectures)} can be read"
    elif (why := no_denoiser(str(kind), classes)) is not None:
        what += f": {why}"
    near = {known[close]: None for close in difflib.get_close_matches(str(kind).lower(), known, n=3, cutoff=0.4)}
    meant = f" The nearest: {', '.join(near)}." if near else ""
    raise UserError(
        f"{what}.{meant} Families: {', '.join(FAMILIES)}; docs/guides/checkpoints.md shows how to write an adapter"
    )


def no_denoiser(kind: str, classes: Sequence[str]) -> str | None:
    """Why a model of another kind is none that fills masks; None where nobody knows."""
    found = (why for pattern, why in KINDS if any(re.search(pattern, name) for name in classes))
    return next(found, KINDS[0][1] if kind.lower() in CAUSAL else None)

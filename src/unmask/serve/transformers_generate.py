"""`model.generate` of transformers, decoding as a masked-diffusion model: `custom_generate` as a callable or a folder.

    model.generate(**inputs, max_new_tokens=64, custom_generate=unmask.generate_with("margin", budget=16))
"""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.core.files import replacing_folder
from unmask.denoisers.from_transformers import Attention, denoiser_from_transformers
from unmask.orders.folder import load_order
from unmask.samplers import make_sampler
from unmask.samplers.decode import decode_canvas
from unmask.samplers.generate import ForBudget, Sampler
from unmask.samplers.learned import Learned
from unmask.samplers.options import check_whole

NOT_OURS = {"top_k": (None, 0, 50), "top_p": (None, 1.0), "num_beams": (None, 1), "repetition_penalty": (None, 1.0)}


def generate_with(
    sampler: Sampler = "top-prob",
    *,
    budget: int | None = None,
    order: str | Path | None = None,
    mask_token: int | None = None,
    shift: bool = False,
    attention: Attention = "padding",
    seed: int = 0,
) -> Callable[..., Any]:
    """A function for `model.generate(custom_generate=...)`, which also takes `budget` and `seed` of its own.

    sampler: `NAME:key=value,...`, an Unmasker or a learned order. order: the folder of one, or owner/name.
    budget:  the most forward passes; as many as there are new tokens unless given.
    mask_token, shift, attention: see `denoiser_from_transformers`.

    Of the generation config it heeds max_new_tokens or max_length (every row gets that many masked positions),
    do_sample with temperature, num_return_sequences, eos_token_id and pad_token_id (what follows the first end of text
    is padding) and return_dict_in_generate. Tokens are drawn from the whole law: top_k and top_p are refused, but for
    the 50 that transformers assumes where nothing is said. Logits processors, stopping criteria and the cache are for
    writing from left to right and are not used.

    The function returns long [B, prompt + new]. Raises UserError that says which argument was wrong.
    """
    if order is not None and sampler != "top-prob":
        raise UserError("give sampler or order, not both")
    own_budget, own_seed = budget, seed
    loaded = lru_cache(maxsize=1)(load_order)

    def unmask_generate(
        model: Any,
        input_ids: Tensor,
        generation_config: Any,
        budget: int | None = None,
        seed: int | None = None,
        **prepared: Any,  # by transformers; a name of these in the signature would be given twice
    ) -> Any:
        for name, harmless in NOT_OURS.items():
            if (value := getattr(generation_config, name, None)) not in harmless:
                raise UserError(f"{name}={value} is not for masked-diffusion decoding: leave it out")
        length = generation_config.max_length - input_ids.shape[1]
        budget = next((given for given in (budget, own_budget) if given is not None), length)
        check_whole("budget", budget, 1)
        chosen: Sampler = loaded(order, str(model.device)) if order is not None else sampler
        ends = end_tokens(generation_config)
        unmasker = chosen.unmasker(budget) if isinstance(chosen, ForBudget) else make_sampler(chosen, ends)
        learned = isinstance(chosen, ForBudget | Learned)
        denoiser = denoiser_from_transformers(model, mask_token, shift=shift, attention=attention, hidden=learned)
        decoded = decode_canvas(
            denoiser,
            blank_canvas(input_ids, prepared.get("attention_mask"), length, budget),
            unmasker,
            seed=own_seed if seed is None else seed,
            temperature=float(generation_config.temperature or 0.0) if generation_config.do_sample else 0.0,
        )
        sequences = padded_after_end(decoded.canvas.tokens, input_ids.shape[1], ends, generation_config.pad_token_id)
        if not generation_config.return_dict_in_generate:
            return sequences
        from transformers.generation import GenerateDecoderOnlyOutput

        return GenerateDecoderOnlyOutput(sequences=sequences)

    return unmask_generate


def blank_canvas(input_ids: Tensor, attention_mask: Tensor | None, length: int, budget: int) -> Canvas:
    """Prompts (long [B, P]) on the left, `length` masked positions on the right. attention_mask: 0 on padding."""
    if length < 1:
        raise UserError(f"there is no room for new tokens after {input_ids.shape[1]}: pass max_new_tokens")
    rows, width = input_ids.shape
    seen = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    new = torch.zeros(rows, length, dtype=torch.long, device=input_ids.device)
    masked = torch.arange(width + length, device=input_ids.device).expand(rows, -1) >= width
    valid = torch.cat([seen.bool(), torch.ones_like(new, dtype=torch.bool)], dim=1)
    if bool((valid[:, 1:] < valid[:, :-1]).any()):
        raise UserError("prompts must be padded on the left, so that responses follow them: padding_side='left'")
    return Canvas.make(torch.cat([input_ids, new], dim=1), masked, budget, valid)


def end_tokens(generation_config: Any) -> list[int]:
    """The ids that end a text: none, one or several."""
    ends = generation_config.eos_token_id
    return [] if ends is None else [int(end) for end in (ends if isinstance(ends, list | tuple) else [ends])]


def padded_after_end(tokens: Tensor, width: int, ends: list[int], pad: int | None) -> Tensor:
    """`tokens` (long [B, width + new]) with padding after the first end of text of each response."""
    if not ends:
        return tokens
    ended = torch.isin(tokens, torch.tensor(ends, device=tokens.device)).long()
    ended[:, :width] = 0
    after = ended.cumsum(dim=1) - ended > 0
    return tokens.masked_fill(after, ends[0] if pad is None else pad)


GENERATE = '''"""Masked-diffusion decoding by unmask: `model.generate(custom_generate=...)` finds `generate` here."""

import unmask

ARGUMENTS = {arguments}


def generate(model, inputs=None, **arguments):
    """Decode with the sampler or learned order named above; `budget` is the most forward passes."""
    chosen = unmask.generate_with(**ARGUMENTS)
    arguments = {{name: value for name, value in arguments.items() if value is not None}}
    return model.generate(inputs, custom_generate=chosen, **arguments)
'''

CARD = """---
library_name: transformers
tags:
- custom_generate
- masked-diffusion
---

# Masked-diffusion decoding with `{name}`

Writes the new tokens of a masked-diffusion language model many at a time, in the order that {what} says, in at most
`budget` forward passes{default}.

```python
model.generate(**inputs, max_new_tokens=64, budget=16, custom_generate="REPOSITORY", trust_remote_code=True)
```

The model must be a masked one: its mask token is {mask}, and its logits are {aligned}. Heeded of the generation config:
max_new_tokens, do_sample with temperature, num_return_sequences, eos_token_id and pad_token_id; top_k and top_p are
refused.

The code is in `custom_generate/generate.py`, a few lines around the package `unmask`, which has to be installed.
"""


def export_custom_generate(
    folder: str | Path,
    sampler: str = "top-prob",
    *,
    budget: int | None = None,
    order: str | None = None,
    mask_token: int | None = None,
    shift: bool = False,
    attention: Attention = "padding",
) -> Path:
    """Write a folder that is a `custom_generate` repository, ready to push; it holds no weights and no model.

    order: owner/name of a learned order on the hub (transformers copies only the code of such a folder), or an absolute
    path for use on this machine. Other arguments: see `generate_with`. Replaces the folder in one go.
    Raises UserError on a sampler that cannot be.
    """
    from unmask import __version__

    if order is not None and sampler != "top-prob":
        raise UserError("give sampler or order, not both")
    make_sampler(sampler, end_token=0)
    given = {"budget": budget, "order": order, "mask_token": mask_token, "shift": shift, "attention": attention}
    arguments = {name: value for name, value in given.items() if value not in (None, False, "padding")}
    if order is None:
        arguments = {"sampler": sampler, **arguments}
    folder = Path(folder)
    with replacing_folder(folder, is_exported) as temporary:
        code = temporary / "custom_generate"
        code.mkdir()
        (code / "generate.py").write_text(GENERATE.format(arguments=python_literal(arguments)), encoding="utf-8")
        (code / "requirements.txt").write_text(f"unmask>={__version__}\n", encoding="utf-8")
        card = CARD.format(
            name=order or sampler,
            what=f"the learned order `{order}`" if order else f"`{sampler}`",
            default="" if budget is None else f", {budget} unless told otherwise",
            mask="what the model's configuration says" if mask_token is None else f"number {mask_token}",
            aligned="shifted by one position" if shift else "about the position they stand at",
        )
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return folder


def is_exported(folder: Path) -> bool:
    """Whether a folder is one that `export_custom_generate` wrote."""
    requirements = folder / "custom_generate" / "requirements.txt"
    return requirements.is_file() and requirements.read_text(encoding="utf-8", errors="replace").startswith("unmask>=")


def python_literal(arguments: dict[str, Any]) -> str:
    """A dict of plain values as Python source."""
    return "{" + ", ".join(f"{json.dumps(name)}: {value!r}" for name, value in arguments.items()) + "}"

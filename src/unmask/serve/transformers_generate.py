"""`model.generate` of transformers, decoding as a masked-diffusion model: `custom_generate` as a callable or a folder.

    model.generate(**inputs, max_new_tokens=64, custom_generate=unmask.generate_with("margin", budget=16))
"""

import json
import sys
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.core.files import replacing_folder
from unmask.core.texts import in_code
from unmask.denoisers.from_transformers import Attention, check_impossible, denoiser_from_transformers, ids_of
from unmask.orders.folder import load_order
from unmask.samplers import make_sampler
from unmask.samplers.decode import decode_canvas
from unmask.samplers.generate import ForBudget, Sampler
from unmask.samplers.learned import Learned
from unmask.samplers.neutral import NEUTRAL, unheeded
from unmask.samplers.options import check_whole

# Entries of a generation config that are heeded, or that say nothing of what is written.
HEEDED = {
    "max_length", "max_new_tokens", "do_sample", "temperature", "num_return_sequences", "eos_token_id", "pad_token_id",
    "return_dict_in_generate", "bos_token_id", "decoder_start_token_id", "transformers_version",
}  # fmt: skip
# Arguments of `generate` itself that are.
HEEDED_ARGUMENTS = {"inputs", "generation_config", "streamer", "custom_generate"}
# Inputs of the model that are.
HEEDED_INPUTS = {"input_ids", "attention_mask"}
ASSUMED = {**NEUTRAL, "top_k": (0, 50)}  # 50 is what transformers assumes where nothing is said


def generate_with(
    sampler: Sampler = "top-prob",
    *,
    budget: int | None = None,
    order: str | Path | None = None,
    mask_token: int | None = None,
    shift: bool = False,
    attention: Attention = "padding",
    seed: int = 0,
    tokenizer: Any = None,
    impossible: Collection[int] = (),
) -> Callable[..., Any]:
    """A function for `model.generate(custom_generate=...)`, which also takes `budget` and `seed` of its own.

    sampler: `NAME:key=value,...`, an Unmasker or a learned order. order: the folder of one, or owner/name.
    budget:  the most forward passes; as many as there are new tokens unless given.
    mask_token, shift, attention: see `denoiser_from_transformers`.
    tokenizer: the model's. Embeddings are padded to round sizes, and without it an id that is no token may be drawn:
        `generate` does not hand the tokenizer on. impossible: other ids that must never be written.

    Of the generation config it heeds max_new_tokens or max_length (every row gets that many masked positions),
    do_sample with temperature, num_return_sequences, eos_token_id and pad_token_id (what follows the first end of text
    is padding) and return_dict_in_generate. A streamer is given what was written once it is. Everything else, of the
    config or of `generate` itself (top_k, top_p, logits processors, stopping criteria, beams, an assistant ...), is
    refused by name where it asks for something: tokens are drawn from the whole law, and not from left to right.

    The function returns long [B, prompt + new]. Raises UserError that says which argument was wrong.
    """
    if order is not None and sampler != "top-prob":
        raise UserError("give sampler or order, not both")
    own_budget, own_seed = budget, seed
    never = check_impossible(impossible)
    if tokenizer is not None:
        ids_of(tokenizer)  # what is wrong with it shows now
    loaded = lru_cache(maxsize=1)(load_order)

    def unmask_generate(
        model: Any,
        input_ids: Tensor,
        generation_config: Any,
        budget: int | None = None,
        seed: int | None = None,
        **prepared: Any,  # by transformers; a name of these in the signature would be given twice
    ) -> Any:
        asked = arguments_of(sys._getframe(1))
        refuse_unheeded(generation_config, asked, model.generation_config)
        if getattr(model.config, "is_encoder_decoder", False):
            raise UserError(f"{type(model).__name__} writes what another part of it read: it is no masked denoiser")
        length = generation_config.max_length - input_ids.shape[1]
        budget = next((given for given in (budget, own_budget) if given is not None), length)
        check_whole("budget", budget, 1)
        chosen: Sampler = loaded(order, str(model.device)) if order is not None else sampler
        ends = end_tokens(generation_config)
        unmasker = chosen.unmasker(budget) if isinstance(chosen, ForBudget) else make_sampler(chosen, ends)
        learned = isinstance(chosen, ForBudget | Learned)
        denoiser = denoiser_from_transformers(
            model, mask_token, shift=shift, attention=attention, hidden=learned, tokenizer=tokenizer, impossible=never
        )
        decoded = decode_canvas(
            denoiser,
            blank_canvas(input_ids, prepared.get("attention_mask"), length, budget),
            unmasker,
            seed=own_seed if seed is None else seed,
            temperature=temperature_of(generation_config),
        )
        sequences = padded_after_end(decoded.canvas.tokens, input_ids.shape[1], ends, generation_config.pad_token_id)
        if asked.get("streamer") is not None:
            stream(asked["streamer"], sequences[:, input_ids.shape[1] :], ends)
        if not generation_config.return_dict_in_generate:
            return sequences
        from transformers.generation import GenerateDecoderOnlyOutput

        return GenerateDecoderOnlyOutput(sequences=sequences)

    return unmask_generate


def arguments_of(frame: FrameType) -> dict[str, Any]:
    """What `generate` was called with: all its arguments, in `inputs_of_model` those for the model.

    transformers hands a callable only some of them, and not the streamer, so they are read where they are: `frame` is
    that of its `generate`. Of any other caller nothing is known, and nothing is assumed.
    """
    found = frame.f_locals
    if frame.f_code.co_name != "generate" or "generation_mode_kwargs" not in found:
        return {}
    names = frame.f_code.co_varnames[1 : frame.f_code.co_argcount]  # without self
    config = vars(found["generation_config"])
    inputs = {name: value for name, value in found.get("kwargs", {}).items() if name not in config}
    return {name: found.get(name) for name in names} | {"inputs_of_model": inputs}


def refuse_unheeded(generation_config: Any, asked: Mapping[str, Any], own: Any = None) -> None:
    """Raise UserError naming everything that was asked for and is not done.

    own: the model's generation config, which may have entries that transformers knows nothing of, for code of its own.
    """
    config = {
        name: value
        for name, value in vars(generation_config).items()
        if not name.startswith("_") and (name in transformers_entries() or value != getattr(own, name, None))
    }
    found = unheeded({name: value for name, value in config.items() if name not in HEEDED}, ASSUMED)
    own = {name: value for name, value in asked.items() if name not in (*HEEDED_ARGUMENTS, "inputs_of_model")}
    found += [name for name in unheeded(own) if not _is_empty(own[name])]
    inputs = {name: value for name, value in asked.get("inputs_of_model", {}).items() if name not in HEEDED_INPUTS}
    found += [name for name in unheeded(inputs) if not (name == "token_type_ids" and not bool(inputs[name].any()))]
    if found:
        values = ", ".join(f"{name}={config[name]}" if name in config else name for name in found)
        one = len(found) == 1
        raise UserError(
            f"{values} {'is' if one else 'are'} not for masked-diffusion decoding: leave {'it' if one else 'them'} out"
        )


@lru_cache(maxsize=1)
def transformers_entries() -> frozenset[str]:
    """Names of the entries of its generation configs."""
    from transformers import GenerationConfig

    return frozenset(vars(GenerationConfig()))


def _is_empty(value: Any) -> bool:
    """Whether it is a list, of processors or criteria, with nothing in it."""
    return isinstance(value, list) and not value


def temperature_of(generation_config: Any) -> float:
    """0 for the most probable token."""
    if not generation_config.do_sample:
        return 0.0
    return 1.0 if generation_config.temperature is None else float(generation_config.temperature)


def stream(streamer: Any, written: Tensor, ends: list[int]) -> None:
    """Give a streamer what was written (long [B, new]) position by position, as far as any row goes, and end it.

    The prompt it has had from `generate`.
    """
    after = torch.isin(written, torch.tensor(ends, device=written.device, dtype=torch.long)).long().cumsum(dim=1)
    going = torch.cat([torch.ones_like(after[:, :1], dtype=torch.bool), after[:, :-1] == 0], dim=1).any(dim=0)
    for column in written[:, going].cpu().unbind(dim=1):
        streamer.put(column)
    streamer.end()


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
    if isinstance(ends, Tensor):
        ends = ends.flatten().tolist()
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
    chosen = unmask.generate_with(**ARGUMENTS, tokenizer=arguments.pop("tokenizer", None))
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
max_new_tokens, do_sample with temperature, num_return_sequences, eos_token_id and pad_token_id, and a streamer; what
else is asked for is refused by name. Given `tokenizer=tokenizer`, no id is written that is none of its tokens.

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
            name=in_code(order or sampler),
            what=f"the learned order `{in_code(order)}`" if order else f"`{in_code(sampler)}`",
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

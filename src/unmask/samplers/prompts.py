"""What `decode` may be given to answer: texts, conversations or token ids, checked before anything is written."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from unmask.core.errors import UserError
from unmask.core.texts import check_characters
from unmask.denoisers.chat import Conversation
from unmask.denoisers.codec import Codec
from unmask.denoisers.letters import strings
from unmask.denoisers.marks import HOW, has_mark

Prompt = str | Conversation | Sequence[int] | Tensor

KINDS = "texts, conversations ([{\"role\": \"user\", \"content\": ...}]) or lists of token ids"


def as_list(prompts: Any) -> list[Prompt]:
    """The prompts one by one; a single conversation is one of them, and a matrix of token ids is its rows.

    Raises UserError on anything else, naming the first that is no prompt.
    """
    if isinstance(prompts, str):
        raise UserError("prompts must be a list of texts, got a single one: put it in brackets")
    if isinstance(prompts, Mapping) and "input_ids" in prompts:
        raise UserError("prompts must be a list, got what a tokenizer returns: give its `input_ids`")
    if isinstance(prompts, Tensor) or getattr(getattr(prompts, "dtype", None), "kind", "") in ("i", "u", "f", "b"):
        ids = torch.as_tensor(prompts)
        if ids.dim() != 2:
            raise UserError(f"token ids must be [rows, positions], got {list(ids.shape)}: put a single row in brackets")
        prompts = list(ids)
    if not isinstance(prompts, Iterable) or isinstance(prompts, bytes | Mapping | set | frozenset):
        raise UserError(f"prompts must be a list of {KINDS}, got {_short(prompts)}")
    listed = list(prompts)
    if listed and all(isinstance(turn, Mapping) for turn in listed):
        listed = [listed]
    if not listed:
        raise UserError("there is no prompt to decode; give at least one")
    for number, prompt in enumerate(listed, start=1):
        _check(prompt, f"prompt {number}")
    return listed


def _check(prompt: Any, whose: str) -> None:
    if isinstance(prompt, str):
        check_characters(prompt, whose)
        return
    if is_conversation(prompt) or hasattr(prompt, "__array__"):
        return
    if not isinstance(prompt, list | tuple):
        raise UserError(f"{whose} is {_short(prompt)}; prompts are {KINDS}, each in a list of them")
    if not prompt:
        raise UserError(f"{whose} is an empty list; give the ids of at least one token, or the text \"\"")
    if any(not isinstance(token, Integral) or isinstance(token, bool) for token in prompt):
        raise UserError(f"{whose} is {_short(prompt)}; prompts are {KINDS}")


def is_conversation(prompt: Any) -> bool:
    """Whether it is turns, not token ids."""
    return isinstance(prompt, list | tuple) and bool(prompt) and all(isinstance(turn, Mapping) for turn in prompt)


def encode_prompts(codec: Codec, prompts: Sequence[Prompt], infill: bool, split_special_tokens: bool) -> list[Any]:
    """Token ids of each, ready for a canvas; when infilling, texts stay texts, for their marks are read later.

    Raises UserError naming the prompt that is empty, has a mark where nothing is infilled, or ids of no tokens.
    """
    return [
        _encode(codec, prompt, f"prompt {number}" if len(prompts) > 1 else "the prompt", infill, split_special_tokens)
        for number, prompt in enumerate(prompts, start=1)
    ]


def _encode(codec: Codec, prompt: Prompt, whose: str, infill: bool, letters: bool) -> Any:
    if infill and isinstance(prompt, str):
        return prompt
    if infill and is_conversation(prompt):
        raise UserError(f"{whose} is a conversation; to infill, give a text in which {codec.mask} marks what to write")
    if not isinstance(prompt, str) and not is_conversation(prompt):
        ids = _ids(codec, prompt, whose)
    else:
        codec.check_prompt(prompt, whose, may_be_empty=letters)  # type: ignore[arg-type]
        ids = codec.encode_prompt(prompt, codec.special if letters else ())  # type: ignore[arg-type]
    turns = is_conversation(prompt)
    marked = (turns or isinstance(prompt, str)) and any(map(has_mark, strings(prompt))) and not letters
    if not infill and (marked or codec.mask_token in ids):
        what = "a mark" if marked else f"the mask token {codec.mask}"
        instead = "give a text instead of turns, with infill=True, to" if turns else "add --infill (infill=True) to"
        raise UserError(f"{whose} has {what}, which stands for what is to be written: {instead} {HOW}")
    return ids


def _ids(codec: Codec, prompt: Any, whose: str) -> list[int]:
    tensor = torch.as_tensor(prompt)
    if tensor.dim() != 1 or not len(tensor) or tensor.is_floating_point() or tensor.dtype == torch.bool:
        raise UserError(f"{whose} must be a row of whole numbers, got {list(tensor.shape)} of {tensor.dtype}")
    ids: list[int] = tensor.tolist()
    wrong = next((token for token in ids if token not in codec.ids), None)
    if wrong is not None:
        raise UserError(
            f"{whose} has the token id {wrong}, and the tokenizer has none of that number; its ids are from 0 to "
            f"{max(codec.ids)}"
        )
    return ids


def _short(value: Any) -> str:
    kind, text = type(value).__name__, repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} (of type {kind})"

"""What a tokenizer does to a text besides cutting it: special tokens found in it, and a blank put before it."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from unmask.denoisers.chat import Conversation

PRIVATE = range(0x100000, 0x10FFFE)  # signs that mean nothing to anybody


class Hidden(NamedTuple):
    """A prompt with a sign in the place of each name of a special token, and the name that each sign stands for.

    So hidden, a template may do with the prompt what it likes, and the names can still be told from its own.
    """

    prompt: Any
    names: dict[str, str]

    @staticmethod
    def of(prompt: str | Conversation | Sequence[str], names: Collection[str]) -> "Hidden":
        """Hide those of `names` that the prompt has, longer ones first; several texts get the same signs."""
        if not names:
            return Hidden(prompt, {})
        texts = list(strings(prompt))
        present = sorted({name for name in names if any(name in text for text in texts)}, key=len, reverse=True)
        if not present:
            return Hidden(prompt, {})
        used = {letter for text in texts for letter in text}
        free = (chr(number) for number in PRIVATE if chr(number) not in used)
        signs = dict(zip(free, present, strict=False))
        return Hidden(_replaced(prompt, signs), signs)


def strings(value: Any) -> Iterator[str]:
    """Every text in a text, a list or an object."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from strings(part)


def _replaced(value: Any, signs: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for sign, name in signs.items():
            value = value.replace(name, sign)
        return value
    if isinstance(value, Mapping):
        return {key: _replaced(part, signs) for key, part in value.items()}
    return [_replaced(part, signs) for part in value] if isinstance(value, list | tuple) else value


def without_prefix(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer for what stands within a text: itself, or one that puts no blank before what it reads."""
    changed = {}
    for name in ("normalizer", "pre_tokenizer"):
        part = getattr(tokenizer, name)
        stored = None if part is None else json.loads(part.__getstate__())
        if (kept := _plain(stored)) != stored:
            changed[name] = kept
    return Tokenizer.from_str(json.dumps(json.loads(tokenizer.to_str()) | changed)) if changed else tokenizer


def _plain(step: Any) -> Any:
    """A normalizer or pre-tokenizer, as tokenizer.json has it, without the steps that add a blank."""
    if not isinstance(step, dict):
        return step
    kind = step.get("type")
    if kind == "Prepend":
        return None
    if kind == "Metaspace":
        return step | {"prepend_scheme": "never"}
    if kind == "ByteLevel":
        return step | {"add_prefix_space": False}
    if kind == "Sequence":
        (name,) = (key for key in step if key != "type")
        return step | {name: [kept for part in step[name] if (kept := _plain(part)) is not None]}
    return step

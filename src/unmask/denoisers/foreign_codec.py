"""How a foreign checkpoint reads text: its own tokenizer and template, and what its family calls the special tokens."""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from unmask.core.errors import UserError
from unmask.core.files import read_json, seems
from unmask.core.typed import LARGEST, brief
from unmask.denoisers.chat import read_chat_template
from unmask.denoisers.codec import BARE, CHAT, Codec, check_ids, read_names, read_tokenizer
from unmask.denoisers.network import NetworkConfig
from unmask.denoisers.wordpiece import wordpiece_tokenizer

# Where Qwen2 cuts a text before merging: contractions, words with what stands before them, digits one by one,
# punctuation with its line breaks, white space.
QWEN_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

QWEN_CLASSES = ("DreamTokenizer", "Qwen2Tokenizer", "Qwen2TokenizerFast")
SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model")
GPT2_CLASSES = ("GPT2Tokenizer", "GPT2TokenizerFast")


def make_codec(
    folder: Path,
    frame: Mapping[str, Any],
    config: NetworkConfig,
    template: str | None = None,
    called: Sequence[str] = (),
) -> Codec:
    """The tokenizer of a folder with the special tokens of its family, or those a codec.json beside it names instead.

    frame: entries of a codec.json; its template is the bare one of the family. template: `bare`, `chat` or a text with
    `{prompt}` in it; what `choose_template` says unless given. called: what the checkpoint is called.
    A mask token the tokenizer has not got gets the next id. Raises UserError if that is not the network's, if the
    tokenizer has more tokens than the network, or lacks one of the others, or on a template that cannot be.
    """
    own_names = read_names(folder / "codec.json") if (folder / "codec.json").is_file() else {}
    names = {**frame, "bare": frame["template"], "chat": read_chat_template(folder)} | own_names
    if template is None:
        template = own_names.get("template") or choose_template(folder, names["chat"] is not None, called)
    names["template"] = names["bare"]
    tokenizer = find_tokenizer(folder)
    own, mask = int(tokenizer.get_vocab_size()), config.mask_token
    if tokenizer.token_to_id(names["mask"]) is None:
        tokenizer.add_special_tokens([AddedToken(names["mask"], special=True, normalized=False)])
    if "stops" not in own_names:
        names["stops"] = find_stops(folder, tokenizer, names)
    codec = Codec(tokenizer, **names)
    if codec.mask_token != mask:
        raise UserError(
            f"the tokenizer in {folder} has {own} tokens, with the mask token {codec.mask} at {codec.mask_token}, but "
            f"the weights have it at {mask}; they belong to different checkpoints"
        )
    if codec.vocabulary > config.vocabulary:
        raise UserError(
            f"the tokenizer in {folder} has {own} tokens but the embedding has {config.vocabulary} rows; they "
            "belong to different checkpoints"
        )
    check_ids(tokenizer, config.vocabulary, folder)
    for token in (codec.end, codec.pad, *codec.stops):
        if tokenizer.token_to_id(token) is None:
            raise UserError(
                f"the tokenizer in {folder} has no token {token}; name the right one in a codec.json beside it, "
                f'e.g. {{"end": "</s>"}}'
            )
    return codec.with_template(template)


def find_stops(folder: Path, tokenizer: Tokenizer, names: Mapping[str, Any]) -> tuple[str, ...]:
    """What ends a text besides the end token: what ends one in the family, what the chat template ends a turn with,
    and what generation_config.json calls the end. Special tokens only."""
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    chat, path = names["chat"], folder / "generation_config.json"
    after = "" if chat is None else chat.turn_end()
    found = [name for name in (*special, names["end"]) if name in after]
    first = min(found, key=lambda name: (after.index(name), -len(name)), default=None)
    ends = (read_json(path) if path.is_file() else {}).get("eos_token_id")
    numbers = [end for end in (ends if isinstance(ends, list) else [ends]) if type(end) is int and 0 <= end <= LARGEST]
    called = [name for end in numbers if (name := tokenizer.id_to_token(end)) in special]
    more = (name for name in (first, *called) if name is not None and name not in (names["end"], names["mask"]))
    return tuple(dict.fromkeys((*names.get("stops", ()), *more)))


def choose_template(folder: Path, has_chat: bool, called: Sequence[str]) -> str:
    """`chat` where the checkpoint has a chat template and is not called a base model, else `bare`.

    Base models often come with a chat template too. Warns where their names say neither.
    """
    if not has_chat:
        return BARE
    words = {word for name in called for word in re.split(r"[^a-z]+", name.lower())}
    base, chat = "base" in words, not words.isdisjoint(("instruct", "chat", "it", "sft", "dpo", "rl"))
    if base and not chat:
        return BARE
    if not chat:
        warnings.warn(
            f"{folder} has a chat template, and its name does not say whether it was made for conversations: prompts "
            f"are written as turns of one; for the text as it is, give the template {BARE} (--template {BARE})",
            stacklevel=4,
        )
    return CHAT


def find_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder: its tokenizer.json, else its vocab.json and merges.txt, else its vocab.txt.

    Tokens that were added later stand beside it. Raises UserError if there is none, or naming what is damaged.
    """
    if (folder / "tokenizer.json").is_file():
        tokenizer = read_tokenizer(folder / "tokenizer.json")
    elif (folder / "vocab.json").is_file():
        tokenizer = merged_tokenizer(folder)
    elif (folder / "vocab.txt").is_file():
        tokenizer = wordpiece_tokenizer(folder)
    elif pieces := next((name for name in SENTENCEPIECE if (folder / name).is_file()), None):
        raise UserError(
            f"there is no tokenizer.json in {folder}, and its {pieces} (SentencePiece) is not read; convert it "
            f"once: `python -c \"import transformers as t; t.AutoTokenizer.from_pretrained('{folder}')"
            f".save_pretrained('{folder}')\"`"
        )
    else:
        raise UserError(f"there is no tokenizer.json in {folder}; copy the one of the checkpoint there")
    add_tokens(tokenizer, folder)
    return tokenizer


def merged_tokenizer(folder: Path) -> Tokenizer:
    """The byte-level tokenizer of the Qwen2 family, or of GPT-2's, from vocab.json and merges.txt.

    Raises UserError naming the file that is missing or damaged, or if the tokenizer is of another kind: vocab.json and
    merges.txt do not tell where a text is cut, and others cut elsewhere.
    """
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else {}
    kind, known = config.get("tokenizer_class"), (*QWEN_CLASSES, *GPT2_CLASSES)
    if kind is None:
        raise UserError(
            f"{folder} has vocab.json and merges.txt, and nothing says where a text is cut: copy its tokenizer.json or "
            f'its {path.name} there; for those of GPT-2 write {{"tokenizer_class": "{GPT2_CLASSES[0]}"}} into {path}'
        )
    if kind not in known:
        raise UserError(
            f"{path} has tokenizer_class {brief(kind)}, and how that one cuts a text is not known here (known: "
            f"{', '.join(known)}); copy its tokenizer.json there"
        )
    vocabulary, merges = read_words(folder / "vocab.json"), read_merges(folder / "merges.txt")
    special = gpt2_special(path, config) & vocabulary.keys() if kind in GPT2_CLASSES else set()
    if kind in GPT2_CLASSES and not special:  # Qwen2's lie beyond its vocab.json
        raise UserError(
            f"{path} has tokenizer_class {brief(kind)}, whose vocab.json holds its special tokens, and the one in "
            f"{folder} holds none; copy its tokenizer.json there"
        )
    made = {left + right for left, right in merges} | special
    if unmade := next((word for word in vocabulary if len(word) > 1 and word not in made), None):
        raise UserError(
            f"vocab.json and merges.txt in {folder} do not fit each other: no pair makes {unmade!r}, so merges.txt may "
            "be cut; copy both again"
        )
    try:
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    except Exception as error:  # the library raises bare Exception
        why = str(error).partition("\n")[0]
        raise UserError(f"vocab.json and merges.txt in {folder} do not fit each other: {why}") from error
    if kind in GPT2_CLASSES:
        prefix = config.get("add_prefix_space") or False
        if prefix is not True and prefix is not False:
            raise UserError(f"{path} has `add_prefix_space` {brief(prefix)}, which should be true or false")
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
        tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in sorted(special)])
    else:
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN_PIECES), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def gpt2_special(path: Path, config: Mapping[str, Any]) -> set[str]:
    """What the special tokens of a tokenizer of GPT-2's family are called. Raises UserError if one is no text."""
    found = {"<|endoftext|>"}
    for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
        value = config.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if value is not None and (not isinstance(text, str) or not text):
            raise UserError(f"{path} calls its {name} {brief(value)}, which should be a text")
        found |= {text} if isinstance(text, str) else set()
    return found


def add_tokens(tokenizer: Tokenizer, folder: Path) -> None:
    """Add what was added to the tokenizer later, at the ids that were said.

    Raises UserError if another token, or another id, would come of it.
    """
    own, whole = tokenizer.get_vocab_size(), (folder / "tokenizer.json").is_file()
    for place, (token, path) in sorted(added_tokens(folder).items()):
        if not whole or tokenizer.token_to_id(token.content) is None:  # a tokenizer.json says more of what it has
            # what is not special is one piece too, but stays in the text
            (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
        found = tokenizer.token_to_id(token.content)
        if found != place and whole:
            raise UserError(
                f"the tokenizer in {folder} has {own} tokens, and {path.name} has {token.content} at {place}, which "
                f"would be token {found}; they belong to different checkpoints"
            )
        if found != place:
            raise UserError(
                f"{path} has {token.content} at {place}, but it would be token {found} after those of the vocabulary; "
                "copy both again"
            )


def added_tokens(folder: Path) -> dict[int, tuple[AddedToken, Path]]:
    """Id -> token, and the file that says so: `added_tokens_decoder` of tokenizer_config.json, added_tokens.json of
    older saves. Raises UserError if they contradict each other, or are damaged."""
    found: dict[int, tuple[AddedToken, Path]] = {}
    path = folder / "tokenizer_config.json"
    decoder = (read_json(path) if path.is_file() else {}).get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise UserError(f"{path} is damaged: added_tokens_decoder cannot be {brief(decoder)}")
    for place, about in decoder.items():
        content = about.get("content") if isinstance(about, dict) else None
        if not place.isdecimal() or len(place) > 9 or not isinstance(content, str) or not content:
            raise UserError(f"{path} is damaged: added_tokens_decoder has {place!r}: {brief(about)}")
        flags = {name: about.get(name) is True for name in ("lstrip", "rstrip", "single_word")}
        special = about.get("special", True) is not False
        found[int(place)] = AddedToken(content, normalized=False, special=special, **flags), path
    path = folder / "added_tokens.json"
    for content, place in (read_json(path) if path.is_file() else {}).items():
        if type(place) is not int or not 0 <= place <= LARGEST or not content:
            raise UserError(f"{path} is damaged: it has {content!r} at {brief(place)}")
        if place in found and found[place][0].content != content:
            raise UserError(
                f"{path} has {content} at {place}, and {found[place][1].name} has {found[place][0].content} there; "
                "they are of different checkpoints"
            )
        found.setdefault(place, (AddedToken(content, normalized=False, special=True), path))
    return found


def read_words(path: Path) -> dict[str, int]:
    """Token -> number, of a vocab.json. Raises UserError if a number is none, or stands for two."""
    words = read_json(path)
    wrong = next((item for item in words.items() if type(item[1]) is not int or not 0 <= item[1] <= LARGEST), None)
    if wrong is not None:
        raise UserError(f"{path} is damaged: it has {wrong[0]!r} at {brief(wrong[1])}; copy it again")
    if len(set(words.values())) < len(words):
        raise UserError(f"{path} is damaged: it has two tokens of one number; copy it again from where it came")
    return words


def read_merges(path: Path) -> list[tuple[str, str]]:
    """The pairs of a merges.txt, in their order."""
    if not path.is_file():
        raise UserError(f"there is no {path.name} in {path.parent}; copy the one of the checkpoint there")
    try:
        first, *lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {seems(path) or error}; copy it again from where it came") from error
    if (what := seems(path)) is not None:
        raise UserError(f"{path} is damaged: {what}")
    pairs = [line.split(" ") for line in ([] if first.startswith("#version") else [first]) + lines if line]
    wrong = next((pair for pair in pairs if len(pair) != 2 or not all(pair)), None)
    if wrong is not None:
        raise UserError(f"{path} is damaged: `{' '.join(wrong)[:60]}` is no pair; copy it again from where it came")
    return [(left, right) for left, right in pairs]


def token_of(folder: Path, token: str) -> int:
    """The id of a token, for families whose config.json does not say it. Raises UserError if there is none."""
    tokenizer = find_tokenizer(folder)
    found = tokenizer.token_to_id(token)
    if found is None:
        raise UserError(
            f"the tokenizer in {folder} has {tokenizer.get_vocab_size()} tokens and {token} is none of them: it and "
            "the weights belong to different checkpoints, or it calls the mask otherwise, then name it in a codec.json "
            f'beside it, e.g. {{"mask": "<mask>"}}'
        )
    return int(found)

"""BERT's tokenizer from its vocab.txt: one token a line, its number that of the line, from 0.

    [PAD]  [UNK]  [CLS]  [SEP]  [MASK]  the  ##s  ...

What is cut before that stands in tokenizer_config.json: `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`. As
`BertTokenizer` of transformers reads it, text for text.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from unmask.core.errors import UserError
from unmask.core.files import read_json, seems
from unmask.core.typed import brief

CLASSES = tuple(f"{name}Tokenizer{fast}" for name in ("Bert", "DistilBert", "Electra") for fast in ("", "Fast"))
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
           "mask_token": "[MASK]"}  # fmt: skip


def wordpiece_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder with a vocab.txt.

    Raises UserError naming the file that is damaged, a token that is missing, or an entry that asks for another kind;
    also where nothing says whether letters are made small and it matters.
    """
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else {}
    kind = config.get("tokenizer_class")
    if kind is not None and kind not in CLASSES:
        raise UserError(
            f"{path} has tokenizer_class {brief(kind)}, and how that one cuts a text is not known here (known for a "
            f"vocab.txt: {', '.join(CLASSES)}); copy its tokenizer.json there"
        )
    if flag(path, config, "do_basic_tokenize", True) is False:
        raise UserError(f"{path} has `do_basic_tokenize` false, which is not built in; copy its tokenizer.json there")
    words = read_words(folder / "vocab.txt")
    names = special_names(folder, config)
    lower = flag(path, config, "do_lower_case", None)
    if lower is None and any(is_written_large(word) for word in words if word not in names.values()):
        raise UserError(
            f"{folder / 'vocab.txt'} has words with capital letters, and nothing says whether a text keeps them; write "
            f'{{"do_lower_case": false}} (or true) into {path}'
        )
    unknown = names["unk_token"]
    if unknown not in words:
        raise UserError(f"{folder / 'vocab.txt'} has no token {unknown} for what it does not know; copy it again")
    tokenizer = Tokenizer(models.WordPiece(vocab=words, unk_token=unknown, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=flag(path, config, "tokenize_chinese_chars", True) is not False,
        strip_accents=flag(path, config, "strip_accents", None),
        lowercase=lower is not False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    known = [name for name in dict.fromkeys(names.values()) if name in words]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in known])
    return tokenizer


def read_words(path: Path) -> dict[str, int]:
    """Token -> number. Raises UserError if it is no text, or empty."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {seems(path) or error}; copy it again from where it came") from error
    if lines[-1] == "":
        lines.pop()
    if not lines or (what := seems(path)) is not None:
        raise UserError(f"{path} is damaged: {what if lines else 'it is empty'}; copy it again from where it came")
    return {line: i for i, line in enumerate(lines)}


def special_names(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """What the special tokens are called, by tokenizer_config.json, else special_tokens_map.json, else as ever."""
    path = folder / "special_tokens_map.json"
    older = read_json(path) if path.is_file() else {}
    found = {}
    for name, usual in SPECIAL.items():
        value = config.get(name) or older.get(name) or usual
        text = value.get("content") if isinstance(value, dict) else value
        if not isinstance(text, str) or not text:
            raise UserError(f"{folder} calls its {name} {brief(value)}, which should be a text")
        found[name] = text
    return found


def flag(path: Path, config: Mapping[str, Any], name: str, default: bool | None) -> bool | None:
    """An entry that is true or false, `default` where it is absent or null."""
    value = config.get(name)
    if value is not None and type(value) is not bool:
        raise UserError(f"{path} has `{name}` {brief(value)}, which should be true or false")
    return default if value is None else value


def is_written_large(word: str) -> bool:
    """Whether a word has a capital letter; names in brackets are no words."""
    return not word.startswith("[") and word != word.lower()

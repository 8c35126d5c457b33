"""BERT's vocab.txt: read as `BertTokenizer` of transformers reads it, and what is refused."""

import json

import pytest

from unmask import decode, load_denoiser
from unmask.core.errors import UserError
from unmask.denoisers.foreign_codec import find_tokenizer
from unmask.denoisers.wordpiece import wordpiece_tokenizer

from .test_as_found import logits
from .tiny import write_json

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["the", "pen", "##s", "un", "##able", "cafe", "##e", "a", "b", "##b", "e", "ana", "has", "3", "##4", ".", ",",
          "?", "'", "-", "$", "中", "文", "##文", "naive", "##ve", "nai", "strasse", "i", "é", "café", "ß", "#",
          "[", "]", "mask", "##k", "hello", "wor", "##ld", "!", "…", "½", "##½", "ª"]  # fmt: skip
LARGE = ["The", "Pen", "Ana", "CAFÉ", "Hello", "Wor", "É"]
TEXTS = [
    "the pens", "The PENS are unable", "café CAFÉ cafe\u0301", "naïve Straße ß ẞ", "中文the中文文", "3434 3,4.4 $3-4",
    "hello, world!?!", "un-able un able", "a\tb\nb\r\n  b\u00a0b\u3000b", "\u200bthe\u00adpen\ufeff\ufffd\x00\x07",
    "abb" * 60, "a" * 101, "[MASK] the [SEP][CLS] [mask] [PAD]s", "[UNK]a", "İstanbul ı I", "’the‘ “pens” …½ª", "",
    "   ", "😀 the 😀",
    "e\u0301\u0302 é̂", "ﬁ ﬂ Å Å", "##s the##s", "1½ ½", "नमस्ते दुनिया", "ภาษาไทย", "한국어 the",
]  # fmt: skip
OPTIONS = [
    {}, {"do_lower_case": True}, {"do_lower_case": False}, {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "strip_accents": True}, {"do_lower_case": True, "tokenize_chinese_chars": False},
    {"do_lower_case": False, "tokenize_chinese_chars": False, "strip_accents": False},
    {"do_lower_case": True, "strip_accents": None, "tokenizer_class": "BertTokenizer"},
]  # fmt: skip


def write(folder, words=PIECES, **config):
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n", encoding="utf-8")
    if config:
        write_json(folder / "tokenizer_config.json", config)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_every_text_is_read_as_by_transformers(tmp_path, options):
    from transformers import BertTokenizer

    write(tmp_path, PIECES + LARGE * ("do_lower_case" in options), **options)
    theirs, ours = BertTokenizer.from_pretrained(tmp_path), wordpiece_tokenizer(tmp_path)
    for text in TEXTS:
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text, add_special_tokens=False).ids == expected, text


def test_a_text_by_hand(tmp_path):
    tokenizer = wordpiece_tokenizer(write(tmp_path, do_lower_case=True))
    assert tokenizer.encode("The PENS, unable! [MASK]x", add_special_tokens=False).tokens == [
        "the", "pen", "##s", ",", "un", "##able", "!", "[MASK]", "[UNK]",
    ]  # fmt: skip


@pytest.fixture
def plain(spoilable):
    """The tiny BERT with its 256 bytes as words in a vocab.txt, and no tokenizer.json."""
    path = spoilable("bert")
    tokenizer = find_tokenizer(path)
    words = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    (path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (path / "tokenizer.json").unlink()
    write_json(path / "tokenizer_config.json", {"do_lower_case": False})
    return path


def test_a_checkpoint_with_a_vocab_txt_alone_is_read(plain, checkpoints):
    import torch

    assert torch.equal(logits(plain, "bert"), logits(checkpoints("bert"), "bert"))
    denoiser = load_denoiser(plain, dtype=torch.float32)
    (written,) = decode(denoiser, ["a <|mask|> b"], budget=1, infill=True)
    assert written.text.split()[0] == "a"
    spelt = [denoiser.codec.tokenizer.id_to_token(token) for token in denoiser.codec.encode_prompt("a b")]
    assert spelt == ["[CLS]", "a", "b"]


def test_saved_in_our_own_format_it_reads_the_same(plain, tmp_path):
    from unmask.denoisers.folder import load_folder, save_denoiser

    denoiser = load_denoiser(plain)
    save_denoiser(denoiser, tmp_path / "own")
    again = load_folder(tmp_path / "own").codec
    assert [again.encode(text) for text in TEXTS] == [denoiser.codec.encode(text) for text in TEXTS]


WRONGS = {
    "capitals and nobody says": (
        lambda path: (path / "tokenizer_config.json").unlink(), r"capital letters.*\{\"do_lower_case\": false\}"
    ),
    "a flag as text": (lambda path: edit(path, do_lower_case="false"), "`do_lower_case` 'false', which should be true"),
    "another class": (lambda path: edit(path, tokenizer_class="BertJapaneseTokenizer"), "'BertJapaneseTokenizer'"),
    "no basic tokens": (lambda path: edit(path, do_basic_tokenize=False), "`do_basic_tokenize` false"),
    "no unknown": (lambda path: edit(path, unk_token="<unk>"), "has no token <unk>"),
    "a special that is a number": (lambda path: edit(path, unk_token=5), "unk_token 5, which should be a text"),
    "empty": (lambda path: (path / "vocab.txt").write_text(""), r"vocab\.txt is damaged: it is empty"),
    "a pointer": (
        lambda path: (path / "vocab.txt").write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"
    ),
    "not utf-8": (lambda path: (path / "vocab.txt").write_bytes(b"[PAD]\n\xff\xfe"), r"vocab\.txt is damaged"),
    "tokens too many": (lambda path: append(path, map(str, range(50, 90))), "belong to different checkpoints"),
    "the mask elsewhere": (
        lambda path: (path / "vocab.txt").write_text("x\n" + (path / "vocab.txt").read_text().replace("[MASK]\n", "")),
        r"\[MASK\] is none of them",
    ),
}  # fmt: skip


def append(path, words):
    (path / "vocab.txt").write_text((path / "vocab.txt").read_text() + "\n".join(words))


def edit(path, **entries):
    file = path / "tokenizer_config.json"
    write_json(file, json.loads(file.read_text()) | entries)


@pytest.mark.parametrize("wrong", WRONGS)
def test_what_cannot_be_read_is_refused_by_name(plain, wrong):
    spoil, said = WRONGS[wrong]
    spoil(plain)
    with pytest.raises(UserError, match=said) as caught:
        load_denoiser(plain)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model"])
def test_a_sentencepiece_model_alone_says_how_to_convert_it(plain, name):
    (plain / "vocab.txt").rename(plain / name)
    with pytest.raises(UserError, match=rf"there is no tokenizer\.json .*{name} .*AutoTokenizer"):
        load_denoiser(plain)


# ---- tokens that were added later


def older(path):
    """As transformers saved Qwen2 once: added tokens in a file of their own."""
    config = json.loads((path / "tokenizer_config.json").read_text())
    added = config.pop("added_tokens_decoder")
    write_json(path / "added_tokens.json", {about["content"]: int(place) for place, about in added.items()})
    write_json(path / "tokenizer_config.json", config)


def test_added_tokens_of_older_saves_are_read(spoilable, checkpoints):
    path = spoilable("dream")
    older(path)
    one, other = load_denoiser(path).codec, load_denoiser(checkpoints("dream")).codec
    for text in ("How <|im_end|> 34 </tool_call><|mask|>", "pe<|endoftext|>"):
        assert one.encode(text) == other.encode(text)
    assert one.tokenizer.get_vocab() == other.tokenizer.get_vocab()


def test_added_tokens_complete_a_tokenizer_json_too(spoilable, checkpoints):
    path = spoilable("llada")
    whole = json.loads((path / "tokenizer.json").read_text())
    kept, gone = whole["added_tokens"][:3], whole["added_tokens"][3:]
    (path / "tokenizer.json").write_text(json.dumps(whole | {"added_tokens": kept}))
    write_json(path / "added_tokens.json", {token["content"]: token["id"] for token in reversed(gone)})
    one, other = (load_denoiser(each).codec.tokenizer for each in (path, checkpoints("llada")))
    assert one.get_vocab() == other.get_vocab()


# ---- GPT-2's vocab.json and merges.txt

MERGES = [("Ġ", "p"), ("e", "n"), ("Ġp", "en"), ("Ġpen", "s"), ("3", "4"), ("t", "h"), ("th", "e"), ("Ġ", "the")]


def gpt2(path, **config):
    """MDLM's folder with the tokenizer as openai-community/gpt2 has it besides its tokenizer.json."""
    from tokenizers import pre_tokenizers

    (path / "tokenizer.json").unlink()
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet())][: 256 - len(MERGES)] + [a + b for a, b in MERGES]
    for letter in {letter for pair in MERGES for letter in "".join(pair)} - set(words):
        words[next(i for i, word in enumerate(words) if word not in "".join(map("".join, MERGES)))] = letter
    write_json(path / "vocab.json", {word: i for i, word in enumerate([*words, "<|endoftext|>"])})
    (path / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES), encoding="utf-8")
    write_json(path / "tokenizer_config.json", config)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("prefix", [False, True])
def test_gpt2s_two_files_are_read_as_by_transformers(spoilable, prefix):
    from transformers import GPT2Tokenizer

    path = gpt2(spoilable("mdlm"), tokenizer_class="GPT2Tokenizer", add_prefix_space=prefix)
    theirs, ours = GPT2Tokenizer.from_pretrained(path), find_tokenizer(path)
    for text in ("the pens", "34 pens<|endoftext|> pen", "  the\n\npens' 3434", "the   pens"):
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text, add_special_tokens=False).ids == expected, text


def test_gpt2s_two_files_will_do_for_mdlm(spoilable):
    codec = load_denoiser(gpt2(spoilable("mdlm"), tokenizer_class="GPT2TokenizerFast")).codec
    tokens = [codec.tokenizer.id_to_token(token) for token in codec.encode_prompt("34 pens")]
    assert tokens == ["<|endoftext|>", "34", "Ġpens"]
    assert codec.decode([*codec.encode("34 pens"), codec.end_token]) == "34 pens"
    assert codec.special == {"<|endoftext|>": 256, "<|mask|>": 257}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_max_length": 1024}, r'nothing says where a text is cut.*\{"tokenizer_class": "GPT2Tokenizer"\}'),
        ({"tokenizer_class": "RobertaTokenizer"}, r"'RobertaTokenizer', and how that one cuts a text is not known"),
        ({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": "no"}, "`add_prefix_space` 'no'"),
        ({"tokenizer_class": "GPT2Tokenizer", "bos_token": 5}, "calls its bos_token 5, which should be a text"),
    ],
)
def test_two_files_that_do_not_say_how_to_cut_are_refused(spoilable, config, said):
    with pytest.raises(UserError, match=said):
        load_denoiser(gpt2(spoilable("mdlm"), **config))


# ---- damaged


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("added_tokens.json", {"<|mask|>": "266"}, r"added_tokens\.json is damaged: it has '<\|mask\|>' at '266'"),
        ("added_tokens.json", {"<|mask|>": True}, r"at True"),
        ("added_tokens.json", {"<|mask|>": -1}, r"at -1"),
        ("added_tokens.json", {"<|other|>": 262}, r"<\|other\|> at 262, and tokenizer_config\.json has"),
        ("added_tokens.json", {"<|mask|>": 300}, r"<\|mask\|> at 300, but it would be token 267"),
        ("added_tokens.json", ["<|mask|>"], r"holds a list, not an object"),
        ("tokenizer_config.json", {"added_tokens_decoder": [1]}, r"added_tokens_decoder cannot be \[1\]"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "a"}}}, r"added_tokens_decoder has 'x'"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"262": "a"}}, r"added_tokens_decoder has '262': 'a'"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"262": {"content": 5}}}, r"has '262'"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"9" * 30: {"content": "a"}}}, r"has '9999"),
        ("tokenizer_config.json", {"tokenizer_class": ["DreamTokenizer"]}, r"tokenizer_class \['DreamTokenizer'\]"),
        ("vocab.json", {"a": -1}, r"vocab\.json is damaged: it has 'a' at -1"),
        ("vocab.json", {"a": True}, r"vocab\.json is damaged: it has 'a' at True"),
        ("vocab.json", {"a": 1, "b": 1}, r"vocab\.json is damaged: it has two tokens of one number"),
        ("vocab.json", {"a": 0, "b": 1}, r"vocab\.json and merges\.txt in .* do not fit"),
        ("vocab.json", {"ab": 0, "b": 1}, r"no pair makes 'ab', so merges\.txt may be cut"),
        ("merges.txt", b"#version: 0.2\nH o\nHo w\n", r"do not fit each other: no pair makes 'Ġp'"),
        ("merges.txt", b"#version\nH \xff\n", r"merges\.txt is damaged"),
        ("merges.txt", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", r"merges\.txt is .*git lfs"),
        ("merges.txt", b"H \n", r"`H ` is no pair"),
    ],
)  # fmt: skip
def test_damaged_tokens_are_refused_by_name(spoilable, file, content, said):
    path = spoilable("dream")
    if isinstance(content, bytes):
        (path / file).write_bytes(content)
    elif file == "tokenizer_config.json":
        edit(path, **content)
    else:
        write_json(path / file, content)
    with pytest.raises(UserError, match=said) as caught:
        load_denoiser(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}},
        {"model": {"type": "WordPiece", "vocab": {}, "unk_token": "[UNK]", "continuing_subword_prefix": "##"}},
        {"model": 5},
        {"added_tokens": {"a": 1}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}},
    ],
)
def test_a_tokenizer_json_that_makes_its_library_panic_is_one_sentence(spoilable, change, capfd):
    path = spoilable("llada")
    whole = json.loads((path / "tokenizer.json").read_text())
    (path / "tokenizer.json").write_text(json.dumps(whole | change))
    with pytest.raises(UserError, match=r"tokenizer\.json is not a tokenizer|tokenizer in .* has") as caught:
        load_denoiser(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""

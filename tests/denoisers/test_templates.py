"""How prompts are written: bare, by the checkpoint's own chat template, or by a text with {prompt} in it."""

import json
import os
import time
from dataclasses import replace

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from unmask import load_denoiser
from unmask.core.errors import UserError
from unmask.denoisers import chat
from unmask.denoisers.chat import ChatTemplate, read_chat_template
from unmask.denoisers.codec import Codec
from unmask.denoisers.folder import load_folder, save_denoiser
from unmask.denoisers.foreign_codec import make_codec
from unmask.denoisers.transformer import TransformerConfig

from .families.tiny import byte_tokenizer
from .families.tiny_dream import CHAT as DREAM_CHAT
from .families.tiny_dream import TINY_DREAM
from .families.tiny_llada import CHAT as LLADA_CHAT
from .families.tiny_llada import TINY_LLADA

CODE = "def f(x):\n    "
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  Why?\n"},
    {"role": "assistant", "content": "Because."},
    {"role": "user", "content": "And <|end|> then?"},
]
SPECIAL = ("<s>", "<|end|>", "<|mask|>", "<|pad|>")
TEMPLATES = {
    "llada": LLADA_CHAT,
    "dream": DREAM_CHAT,
    "everything": """{#- a comment -#}
{%- set ns = namespace(count=0) %}
{{- bos_token }}{{ date_string if date_string is defined }}
{% for turn in messages %}
    {% if turn.role == 'system' %}
        {% continue %}
    {% endif %}
    {%- set ns.count = ns.count + 1 %}
[{{ ns.count }}|{{ turn | tojson }}|{{ turn['content'].strip().split(' ')[-1] }}]
    {% generation %}
x{{ turn.content }}
    {% endgeneration %}
    {% if loop.index > 3 %}{% break %}{% endif %}
{% endfor %}
{{ strftime_now('%Y') | length }}{{ unknown }}{{ eos_token }}
{%- if add_generation_prompt %}>>{% endif %}
""",
}


@pytest.fixture
def tokenizer():
    return byte_tokenizer(*SPECIAL)


def codec_of(tokenizer, **options):
    return Codec(tokenizer, "<|mask|>", "<|end|>", "<|pad|>", **options)


def read(codec, ids):
    return codec.tokenizer.decode(ids, skip_special_tokens=False)


# ---- bare


@pytest.mark.parametrize("prompt", [CODE, "\n\n a  b\t", " ", "assistant<|end|>\n\n"])
@pytest.mark.parametrize(
    ("bare", "before"), [("{prompt}", ""), ("<s>{prompt}", "<s>"), ("<s>{prompt}{response}<|end|>", "<s>")]
)
def test_a_bare_prompt_is_the_text_to_the_last_blank(tokenizer, prompt, bare, before):
    codec = codec_of(tokenizer, template=bare, bare=bare)
    assert codec.is_bare
    assert codec.template_name == "bare"
    assert read(codec, codec.encode_prompt(prompt)) == before + prompt


def test_a_bare_template_opens_a_text_with_nothing_and_others_do_not(tokenizer):
    assert codec_of(tokenizer, template="{prompt}").canvas([""], 3, 1).masked.tolist() == [[True] * 3]
    start = codec_of(tokenizer, template="<s>{prompt}", bare="<s>{prompt}")
    assert start.canvas([""], 2, 1).masked.tolist() == [[False, True, True]]
    for template in ("{prompt} ->", "Q: {prompt}", "chat"):
        codec = codec_of(tokenizer, template=template, chat=ChatTemplate(LLADA_CHAT))
        with pytest.raises(UserError, match="the prompt is empty"):
            codec.canvas([""], 3, 1)


def test_our_own_format_drops_the_white_space_around_a_prompt_and_a_text_of_others_keeps_it(tokenizer):
    own = codec_of(tokenizer)
    assert read(own, own.encode_prompt(" Why? \n")) == "Why? ->"
    assert not own.is_bare
    other = own.with_template("Q: {prompt}\nA:")
    assert read(other, other.encode_prompt(CODE)) == f"Q: {CODE}\nA:"


# ---- chat


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("turns", [TURNS, TURNS[1:2], TURNS[1:]])
def test_a_conversation_is_what_transformers_makes_of_it_token_for_token(tokenizer, name, turns):
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=TEMPLATES[name], bos_token="<s>", eos_token="<|end|>"
    )
    template = ChatTemplate(TEMPLATES[name], (("bos_token", "<s>"), ("eos_token", "<|end|>")))
    codec = codec_of(tokenizer, template="chat", chat=template)
    wanted = theirs.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert codec.encode_prompt(turns) == wanted
    text = theirs.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert template.render(turns) == text
    if name == "everything":  # which writes what is said more than once, and not all of it
        return
    opened = [*turns, {"role": "assistant", "content": " So it "}]
    text = theirs.apply_chat_template(opened, tokenize=False, continue_final_message=True)
    assert template.render(opened, add_generation_prompt=False) == text


def test_a_prompt_is_the_one_turn_of_a_user(tokenizer):
    codec = codec_of(tokenizer, template="chat", chat=ChatTemplate(DREAM_CHAT))
    assert codec.encode_prompt("Why?") == codec.encode_prompt([{"role": "user", "content": "Why?"}])
    assert read(codec, codec.encode_prompt(CODE)).endswith(f"user\n{CODE}<|im_end|>\n<|im_start|>assistant\n")


def test_a_conversation_is_turns_whatever_the_template_for_texts(tokenizer):
    codec = codec_of(tokenizer, template="{prompt}", chat=ChatTemplate(LLADA_CHAT))
    assert codec.encode_prompt(TURNS) == codec.with_template("chat").encode_prompt(TURNS)


LONG = 0.5


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "took more than 0.5 s"),
        ("{{ 9 ** (messages | length ** 15) }}", "took more than 0.5 s"),
        ("{{ range(10 ** 9) | list }}", "cannot write this conversation: Range too big"),
        ("{{ messages[0].content * 10 ** 9 }}", "it takes more than 1024 MiB"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ namespace.__init__.__globals__ }}", "unsafe"),
        ("{% set ns = namespace() %}{% set ns.__class__ = 1 %}", "__class__ cannot be set"),
        ("{% include 'codec.py' %}", "no loader"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "maximum recursion depth"),
        ("{{ raise_exception('only users speak') }}", "cannot write this conversation: only users speak"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_a_template_that_runs_away_or_climbs_out_is_stopped_in_a_sentence(monkeypatch, source, said):
    monkeypatch.setattr(chat, "SECONDS", LONG)
    start = time.monotonic()
    with pytest.raises(UserError, match="chat template") as caught:
        ChatTemplate(source).render(TURNS)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 10 * LONG
    assert ChatTemplate("{{ messages[1].content | trim }}").render(TURNS) == "Why?"  # and the next one is rendered


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_renders_by_itself(tokenizer):
    template = ChatTemplate("{{ messages[0].content }}")
    assert template.render([{"role": "user", "content": "a"}]) == "a"
    child = os.fork()
    if not child:
        os._exit(template.render([{"role": "user", "content": "b"}]) != "b")
    assert os.waitpid(child, 0)[1] == 0
    assert template.render([{"role": "user", "content": "c"}]) == "c"


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([], "has no turn"),
        ([{"content": "Why?"}], "turn 1 of the prompt must be an object"),
        ([TURNS[0], {"role": "user"}], "turn 2 of the prompt must be an object"),
        ([{"role": "user", "content": 5}], "what turn 1 of the prompt says must be a text, got 5"),
    ],
)
def test_what_is_no_conversation_is_refused(tokenizer, turns, said):
    codec = codec_of(tokenizer, template="chat", chat=ChatTemplate(LLADA_CHAT))
    with pytest.raises(UserError, match=said):
        codec.encode_prompt(turns)


def test_a_conversation_needs_a_chat_template(tokenizer):
    with pytest.raises(UserError, match="is a conversation, and this denoiser has no chat template"):
        codec_of(tokenizer).encode_prompt(TURNS)


# ---- where it is found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, None),
        ({"tokenizer_config.json": {"chat_template": None}}, None),
        ({"tokenizer_config.json": {"chat_template": "A"}}, "A"),
        ({"tokenizer_config.json": {"chat_template": [{"name": "tool_use", "template": "T"},
                                                      {"name": "default", "template": "D"}]}}, "D"),
        ({"tokenizer_config.json": {"chat_template": {"default": "D", "rag": "R"}}}, "D"),
        ({"tokenizer_config.json": {"chat_template": [{"name": "only", "template": "O"}]}}, "O"),
        ({"tokenizer_config.json": {"chat_template": "A"}, "chat_template.json": {"chat_template": "B"}}, "B"),
        ({"chat_template.json": {"chat_template": "B"}, "chat_template.jinja": "C\n"}, "C\n"),
    ],
)  # fmt: skip
def test_the_chat_template_is_found_wherever_folders_have_it(tmp_path, files, found):
    for name, content in files.items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    template = read_chat_template(tmp_path)
    assert (None if template is None else template.source) == found


def test_special_tokens_have_their_names_in_it(tmp_path):
    config = {"chat_template": "A", "bos_token": {"content": "<s>", "special": True}, "eos_token": None, "model_max": 5}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"bos_token": "old", "pad_token": "<pad>"}))
    assert read_chat_template(tmp_path).tokens == (("bos_token", "<s>"), ("pad_token", "<pad>"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "chat_template cannot be 5"),
        ([{"name": "a", "template": "A"}, {"name": "b", "template": "B"}], "the chat templates a, b and none called"),
        ([{"name": "default", "template": 5}], "chat_template cannot be 5"),
        (["A"], "chat_template cannot be"),
    ],
)
def test_a_damaged_entry_is_named(tmp_path, value, said):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": value}))
    with pytest.raises(UserError, match=said) as caught:
        read_chat_template(tmp_path)
    assert "tokenizer_config.json" in str(caught.value)


# ---- which one a checkpoint gets


def written(folder, tiny, **config):
    folder.mkdir()
    path = tiny.write(folder)
    entries = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(entries))
    return path


@pytest.mark.parametrize("tiny", [TINY_LLADA, TINY_DREAM])
@pytest.mark.parametrize(
    ("name", "called", "template"),
    [
        ("LLaDA-8B-Base", None, "bare"),
        ("Dream-v0-Instruct-7B", None, "chat"),
        ("mine", "GSAI-ML/LLaDA-8B-Base", "bare"),
        ("mine", "somebody/dream-chat", "chat"),
        ("database", "somebody/instruct", "chat"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_a_checkpoint_is_called_says_whether_it_speaks_in_turns(tmp_path, tiny, name, called, template):
    path = written(tmp_path / name, tiny, _name_or_path=called)
    assert load_denoiser(path).codec.template_name == template
    assert load_denoiser(path, template="bare").codec.template_name == "bare"
    assert load_denoiser(path, template="chat").codec.template_name == "chat"
    assert load_denoiser(path, template="Q {prompt}").codec.template_name == "Q {prompt}"


@pytest.mark.filterwarnings("error")
def test_a_link_may_have_the_name(tmp_path):
    written(tmp_path / "weights", TINY_LLADA, _name_or_path=None)
    (tmp_path / "llada-base").symlink_to(tmp_path / "weights", target_is_directory=True)
    assert load_denoiser(tmp_path / "llada-base").codec.template_name == "bare"


def test_where_no_name_says_it_the_choice_is_told_with_how_to_change_it(tmp_path):
    path = written(tmp_path / "mine", TINY_LLADA, _name_or_path=None)
    with pytest.warns(UserWarning, match=r"written as turns of one; .* give the template bare \(--template bare\)"):
        assert load_denoiser(path).codec.template == "chat"


@pytest.mark.parametrize("template", ["", "Q:", "{prompt}{prompt}", "{response}{prompt}", "Chat", "none"])
def test_what_is_no_template_is_refused_with_what_there_is(tmp_path, template):
    path = written(tmp_path / "Instruct", TINY_LLADA)
    with pytest.raises(UserError, match=r"a template is bare, chat, or a text with \{prompt\} in it once"):
        load_denoiser(path, template=template)


def test_chat_without_a_chat_template_is_refused_with_what_to_do():
    with pytest.raises(UserError, match="no chat template: copy the chat_template"):
        load_denoiser("wordprob", template="chat")
    assert load_denoiser("wordprob", template="bare").codec.template == "{prompt}"


@pytest.mark.parametrize("tiny", [TINY_LLADA, TINY_DREAM])
def test_saved_in_our_own_format_it_speaks_as_before(tmp_path, tiny):
    denoiser = load_denoiser(written(tmp_path / "Instruct", tiny))
    save_denoiser(denoiser, tmp_path / "own")
    again = load_folder(tmp_path / "own").codec
    assert again.encode_prompt(TURNS) == denoiser.codec.encode_prompt(TURNS)
    assert again.encode_prompt(CODE) == denoiser.codec.encode_prompt(CODE)
    assert again.with_template("bare").encode_prompt(CODE) == again.encode(CODE)


@pytest.mark.parametrize(
    "entry", [{"template": "chat"}, {"chat": "A"}, {"chat": {"template": 5}}, {"chat": {"template": "A", "tokens": []}},
              {"bare": "x"}]
)  # fmt: skip
def test_a_codec_json_that_cannot_be_is_refused(tokenizer, tmp_path, entry):
    codec_of(tokenizer).save(tmp_path)
    (tmp_path / "codec.json").write_text(json.dumps(json.loads((tmp_path / "codec.json").read_text()) | entry))
    with pytest.raises(UserError, match=r"codec\.json is damaged"):
        Codec.load(tmp_path)


def test_what_was_saved_before_bare_had_a_name_keeps_its_beginning(tokenizer, tmp_path):
    replace(codec_of(tokenizer), template="<s>{prompt}").save(tmp_path)
    codec = Codec.load(tmp_path)
    assert (codec.template_name, read(codec, codec.encode_prompt("a"))) == ("bare", "<s>a")


# ---- special tokens in a prompt, and in data


def metaspace():
    """In the manner of newer Llamas: a low line before the first word only."""
    words = ["<unk>", "<s>", "<|end|>", "<|mask|>", "<|pad|>", "▁", *"abcdenpmsk<|>-", "▁a", "ab"]
    merges = [("▁", "a"), ("a", "b")]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


@pytest.mark.parametrize("text", ["a <|mask|> b", "<|end|>", "<s>ab<s><|pad|>", "<|mask|><|mask|> a", "a b"])
@pytest.mark.parametrize("make", [lambda: byte_tokenizer(*SPECIAL), metaspace])
def test_in_data_a_special_token_is_letters(make, text):
    codec = codec_of(make())
    ids = codec.encode_response(text, 64)
    end = ids.index(codec.end_token)
    assert set(ids[:end]).isdisjoint(codec.special.values())
    assert codec.decode(ids) == text
    prompt = codec.encode_prompt(text, codec.special)
    assert set(prompt).isdisjoint(codec.special.values())
    assert codec.decode(prompt) == f"{text} ->"


def test_in_a_turn_of_data_only_the_templates_own_are_special(tokenizer):
    template = ChatTemplate("{{ bos_token }}{{ messages[0].content | trim }}<|end|>", (("bos_token", "<s>"),))
    codec = codec_of(tokenizer, template="chat", chat=template)
    ids = codec.encode_prompt(" a<|end|><|mask|> b<s>", codec.special)
    assert [token for token in ids if token in codec.special.values()] == [codec.special["<s>"], codec.end_token]
    assert read(codec, ids) == "<s>a<|end|><|mask|> b<s><|end|>"


@pytest.mark.parametrize("template", ["{prompt}", "Q: {prompt}<|end|>", "chat", "{prompt} ->"])
def test_in_a_pair_of_data_names_on_either_side_are_letters(tokenizer, template):
    chat = ChatTemplate("{{ messages[0].content }}<|end|>")
    codec = codec_of(tokenizer, template=template, chat=chat)
    before, after = codec.encode_pair("a<|pad|>", "<|mask|><s>b", codec.special)
    assert read(codec, after) == "<|mask|><s>b"
    assert read(codec, before).count("a<|pad|>") == 1
    own = [token for token in before + after if token in codec.special.values()]
    assert own == [codec.end_token] * ("<|end|>" in template or template == "chat")


def test_in_a_prompt_a_special_token_is_that_token(tokenizer):
    codec = codec_of(tokenizer, template="{prompt}")
    assert codec.encode_prompt("a<|end|>b") == [*codec.encode("a"), codec.end_token, *codec.encode("b")]


def test_what_a_response_says_in_special_tokens_is_left_out_of_its_text(tokenizer):
    codec = codec_of(tokenizer)
    assert codec.decode([*codec.encode("a"), codec.special["<s>"], *codec.encode("b")]) == "ab"


# ---- within a text


def byte_level(prefix):
    tokenizer = byte_tokenizer(*SPECIAL)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=True)
    return tokenizer


def in_sequence():
    tokenizer = metaspace()
    always = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("-", "isolated"), always])
    return tokenizer


def prepending():
    tokenizer = metaspace()
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return tokenizer


MAKERS = [lambda: byte_level(False), lambda: byte_level(True), metaspace, prepending, in_sequence]


@pytest.mark.parametrize("make", MAKERS, ids=["bytes", "bytes after a blank", "metaspace", "prepend", "sequence"])
@pytest.mark.parametrize("rest", ["b", " b", "  a b ", "ab cd"])
def test_what_goes_on_within_a_text_is_read_without_a_blank_before_it(make, rest):
    codec = codec_of(make())
    ids = codec.encode("a") + codec.encode_on(rest)
    assert codec.read(ids).removeprefix(" ") == f"a{rest}"
    assert codec.encode_on("") == []
    assert codec.tokenizer.to_str() == make().to_str()  # and the tokenizer itself is as it was


# ---- how a turn ends


@pytest.mark.parametrize("tiny", [TINY_LLADA, TINY_DREAM])
def test_a_response_of_a_chat_ends_its_turn_before_the_end_token_fills_the_rest(tmp_path, tiny):
    codec = load_denoiser(written(tmp_path / "Instruct", tiny)).codec
    (turn_end,) = (codec.special[name] for name in codec.stops)
    answer = codec.encode("Paris.")
    length = len(answer) + 3
    ids = codec.encode_response("Paris.", length)
    assert ids == [*answer, turn_end, codec.end_token, codec.end_token]
    turns = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Paris."}]
    whole = codec.encode(codec.chat._write(turns, False))
    prompt = codec.encode_prompt("Where?")
    assert whole[: len(prompt) + len(answer) + 1] == prompt + ids[: len(answer) + 1]  # as one text, to the turn's end
    assert codec.decode(ids) == "Paris."
    assert codec.encode_response("Paris.", len(answer) + 1) == [*answer, turn_end]
    assert codec.encode_response("Paris.", len(answer)) is None
    for template in ("bare", "Q: {prompt}\nA:"):
        assert codec.with_template(template).encode_response("Paris.", length) == [*answer, *[codec.end_token] * 3]


@pytest.mark.parametrize(
    ("chat", "special", "stops", "end"),
    [
        ("{% for t in messages %}{{ t.content }}<|role_end|>{% endfor %}", ["<|role_end|>"], ("<|role_end|>",), 1),
        ("{% for t in messages %}{{ t.content }}\n</a><|end|>\n{% endfor %}", [], (), 6),
        ("{% for t in messages %}{{ t.content }}<|end|>{% endfor %}", ["<|end"], (), 1),
        ("{% for t in messages %}{{ t.content }}\n{% endfor %}", ["<|role_end|>"], (), 0),
        ("{{ raise_exception('one turn') if messages | length > 1 }}{{ messages[0].content }}", [], (), 0),
        ("{{ messages[0].content }}", ["<|role_end|>"], (), 0),
    ],
)
def test_a_turn_ends_with_whatever_the_chat_template_ends_it_with(tmp_path, chat, special, stops, end):
    byte_tokenizer(*SPECIAL, *special).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "chat_template.jinja").write_text(chat)
    frame = {"mask": "<|mask|>", "end": "<|end|>", "pad": "<|pad|>", "template": "{prompt}"}
    codec = make_codec(tmp_path, frame, shape_of(300, 258), template="chat")
    assert codec.stops == stops
    assert len(codec.turn_end) == end
    assert codec.encode_response("7", 9)[: 1 + end] == [*codec.encode("7"), *codec.turn_end]
    assert codec.encode_response("7", max(1, end)) is None
    assert codec.decode([*codec.encode("7"), *[codec.special[name] for name in stops], *codec.encode("8")]) == (
        "7" if stops else "78"
    )


@pytest.mark.parametrize("ends", [258, [257, 259], [260], 260, None, "x", [-1, True, 10**30, 5]])
def test_what_generation_config_calls_the_end_ends_a_text(tmp_path, ends):
    """The start token, the end token, the padding and a stranger, which the family calls no end."""
    byte_tokenizer(*SPECIAL, "<|other|>").save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    frame = {"mask": "<|mask|>", "end": "<|end|>", "pad": "<|pad|>", "template": "{prompt}"}
    codec = make_codec(tmp_path, frame, shape_of(300, 258))
    wanted = {257, *(end for end in (ends if isinstance(ends, list) else [ends]) if end in (259, 260))}
    assert codec.end_tokens == wanted
    (tmp_path / "codec.json").write_text('{"stops": []}')
    assert make_codec(tmp_path, frame, shape_of(300, 258)).end_tokens == {257}


def shape_of(vocabulary, mask):
    return TransformerConfig(vocabulary, mask, context=32, layers=1, width=8, heads=2, hidden=8)


def test_names_the_codec_knows_are_letters_in_data_though_the_tokenizer_calls_them_words():
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(list(SPECIAL))  # not special
    codec = codec_of(tokenizer, template="{prompt}", stops=("<s>",))
    for text in ("a <|mask|> b", "a<|end|>b", "<s>", "<|pad|>"):
        ids = codec.encode_response(text, 40)
        assert codec.decode(ids) == text
        assert codec.mask_token not in ids


# ---- turns made of parts

PARTED = [{"role": "user", "content": [{"type": "text", "text": "Why"}, {"type": "text", "text": "not?"}]}]


@pytest.mark.parametrize("source", [LLADA_CHAT, DREAM_CHAT, "{{ messages[0]['content'] }}"])
def test_parts_of_a_turn_are_lines_to_a_template_of_texts(source):
    """LLaDA's wrote them as Python shows a list, Dream's could not at all."""
    whole = [{"role": "user", "content": "Why\nnot?"}]
    assert ChatTemplate(source).render(PARTED) == ChatTemplate(source).render(whole)
    with pytest.raises(UserError, match="a turn has a part of type image_url, and this chat template writes texts"):
        ChatTemplate(source).render([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}])


def test_a_template_that_looks_into_parts_is_given_them():
    source = "{% for part in messages[0].content %}[{{ part['text'] }}]{% endfor %}"
    assert ChatTemplate(source).render(PARTED) == "[Why][not?]"

"""Bare, chat and a text with {prompt}: what each family is shown by decode, by lm-eval and when infilling."""

import json
import shutil
from collections.abc import Sequence

import pytest
import torch

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM

from unmask import decode, load_denoiser
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.evaluate.harness.model import UnmaskLM

from ..denoisers.families.entries import TINY

CODE = "def f(x):\n    "
CHAT = "{% for turn in messages %}[{{ turn.role }}] {{ turn.content }}\n{% endfor %}{{ '[assistant]\n' }}"
STARTS = {"smdm": "<s>", "mdlm": "<|endoftext|>", "bert": "[CLS]", "modern_bert": "[CLS]"}
CLOSES = {"bert": "[SEP]", "modern_bert": "[SEP]"}
SHOWN = {
    "bare": lambda name, text: STARTS.get(name, "") + text,
    "chat": lambda name, text: f"[user] {text}\n[assistant]\n",
    "Q: {prompt}\nA:": lambda name, text: f"Q: {text}\nA:",
}
every_family = pytest.mark.parametrize("name", TINY)
every_template = pytest.mark.parametrize("template", SHOWN)


@pytest.fixture(scope="module")
def denoisers(tmp_path_factory):
    """`denoisers("bert", "chat")`: each family with a chat template beside its weights."""
    made = {}

    def find(name, template):
        if name not in made:
            folder = tmp_path_factory.mktemp("every") / f"{name}-instruct"
            folder.mkdir()
            made[name] = TINY[name].write(folder)
            (folder / "chat_template.jinja").write_text(CHAT)
        return load_denoiser(made[name], dtype=torch.float32, template=template)

    return find


def text_of(codec, tokens: Sequence[int]) -> str:
    """The start token apart: SMDM's tokenizer takes a blank off the very beginning only."""
    tokens = list(tokens)
    start = tokens[:1] if tokens[:1] == codec.opening[:1] else []
    parts = (codec.tokenizer.decode(part, skip_special_tokens=False) for part in (start, tokens[len(start) :]))
    return "".join(parts)


def ask(kind, *arguments):
    return Instance(kind, {}, arguments, 0, metadata=("task", 0, 1))


def shown(denoiser, prompt, **options) -> str:
    """What stands left of the response, as the network gets it."""
    seen = []
    decode(denoiser, [prompt], budget=1, response_length=3, on_step=seen.append, **options)
    canvas = seen[0].before
    assert canvas.masked[0].sum() == 3
    start = int(canvas.masked[0].long().argmax())
    return text_of(denoiser.codec, canvas.tokens[0, :start].tolist())


@every_family
@every_template
def test_decode_shows_the_prompt_in_its_template_to_the_last_blank(denoisers, name, template):
    denoiser = denoisers(name, template)
    assert shown(denoiser, CODE) == SHOWN[template](name, CODE)
    assert shown(denoisers(name, "bare"), CODE, template=template) == SHOWN[template](name, CODE)
    assert shown(denoiser, [{"role": "user", "content": CODE}]) == SHOWN["chat"](name, CODE)


@every_family
@every_template
def test_lm_eval_shows_what_decode_shows(denoisers, name, template):
    denoiser = denoisers(name, template)
    model = UnmaskLM(denoisers(name, "bare"), template=template, budget=2, response_length=5)
    (found,) = model.generate_until([ask("generate_until", CODE, {})])
    assert text_of(denoiser.codec, model._context(CODE)) == SHOWN[template](name, CODE)
    assert found == decode(denoiser, [CODE], budget=2, response_length=5, rows=[0])[0].text
    rendered = model.apply_chat_template([{"role": "user", "content": CODE}])
    (found,) = model.generate_until([ask("generate_until", rendered, {})])
    (wanted,) = decode(denoiser, [[{"role": "user", "content": CODE}]], budget=2, response_length=5, rows=[0])
    assert found == wanted.text


@every_family
@every_template
@pytest.mark.parametrize(("context", "text"), [("Why", " pens"), ("Why ", "pens"), ("Why", "pens"), (CODE, "return")])
def test_a_likelihood_reads_context_and_continuation_as_one_text(denoisers, name, template, context, text):
    denoiser = denoisers(name, template)
    codec = denoiser.codec
    pair = UnmaskLM(denoiser)._pair(context, text, 0)
    if template == "bare":
        whole = codec.opening + codec.encode(context + text)
        cut = len(codec.opening + codec.encode(context.rstrip()))
    else:  # the response begins a line of its own
        whole = codec.encode(SHOWN[template](name, context) + text.lstrip())
        cut = len(codec.encode(SHOWN[template](name, context)))
    assert pair.context + pair.text == whole
    assert len(pair.context) == cut
    canvas = UnmaskLM(denoiser)._canvas(pair)
    assert canvas.masked[0].tolist() == [cut <= i < len(whole) for i in range(canvas.masked.shape[1])]
    closing = CLOSES.get(name, "") if template == "bare" else ""
    assert text_of(codec, canvas.tokens[0, len(whole) :].tolist()) == closing


class Theirs(TemplateLM):
    """lm-eval's own way to read a pair, with our tokenizer."""

    def __init__(self, codec):
        self.codec, self.backend = codec, "causal"

    def tok_encode(self, text, **options):
        return self.codec.encode_prompt(text)

    eot_token_id = loglikelihood_rolling = generate_until = _loglikelihood_tokens = None


@every_family
@pytest.mark.parametrize(("context", "text"), [("Why", " pens"), ("Why ", "pens"), ("pe", "ns and"), (CODE, " return")])
def test_a_bare_pair_is_cut_as_lm_eval_cuts_it(denoisers, name, context, text):
    denoiser = denoisers(name, "bare")
    pair = UnmaskLM(denoiser)._pair(context, text, 0)
    assert (pair.context, pair.text) == Theirs(denoiser.codec)._encode_pair(context, text)


@every_family
def test_given_nothing_a_text_begins_as_any_text_of_its_family(denoisers, name):
    denoiser = denoisers(name, "bare")
    model = UnmaskLM(denoiser, mc_samples=4)
    pair = model._pair("", "pens", 0)
    assert text_of(denoiser.codec, pair.context) == STARTS.get(name, "")
    assert pair.text == denoiser.codec.encode("pens")
    (found,) = model.loglikelihood_rolling([ask("loglikelihood_rolling", "pens")])
    assert found == model.loglikelihood([ask("loglikelihood", "", "pens")])[0][0]


@every_family
@every_template
@pytest.mark.parametrize("text", ["pe<|mask|>s and  pens", "<|mask:2|>s?\n", "  a <|mask|> b\t", "Why?<|mask|>"])
def test_infilling_gives_the_given_text_back_to_the_character(denoisers, name, template, text):
    codec = denoisers(name, template).codec
    (letter,) = codec.encode_on("n")

    def writes_n(canvas):
        logits = torch.zeros(int(canvas.masked.sum()), codec.vocabulary)
        logits[:, letter] = 9
        return Denoised.from_logits(canvas, logits)

    (found,) = decode(writes_n, [text], budget=2, infill=True, codec=codec)
    assert found.text == text.replace("<|mask:2|>", "nn").replace("<|mask|>", "n")
    assert found.prompt == text


@every_family
def test_a_name_of_the_mask_token_in_a_context_is_letters_to_lm_eval_and_a_hint_in_decode(denoisers, name):
    denoiser = denoisers(name, "bare")
    mask = denoiser.codec.mask
    model = UnmaskLM(denoiser, budget=1, response_length=2, mc_samples=1)
    pair = model._pair(f"a {mask} b", f" {mask}", 0)
    assert denoiser.codec.mask_token not in pair.context + pair.text
    assert mask in text_of(denoiser.codec, pair.context)
    (written,) = model.generate_until([ask("generate_until", f"a {mask} b", {})])
    ids = denoiser.codec.encode_prompt(f"a {mask} b", (mask,))
    assert written == decode(denoiser, [ids], budget=1, response_length=2, rows=[0])[0].text
    assert model.loglikelihood_rolling([ask("loglikelihood_rolling", mask)])[0] < 0
    for prompt in (f"a {mask} b", [{"role": "user", "content": f"a {mask} b"}]):
        with pytest.raises(UserError, match="which stands for what is to be written"):
            decode(denoiser, [prompt], budget=1, response_length=2)


def test_base_checkpoints_with_a_chat_template_are_shown_the_text(tmp_path):
    for name in ("llada", "dream"):
        folder = tmp_path / f"{name}-base"
        folder.mkdir()
        path = TINY[name].write(folder)
        config = json.loads((folder / "config.json").read_text()) | {"_name_or_path": None}
        (folder / "config.json").write_text(json.dumps(config))
        assert shown(load_denoiser(path, dtype=torch.float32), CODE) == CODE
        shutil.rmtree(folder)

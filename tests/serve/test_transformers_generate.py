"""`model.generate(custom_generate=...)` on tiny random models: the tokens are those of our own loop."""

from importlib.metadata import distributions

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.orders.folder import LearnedOrder, save_order
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers import make_sampler
from unmask.samplers.decode import decode_canvas
from unmask.samplers.learned import DecodeRule
from unmask.serve.transformers_generate import (
    end_tokens,
    export_custom_generate,
    generate_with,
    padded_after_end,
    refuse_unheeded,
    stream,
    temperature_of,
)

transformers = pytest.importorskip("transformers")

VOCABULARY, MASK, END, PAD = 20, 19, 1, 0


@pytest.fixture(scope="module")
def model():
    """Causal by its architecture, bidirectional by the mask it is given."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.5, pad_token_id=PAD, eos_token_id=END, bos_token_id=None, max_position_embeddings=64,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    model.generation_config.eos_token_id = None
    return model


def ours(model, prompt: list[int], length: int, spec: str, budget: int, **options) -> list[int]:
    """The same tokens from a denoiser written out by hand."""

    def denoiser(canvas: Canvas) -> Denoised:
        tokens = torch.where(canvas.masked, MASK, canvas.tokens)
        everybody = torch.ones(len(tokens), 1, tokens.shape[1], tokens.shape[1], dtype=torch.bool)
        with torch.no_grad():
            logits = model(input_ids=tokens, attention_mask=everybody, use_cache=False).logits[canvas.masked]
        logits[:, MASK] = float("-inf")
        return Denoised.from_logits(canvas, logits)

    tokens = torch.tensor([prompt + [0] * length])
    masked = torch.arange(tokens.shape[1])[None] >= len(prompt)
    decoded = decode_canvas(denoiser, Canvas.make(tokens, masked, budget), make_sampler(spec, END), **options)
    return decoded.canvas.tokens[0].tolist()


def with_full(sampler="margin", **options):
    return generate_with(sampler, mask_token=MASK, attention="full", **options)


@pytest.mark.parametrize("spec", ["margin", "threshold:level=0.3,block=3", "left-to-right", "random"])
def test_the_tokens_are_those_of_our_own_loop(model, spec: str) -> None:
    found = model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=6, custom_generate=with_full(spec, budget=3))
    assert found.tolist() == [ours(model, [5, 6, 7], 6, spec, 3)]


def test_prompts_padded_on_the_left_get_what_they_get_alone(model) -> None:
    prompts = torch.tensor([[PAD, PAD, 5, 6], [7, 8, 9, 10]])
    found = model.generate(prompts, attention_mask=(prompts != PAD).long(), max_new_tokens=5, budget=2,
                           custom_generate=with_full())  # fmt: skip
    assert found[0, 2:].tolist() == ours(model, [5, 6], 5, "margin", 2)
    assert found[1].tolist() == ours(model, [7, 8, 9, 10], 5, "margin", 2)


def test_without_a_budget_one_position_is_written_at_a_time(model, monkeypatch) -> None:
    calls = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    model.generate(torch.tensor([[5, 6]]), max_new_tokens=4, custom_generate=with_full())
    assert len(calls) == 4


def test_sampling_heeds_temperature_and_seed_and_each_sequence_is_its_own_draw(model) -> None:
    def written(**options) -> list[list[int]]:
        return model.generate(torch.tensor([[5, 6]]), max_new_tokens=6, do_sample=True, num_return_sequences=3,
                              custom_generate=with_full(budget=2), **options).tolist()  # fmt: skip

    found = written(temperature=1.5, seed=7)
    assert found[0] == ours(model, [5, 6], 6, "margin", 2, seed=7, temperature=1.5)
    assert len({tuple(row) for row in found}) == 3
    assert found == written(temperature=1.5, seed=7) != written(temperature=1.5, seed=8)


def test_after_the_end_of_text_comes_padding() -> None:
    tokens = torch.tensor([[END, 5, 6, END, 7, END], [2, 5, 6, 7, 8, 9]])
    assert padded_after_end(tokens, 2, [END], PAD).tolist() == [[END, 5, 6, END, PAD, PAD], [2, 5, 6, 7, 8, 9]]
    assert padded_after_end(tokens, 2, [END, 7], None).tolist()[0] == [END, 5, 6, END, END, END]
    assert padded_after_end(tokens, 2, [], PAD) is tokens


def test_a_learned_order_reads_the_hidden_states(model, tmp_path) -> None:
    policy = PolicyNetwork(PolicyConfig(32, 16, 1)).initialise(torch.Generator().manual_seed(0))
    order = LearnedOrder(policy, {4: DecodeRule("threshold", 0.4)})
    found = model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=6, custom_generate=with_full(order, budget=4))
    assert not bool((found == MASK).any())
    save_order(order, tmp_path / "order")
    from_folder = generate_with(order=tmp_path / "order", mask_token=MASK, attention="full", budget=4)
    assert torch.equal(model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=6, custom_generate=from_folder), found)


def test_an_end_rule_heeds_every_end_of_text(model, monkeypatch) -> None:
    """Where whatever can be predicted is an end, all goes at once, wherever it stands in the list."""
    passes: list[int] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))
    for ends, count in (([18, *range(18)], 1), (list(range(19)), 1), (18, 6)):
        passes.clear()
        model.generate(
            torch.tensor([[5, 6, 7]]), max_new_tokens=6, eos_token_id=ends,
            custom_generate=with_full("left-to-right:eot=defer"),
        )  # fmt: skip
        assert len(passes) == count


def test_a_dictionary_is_returned_where_asked_for(model) -> None:
    found = model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, return_dict_in_generate=True,
                           custom_generate=with_full())  # fmt: skip
    assert found.sequences.shape == (1, 5)


def test_a_masked_model_without_generate_gets_one() -> None:
    """BertForMaskedLM has no `generate` of its own; the mixin is all it takes."""

    class Bert(transformers.BertForMaskedLM, transformers.GenerationMixin):
        pass

    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
                                     num_attention_heads=2, max_position_embeddings=32)  # fmt: skip
    found = Bert(config).eval().generate(torch.tensor([[5, 6]]), max_new_tokens=4,
                                         custom_generate=generate_with("top-prob", mask_token=MASK))  # fmt: skip
    assert found.shape == (1, 6)
    assert not bool((found == MASK).any())


@pytest.mark.skipif(not list(distributions(name="unmask")), reason="the folder asks for unmask to be installed")
def test_a_folder_works_from_its_path_and_only_with_consent(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = export_custom_generate(
        tmp_path / "repository", "margin:block=3", budget=3, mask_token=MASK, attention="full"
    )
    prompt = torch.tensor([[5, 6, 7]])
    with pytest.raises(ValueError, match="trust_remote_code"):
        model.generate(prompt, max_new_tokens=6, custom_generate=str(folder), trust_remote_code=False)
    found = model.generate(prompt, max_new_tokens=6, custom_generate=str(folder), trust_remote_code=True)
    assert found.tolist() == [ours(model, [5, 6, 7], 6, "margin:block=3", 3)]
    found = model.generate(prompt, max_new_tokens=6, budget=6, custom_generate=str(folder), trust_remote_code=True)
    assert found.tolist() == [ours(model, [5, 6, 7], 6, "margin:block=3", 6)]


def test_the_folder_has_what_the_hub_looks_for(tmp_path) -> None:
    folder = export_custom_generate(tmp_path / "repository", order="somebody/order", shift=True)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == ["README.md", "custom_generate/generate.py", "custom_generate/requirements.txt"]
    assert "- custom_generate\n" in (folder / "README.md").read_text()
    assert '{"order": \'somebody/order\', "shift": True}' in (folder / "custom_generate" / "generate.py").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top_p": 0.9, "do_sample": True}, r"top_p=0\.9 is not for"),
        ({"budget": 0}, "budget must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_heeded_is_refused(model, options, said) -> None:
    with pytest.raises(UserError, match=said):
        model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, custom_generate=with_full(), **options)


def test_other_mistakes_are_one_sentence(model, tmp_path) -> None:
    prompt = torch.tensor([[5, 6], [5, PAD]])
    with pytest.raises(UserError, match="which token is the mask"):
        model.generate(prompt[:1], max_new_tokens=3, custom_generate=generate_with())
    with pytest.raises(UserError, match="padded on the left"):
        model.generate(prompt, attention_mask=(prompt != PAD).long(), max_new_tokens=3, custom_generate=with_full())
    with pytest.raises(UserError, match="not both"):
        generate_with("margin", order="somewhere")
    with pytest.raises(UserError, match="unknown sampler `margn`"):
        export_custom_generate(tmp_path / "x", "margn")
    assert not (tmp_path / "x").exists()


# ---- ids that are no tokens


class Words:
    """What a tokenizer of transformers has, of ids 0..9 and the mask: the embedding has rows up to 19."""

    mask_token_id = MASK

    def get_vocab(self) -> dict[str, int]:
        return {**{str(number): number for number in range(10)}, "<|mask|>": MASK}


def drawn(model, custom, **options) -> set[int]:
    found = model.generate(torch.tensor([[5, 6]]), max_new_tokens=8, do_sample=True, temperature=5.0,
                           num_return_sequences=30, custom_generate=custom, **options)  # fmt: skip
    return set(found[:, 2:].flatten().tolist())


def test_given_the_tokenizer_no_id_is_written_that_is_none_of_its_tokens(model) -> None:
    assert drawn(model, with_full(budget=1)) == set(range(19))
    assert drawn(model, with_full(budget=1, tokenizer=Words())) == set(range(10))
    assert drawn(model, with_full(budget=1, tokenizer=Words(), impossible=[3, 4])) == set(range(10)) - {3, 4}
    assert drawn(model, with_full(budget=1, impossible=range(2, 40))) == {0, 1}


def test_the_tokenizer_says_which_token_is_the_mask_where_nobody_else_does(model) -> None:
    prompt = torch.tensor([[5, 6, 7]])
    custom = generate_with("margin", tokenizer=Words(), attention="full", impossible=range(10, 19))
    wanted = with_full(impossible=range(10, 19))
    assert torch.equal(model.generate(prompt, max_new_tokens=4, custom_generate=custom),
                       model.generate(prompt, max_new_tokens=4, custom_generate=wanted))  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tokenizer": "gpt2"}, "tokenizer must be one of transformers .* got str"),
        ({"impossible": "3"}, "impossible tokens are whole numbers of at least 0 in a list, got '3'"),
        ({"impossible": [-1]}, r"impossible tokens are .* got \[-1\]"),
        ({"impossible": [2.5]}, r"impossible tokens are .* got \[2\.5\]"),
    ],
)
def test_what_is_no_tokenizer_and_no_id_is_refused_at_once(options, said) -> None:
    with pytest.raises(UserError, match=said):
        generate_with(**options)


def test_ends_may_be_a_tensor() -> None:
    config = transformers.GenerationConfig(eos_token_id=5)
    for ends, wanted in ((torch.tensor([2, 3]), [2, 3]), (torch.tensor(4), [4]), (7, [7]), (None, [])):
        config.eos_token_id = ends
        assert end_tokens(config) == wanted


# ---- everything else that may be asked of `generate`

HEEDED = {"max_length", "max_new_tokens", "do_sample", "temperature", "num_return_sequences", "eos_token_id",
          "pad_token_id", "return_dict_in_generate"}  # fmt: skip
SAYS_NOTHING = {"bos_token_id", "decoder_start_token_id", "transformers_version", "use_cache", "renormalize_logits"}
ASKING = {
    "top_k": 5, "top_p": 0.9, "top_h": 0.4, "min_p": 0.1, "typical_p": 0.9, "epsilon_cutoff": 3e-4, "eta_cutoff": 3e-4,
    "num_beams": 2, "num_beam_groups": 2, "length_penalty": 2.0, "diversity_penalty": 0.5, "early_stopping": True,
    "repetition_penalty": 1.2, "encoder_repetition_penalty": 1.2, "no_repeat_ngram_size": 2,
    "encoder_no_repeat_ngram_size": 2, "bad_words_ids": [[5]], "suppress_tokens": [5], "begin_suppress_tokens": [5],
    "forced_bos_token_id": 5, "forced_eos_token_id": 1, "exponential_decay_length_penalty": (2, 1.1),
    "sequence_bias": [[[5], 2.0]], "guidance_scale": 1.5, "min_length": 2, "min_new_tokens": 2, "max_time": 1.0,
    "remove_invalid_values": True, "output_scores": True, "output_logits": True, "output_attentions": True,
    "output_hidden_states": True, "cache_implementation": "static", "cache_config": {"a": 1}, "max_cache_len": 99,
    "prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 3, "num_assistant_tokens": 5,
    "num_assistant_tokens_schedule": "heuristic", "assistant_confidence_threshold": 0.9, "assistant_lookbehind": 5,
    "target_lookbehind": 5, "assistant_early_exit": 1, "penalty_alpha": 0.5, "dola_layers": "low", "low_memory": True,
    "disable_compile": True, "prefill_chunk_size": 2, "is_assistant": True,
}  # fmt: skip
ASKING |= dict.fromkeys((
    "assistant_ensemble_weight", "compile_config", "constraints", "continuous_batching_config", "force_words_ids",
    "speculation_type", "stop_strings", "token_healing", "use_mtp", "watermarking_config",
), "something")  # fmt: skip


def test_every_entry_of_a_generation_config_is_thought_of() -> None:
    entries = {name for name in vars(transformers.GenerationConfig()) if not name.startswith("_")}
    assert entries <= HEEDED | SAYS_NOTHING | set(ASKING)


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.filterwarnings("ignore")
def test_an_entry_that_is_not_heeded_is_refused_by_name(model, name: str) -> None:
    config = transformers.GenerationConfig(pad_token_id=PAD)
    setattr(config, name, ASKING[name])
    with pytest.raises(UserError, match=rf"{name}=.* (is|are) not for masked-diffusion decoding: leave (it|them) out"):
        refuse_unheeded(config, {})


@pytest.mark.parametrize(
    "name", ["top_p", "min_p", "typical_p", "suppress_tokens", "bad_words_ids", "guidance_scale", "min_new_tokens",
             "no_repeat_ngram_size", "max_time", "num_beams", "repetition_penalty", "forced_eos_token_id",
             "output_scores"]
)  # fmt: skip
def test_and_so_it_is_when_given_to_generate(model, name: str) -> None:
    options = {"do_sample": True} if name in ("top_p", "min_p", "typical_p") else {}
    with pytest.raises(UserError, match=f"{name}=.* not for masked-diffusion decoding"):
        model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, custom_generate=with_full(),
                       **{name: ASKING[name]}, **options)  # fmt: skip


def test_entries_of_a_models_own_code_are_no_request(model, monkeypatch) -> None:
    """As Dream's have `steps` and `alg`."""
    monkeypatch.setattr(model.generation_config, "alg", "origin", raising=False)
    found = model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, custom_generate=with_full())
    assert found.shape == (1, 5)
    with pytest.raises(UserError, match="alg=entropy is not for masked-diffusion"):
        model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, custom_generate=with_full(), alg="entropy")


class Never(transformers.StoppingCriteria):
    def __call__(self, input_ids, scores, **kwargs):
        return torch.zeros(len(input_ids), dtype=torch.bool)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logits_processor", lambda: transformers.LogitsProcessorList([transformers.TemperatureLogitsWarper(0.5)])),
        ("stopping_criteria", lambda: transformers.StoppingCriteriaList([Never()])),
        ("stopping_criteria", lambda: transformers.StoppingCriteriaList([transformers.MaxLengthCriteria(3)])),
        ("prefix_allowed_tokens_fn", lambda: lambda batch, ids: [5]),
        ("negative_prompt_ids", lambda: torch.tensor([[5]])),
        ("synced_gpus", lambda: True),
        ("position_ids", lambda: torch.tensor([[3, 4]])),
    ],
)
def test_an_argument_of_generate_that_is_not_heeded_is_refused_by_name(model, name: str, value) -> None:
    with pytest.raises(UserError, match=f"{name} is not for masked-diffusion decoding: leave it out"):
        model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, custom_generate=with_full(), **{name: value()})


def test_what_asks_for_nothing_is_taken(model) -> None:
    neutral = {"logits_processor": transformers.LogitsProcessorList(), "stopping_criteria": [], "top_k": 50,
               "top_p": 1.0, "num_beams": 1, "repetition_penalty": 1.0, "guidance_scale": 1.0, "min_length": 0,
               "use_cache": False, "output_scores": False, "attention_mask": torch.ones(1, 2).long()}  # fmt: skip
    plain = model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, custom_generate=with_full())
    assert torch.equal(model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, custom_generate=with_full(), **neutral),
                       plain)  # fmt: skip


class Kept(transformers.generation.streamers.BaseStreamer):
    def __init__(self) -> None:
        self.values, self.ended = [], 0

    def put(self, value) -> None:
        self.values.append(value.tolist())

    def end(self) -> None:
        self.ended += 1


@pytest.mark.parametrize("prompt", [[[5, 6, 7]], [[5, 6], [7, 8]]])
def test_a_streamer_is_given_the_prompt_what_was_written_and_the_end(model, prompt) -> None:
    streamer = Kept()
    found = model.generate(torch.tensor(prompt), max_new_tokens=4, custom_generate=with_full(), streamer=streamer)
    assert streamer.values[0] == prompt
    assert streamer.values[1:] == found[:, len(prompt[0]) :].T.tolist()
    assert streamer.ended == 1


def test_a_streamer_is_given_no_more_than_up_to_the_last_end_of_text() -> None:
    streamer = Kept()
    stream(streamer, torch.tensor([[5, END, PAD, PAD, PAD], [5, 6, END, PAD, PAD]]), [END])
    assert streamer.values == [[5, 5], [END, 6], [PAD, END]]
    whole = Kept()
    stream(whole, torch.tensor([[5, END, 6]]), [])
    assert whole.values == [[5], [END], [6]]


def test_a_text_streamer_gives_the_text_that_generate_gives(model) -> None:
    from unmask.denoisers.codec import Codec

    codec = Codec.train(["abc"], 300)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=codec.tokenizer, pad_token="<|pad|>")
    streamer = transformers.TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    found = model.generate(torch.tensor([[5, 6]]), max_new_tokens=6, custom_generate=with_full(), streamer=streamer)
    assert "".join(streamer) == tokenizer.decode(found[0, 2:], skip_special_tokens=True)


def test_sampling_without_a_temperature_is_at_one(model) -> None:
    config = transformers.GenerationConfig(do_sample=True, temperature=None)
    assert temperature_of(config) == 1.0
    assert temperature_of(transformers.GenerationConfig(do_sample=False, temperature=0.3)) == 0.0


@pytest.mark.skipif(not list(distributions(name="unmask")), reason="the folder asks for unmask to be installed")
def test_the_folder_refuses_and_streams_as_the_function_does(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = export_custom_generate(tmp_path / "repository", "margin", mask_token=MASK, attention="full")
    options = {"custom_generate": str(folder), "trust_remote_code": True, "max_new_tokens": 4}
    for name, value in (("suppress_tokens", [5]), ("stopping_criteria", transformers.StoppingCriteriaList([Never()]))):
        with pytest.raises(UserError, match=f"{name}.* is not for masked-diffusion decoding"):
            model.generate(torch.tensor([[5, 6]]), **options, **{name: value})
    streamer = Kept()
    found = model.generate(torch.tensor([[5, 6]]), streamer=streamer, **options)
    assert streamer.values == [[[5, 6]], *found[:, 2:].T.tolist()]
    assert streamer.ended == 1
    more = {"trust_remote_code": True, "budget": 1, "tokenizer": Words()}
    assert drawn(model, str(folder), **more) == set(range(10))

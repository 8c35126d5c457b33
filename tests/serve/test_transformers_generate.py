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
from unmask.serve.transformers_generate import export_custom_generate, generate_with, padded_after_end

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

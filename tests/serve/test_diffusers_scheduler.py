"""diffusers' own pipeline for masked tokens, with our unmaskers as its scheduler: the tokens are those of our loop."""

import pytest
import torch

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.base import Denoised
from unmask.orders.folder import LearnedOrder
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers import make_sampler
from unmask.samplers.decode import decode_canvas
from unmask.samplers.learned import DecodeRule
from unmask.serve.diffusers_scheduler import as_diffusers_scheduler

pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

VOCABULARY, MASK, END = 20, 19, 1
PROMPT = [5, 6, 7]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.5, max_position_embeddings=64,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config).eval()


def pipeline(model, scheduler):
    from diffusers import LLaDA2Pipeline

    made = LLaDA2Pipeline(model=model, scheduler=scheduler)
    made.set_progress_bar_config(disable=True)
    return made


def run(model, scheduler, prompts=(PROMPT,), length=9, **options):
    """The tokens after the prompts."""
    given = {"gen_length": length, "num_inference_steps": 3, "mask_token_id": MASK, "eos_early_stop": False}
    found = pipeline(model, scheduler)(input_ids=torch.tensor(prompts), output_type="seq", **(given | options))
    return found.sequences.tolist()


def ours(model, unmasker, prompts=(PROMPT,), length=9, block=6, steps=3, seed=0, temperature=0.0):
    """The same by `decode_canvas`, block by block, each block a canvas of its own and the text before it given."""
    tokens = torch.cat([torch.tensor(prompts), torch.full((len(prompts), length), MASK)], dim=1)
    assert tokens.shape[1] % block == 0
    for number, start in enumerate(range(len(prompts[0]) // block * block, tokens.shape[1], block)):

        def denoiser(canvas: Canvas, start: int = start) -> Denoised:
            here = torch.where(canvas.masked, MASK, canvas.tokens)
            before = tokens[canvas.row % (1 << 32), :start]
            with torch.no_grad():
                logits = model(torch.cat([before, here], dim=1)).logits[:, start:][canvas.masked]
            logits[:, MASK] = float("-inf")
            return Denoised.from_logits(canvas, logits)

        part = tokens[:, start : start + block]
        first_block = len(prompts[0]) // block
        rows = torch.arange(len(prompts)) + ((start // block - first_block) << 32)
        assert number == start // block - first_block
        canvas = Canvas.make(part, part == MASK, steps, row=rows)
        decoded = decode_canvas(denoiser, canvas, unmasker, seed=seed, temperature=temperature)
        tokens[:, start : start + block] = decoded.canvas.tokens
    return tokens[:, len(prompts[0]) :].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["margin", "threshold:level=0.3", "left-to-right", "random", "iid", "remdm"])
def test_the_tokens_are_those_of_our_own_loop(model, spec: str) -> None:
    prompts = [PROMPT, [8, 9, 2]]
    found = run(model, as_diffusers_scheduler(spec, block_length=6), prompts)
    assert found == ours(model, make_sampler(spec), prompts)


@pytest.mark.slow
def test_an_end_rule_heeds_every_end_token(model) -> None:
    ends = list(range(2, 12))
    found = run(model, as_diffusers_scheduler("margin:eot=defer", block_length=6, end_token=ends))
    assert found == ours(model, make_sampler("margin:eot=defer", ends))


@pytest.mark.slow
def test_at_a_temperature_the_draws_are_ours_too(model) -> None:
    for seed in (0, 1):
        scheduler = as_diffusers_scheduler("margin", block_length=6, seed=seed)
        found = run(model, scheduler, temperature=1.5)
        assert found == ours(model, make_sampler("margin"), seed=seed, temperature=1.5)
    greedy = run(model, as_diffusers_scheduler("margin", block_length=6), temperature=1.5, sampling_method="greedy")
    assert greedy == ours(model, make_sampler("margin"))


@pytest.mark.slow
def test_no_pass_is_made_once_a_block_is_written_and_a_second_text_starts_afresh(model, monkeypatch) -> None:
    calls = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    scheduler = as_diffusers_scheduler("threshold:level=0.0", block_length=6)
    first = run(model, scheduler)
    assert len(calls) == 2  # one for each block
    assert run(model, scheduler) == first
    calls.clear()
    run(model, as_diffusers_scheduler("margin", block_length=6))
    assert len(calls) == 6


@pytest.mark.slow
def test_an_order_that_reads_no_hidden_states_is_a_scheduler(model) -> None:
    policy = PolicyNetwork(PolicyConfig(0, 16, 1)).initialise(torch.Generator().manual_seed(0))
    order = LearnedOrder(policy, {3: DecodeRule("threshold", 0.4)})
    found = run(model, as_diffusers_scheduler(order, block_length=6))
    assert found == ours(model, order.unmasker(3))


@pytest.mark.slow
def test_the_pipeline_ends_at_an_end_of_text(model) -> None:
    scheduler = as_diffusers_scheduler("left-to-right", block_length=6)
    whole = run(model, scheduler, num_inference_steps=9)
    end = whole[0][0]
    stopped = run(model, scheduler, num_inference_steps=9, eos_early_stop=True, eos_token_id=end)
    assert stopped[0][0] == end
    assert MASK in stopped[0]
    assert MASK not in whole[0]


def test_a_named_scheduler_is_saved_and_read(tmp_path) -> None:
    as_diffusers_scheduler("threshold:level=0.3", block_length=6, seed=4).save_pretrained(tmp_path)
    from unmask.serve.block_scheduler import UnmaskScheduler

    config = UnmaskScheduler.from_pretrained(tmp_path).config
    assert (config.sampler, config.block_length, config.seed) == ("threshold:level=0.3", 6, 4)


def test_a_single_step_says_what_was_written_and_how_probable_it_was() -> None:
    scheduler = as_diffusers_scheduler("top-prob", block_length=4)
    scheduler.set_timesteps(3, block_length=4)
    logits = torch.tensor([[[0, 0, 0.0], [0, 3, 0], [0, 1, 0], [4, 0, 0]]])
    sample = torch.tensor([[2, 2, 2, 2]])
    prompt = torch.tensor([False, False, False, True])
    found = scheduler.step(logits, 0, sample, mask_token_id=2, prompt_mask=prompt)
    assert found.prev_sample.tolist() == [[2, 1, 2, 2]]
    assert found.transfer_index.tolist() == [[False, True, False, False]]
    assert found.sampled_probs[0, 1].item() == pytest.approx(float(logits[0, 1].softmax(-1)[1]))
    assert torch.equal(sample, torch.tensor([[2, 2, 2, 2]]))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"top_k": 5}, "whole law"), ({"top_p": 0.9}, "whole law"), ({"mask_token_id": None}, "no mask token")],
)
def test_what_cannot_be_heeded_is_refused(options, said) -> None:
    scheduler = as_diffusers_scheduler()
    scheduler.set_timesteps(2)
    with pytest.raises(UserError, match=said):
        scheduler.step(torch.zeros(1, 2, 3), 0, torch.full((1, 2), 2), **({"mask_token_id": 2} | options))


def test_what_needs_more_than_logits_is_refused() -> None:
    with pytest.raises(UserError, match="unknown sampler `margn`"):
        as_diffusers_scheduler("margn")
    with pytest.raises(UserError, match="looks again at what it wrote"):
        as_diffusers_scheduler("wino")
    policy = PolicyNetwork(PolicyConfig(32, 16, 1))
    with pytest.raises(UserError, match="width 32"):
        as_diffusers_scheduler(LearnedOrder(policy, {}))
    with pytest.raises(UserError, match="set_timesteps"):
        as_diffusers_scheduler().step(torch.zeros(1, 2, 3), 0, torch.full((1, 2), 2), mask_token_id=2)

"""Approximate caches: exact where they must be, and what they keep is what an earlier pass computed."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import pad

from unmask import decode, load_denoiser
from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers.caches import Cache, CachedTransformer, make_cache, with_cache
from unmask.denoisers.table import TableDenoiser
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.samplers import decode_canvas, make_sampler
from unmask.samplers.state import take_rows

from .families.entries import TINY

VOCABULARY, MASK = 13, 4
SHAPE = TransformerConfig(VOCABULARY, MASK, context=32, layers=3, width=16, heads=4, hidden=20, kv_heads=2)
CACHES = (
    "prefix-approximate",
    "prefix-approximate:refresh=3",
    "dual-approximate:window=3",
    "dual-approximate:window=4,refresh=2",
)
every_cache = pytest.mark.parametrize("cache", CACHES)


def network_of(layers=3):
    """In float64, with weights large enough for every part to matter."""
    made = Transformer(replace(SHAPE, layers=layers))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.5, generator=generator)
    return made.double().eval()


def canvas_of(rows=5, length=14):
    """Different prompts, masked spans, budgets and paddings on the left."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(VOCABULARY, (rows, length), generator=generator)
    masked = (torch.rand(rows, length, generator=generator) < 0.8) & (torch.arange(length) > 4)
    valid = torch.arange(length) >= torch.arange(rows)[:, None] % 4
    return Canvas.make(tokens, masked, torch.arange(rows) + 2, valid)


def assert_same_decode(one, other):
    assert torch.equal(one.canvas.tokens, other.canvas.tokens)
    assert torch.equal(one.revealed_at, other.revealed_at)
    assert torch.equal(one.nfe, other.nfe)
    torch.testing.assert_close(one.log_prob, other.log_prob, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["prefix-approximate", "dual-approximate"])
@pytest.mark.parametrize("sampler", ["top-prob", "threshold:level=0.5", "entropy:block=3", "random"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_with_a_full_pass_at_every_step_it_is_the_exact_path(name, sampler, temperature):
    network, canvas, unmasker = network_of(), canvas_of(), make_sampler(sampler)
    exact = decode_canvas(network, canvas, unmasker, temperature=temperature, log_probs=True)
    cached = with_cache(network, f"{name}:refresh=1")
    assert_same_decode(decode_canvas(cached, canvas, unmasker, temperature=temperature, log_probs=True), exact)


@pytest.mark.parametrize(
    "cache", ["prefix-approximate", "dual-approximate:window=3", "dual-approximate:window=3,refresh=2"]
)
def test_in_a_network_of_one_layer_what_is_kept_is_exact(cache):
    """Keys and values of the first layer depend on the token alone, and blocks read the dual cache where it is new."""
    network, canvas = network_of(layers=1), canvas_of()
    canvas = replace(canvas, masked=torch.arange(14) > 4 + torch.zeros(5, 1).long(), budget=torch.full((5,), 9))
    unmasker = make_sampler("margin:block=3")
    exact = decode_canvas(network, canvas, unmasker)
    assert_same_decode(decode_canvas(with_cache(network, cache), canvas, unmasker), exact)


def reference(network, canvas, first, live):
    """Hidden states [L, D] of one row: a whole pass with keys and values of the pass over `first` where not live."""

    def run(now, then):
        x = network.embed(network.visible(now))
        size = network.config.width // network.config.heads
        place = torch.arange(x.shape[1]) - now.valid.long().argmax()
        angle = place[:, None] * network.config.rope_base ** (-torch.arange(0, size, 2).double() / size)
        cos, sin = (torch.cat([part, part], -1)[None, None] for part in (angle.cos(), angle.sin()))
        kept = []
        for layer, block in enumerate(network.blocks):
            query, key, value = block.attention.project(block.attention_norm(x), cos, sin)
            kept.append((key, value))
            if then is not None:
                key = torch.where(live[None, None, :, None], key, then[layer][0])
                value = torch.where(live[None, None, :, None], value, then[layer][1])
            x = x + block.attention.mix(query, key, value, now.valid[:, None, None, :])
            x = x + block.feed_forward(block.feed_forward_norm(x))
        return network.norm(x)[0], kept

    old, kept = run(first, None)
    new, _ = run(canvas, kept)
    return torch.where(live[:, None], new, old)


@pytest.mark.parametrize("window", [None, 4])
@torch.no_grad()
def test_a_pass_with_a_cache_is_a_whole_pass_with_old_keys_and_values(window):
    network, canvas = network_of(), canvas_of()
    cached = CachedTransformer(network, Cache(window))
    _, memory = cached.denoise(canvas, cached.begin(canvas))
    first = canvas.masked.long().argmax(-1, keepdim=True)
    after = canvas.reveal(torch.arange(14) == first + 1, torch.full_like(canvas.tokens, 7))
    denoised, _ = cached.denoise(after, memory)
    for row in range(5):
        end = 14 if window is None else int(first[row]) + window
        live = canvas.masked[row] & (torch.arange(14) < end)
        index = torch.tensor([row])
        expected = reference(network, after.take(index), canvas.take(index), live)[after.masked[row]]
        torch.testing.assert_close(denoised.hidden[denoised.where[:, 0] == row], expected, rtol=1e-10, atol=1e-12)
    exact = network(after).hidden
    assert not torch.allclose(denoised.hidden, exact, rtol=1e-3), "it is an approximation, and named so"


@every_cache
def test_a_row_does_not_depend_on_its_neighbours_or_padding(cache):
    """Rows finish, and are due for full passes, at different steps."""
    cached, canvas, unmasker = with_cache(network_of(), cache), canvas_of(), make_sampler("top-prob")
    wide = replace(
        canvas,
        tokens=pad(canvas.tokens, (2, 1)),
        masked=pad(canvas.masked, (2, 1)),
        valid=pad(canvas.valid, (2, 1)),
    )
    together = decode_canvas(cached, wide, unmasker)
    for row in range(5):
        alone = decode_canvas(cached, canvas.take(torch.tensor([row])), unmasker)
        assert torch.equal(together.canvas.tokens[row, 2:-1], alone.canvas.tokens[0])
        assert torch.equal(together.revealed_at[row, 2:-1], alone.revealed_at[0])
        assert together.nfe[row] == alone.nfe[0]


@every_cache
def test_memory_is_returned_and_never_changed(cache):
    cached, canvas = with_cache(network_of(), cache), canvas_of()
    _, memory = cached.denoise(canvas, cached.begin(canvas))
    after = canvas.reveal(canvas.masked & (torch.arange(14) < 9), canvas.tokens)
    before = [value.clone() for value in memory]
    one, two = cached.denoise(after, memory), cached.denoise(after, memory)
    assert torch.equal(one[0].hidden, two[0].hidden)
    assert all(torch.equal(a, b) for a, b in zip(memory, before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one[1], two[1], strict=True))
    fewer = torch.tensor([3, 1])
    part, _ = cached.denoise(after.take(fewer), take_rows(memory, fewer))
    assert torch.allclose(part.hidden[part.where[:, 0] == 0], one[0].hidden[one[0].where[:, 0] == 3], rtol=1e-10)


def test_called_plainly_it_remembers_nothing_and_is_exact():
    network, canvas = network_of(), canvas_of()
    cached = with_cache(network, "prefix-approximate")
    for _ in range(2):
        assert torch.equal(cached(canvas).hidden, network(canvas).hidden)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prefix", "unknown cache `prefix`. Did you mean `prefix-approximate`"),
        ("prefix-approximate:window=3", "unknown option of `prefix-approximate` `window`"),
        ("dual-approximate:window=0", "window of a cache must be a whole number of at least 1, got 0"),
        ("dual-approximate:refresh=often", "refresh of a cache must be a whole number"),
    ],
)
def test_a_cache_that_cannot_be_is_refused(text, said):
    with pytest.raises(UserError, match=said):
        make_cache(text)


def test_only_the_native_transformer_has_caches():
    table = TableDenoiser.of(torch.full((2, 2), 0.25))
    with pytest.raises(UserError, match="TableDenoiser is another denoiser"):
        with_cache(table, "prefix-approximate")


@pytest.mark.parametrize("name", ["wino", "remdm", "p2"])
def test_what_takes_back_its_writing_goes_without_a_cache(name):
    with pytest.raises(UserError, match="decode without a cache"):
        decode_canvas(with_cache(network_of(), "prefix-approximate"), canvas_of(), make_sampler(name))


@every_cache
def test_logits_that_are_not_numbers_are_refused_through_a_cache(cache):
    """NaN from the second layer on, as where activations pass what float16 holds."""
    network = network_of()
    with torch.no_grad():
        network.blocks[1].feed_forward_norm.weight.fill_(torch.inf)
    with pytest.raises(UserError, match=r"NaN logits .* of row 0, at step 1"):
        decode_canvas(with_cache(network, cache), canvas_of(), make_sampler("top-prob"))


@pytest.mark.parametrize("name", ["mdlm", "bert", "modern_bert"])
@pytest.mark.parametrize("cache", ["prefix-approximate", "dual-approximate:window=3"])
def test_families_that_cannot_be_cached_are_named_with_those_that_can(tmp_path, name, cache):
    denoiser = load_denoiser(TINY[name].write(tmp_path))
    kind = {"mdlm": "DiT", "bert": "Bert", "modern_bert": "ModernBert"}[name]
    with pytest.raises(UserError, match=f"native transformer, and {kind} is another denoiser: LLaDA, Dream, SMDM"):
        decode(denoiser, ["Why?"], budget=2, response_length=3, cache=cache)


@pytest.mark.parametrize("name", ["llada", "dream", "smdm"])
def test_families_that_can_be_cached_write_as_without_where_nothing_is_old(tmp_path, name):
    denoiser = load_denoiser(TINY[name].write(tmp_path), dtype=torch.float32)
    plain, cached = (
        decode(denoiser, ["Why?"], budget=4, response_length=6, cache=cache)[0].tokens
        for cache in (None, "prefix-approximate:refresh=1")
    )
    assert cached == plain

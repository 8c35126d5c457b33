"""The network against its definition, and what must not change it: padding, neighbours, chunks."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import pad

from unmask.core.canvas import Canvas
from unmask.core.errors import UserError
from unmask.denoisers import base
from unmask.denoisers.transformer import Transformer, TransformerConfig, rotary_angles

VOCABULARY, MASK = 11, 4
SMALL = TransformerConfig(VOCABULARY, MASK, context=16, layers=2, width=16, heads=4, hidden=20)
SHAPES = {
    "plain": SMALL,
    "grouped heads": replace(SMALL, kv_heads=2),
    "one key head": replace(SMALL, kv_heads=1),
    "biases": replace(SMALL, qkv_bias=True),
    "untied": replace(SMALL, tied=False, layers=3, norm_eps=1e-3, rope_base=100.0),
}
every_shape = pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())


def network_of(config, dtype=torch.float64, seed=0):
    """Random weights large enough for every part to matter, those of norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    network = Transformer(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            size = 0.4 if parameter.dim() > 1 else 0.5
            parameter.normal_(1.0 if "norm" in name else 0.0, size, generator=generator)
    return network.to(dtype).eval()


def canvas_of(rows=3, length=9, seed=0, budget=4):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCABULARY, (rows, length), generator=generator)
    masked = torch.rand(rows, length, generator=generator) < 0.5
    valid = torch.ones_like(masked)
    for row in range(rows):
        valid[row, :row] = False
    return Canvas.make(tokens, masked, budget, valid)


def widen(canvas, left, right):
    return replace(
        canvas,
        tokens=pad(canvas.tokens, (left, right), value=2),
        masked=pad(canvas.masked, (left, right), value=False),
        valid=pad(canvas.valid, (left, right), value=False),
    )


def all_logits(network, canvas):
    return network(canvas).logits(slice(None))


# ---- the definition, one row and one head at a time


def rms_norm(x, weight, eps):
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def rotated(vector, position, base):
    """Each pair (v_k, v_{k + d/2}) turned by position * base^(-2k/d)."""
    size, out = len(vector), vector.clone()
    for k in range(size // 2):
        angle = position * base ** (-2 * k / size)
        a, b = vector[k], vector[k + size // 2]
        out[k] = a * math.cos(angle) - b * math.sin(angle)
        out[k + size // 2] = b * math.cos(angle) + a * math.sin(angle)
    return out


def reference(network, tokens):
    """[L, V] logits of one row without padding, straight from the definition."""
    config, weights = network.config, dict(network.state_dict())
    size, kv_heads = config.width // config.heads, config.kv_heads or config.heads
    x = weights["embed.weight"][tokens]
    for layer in range(config.layers):
        w = {name.split(".", 2)[2]: v for name, v in weights.items() if name.startswith(f"blocks.{layer}.")}
        normed = rms_norm(x, w["attention_norm.weight"], config.norm_eps)
        zero = torch.zeros((), dtype=x.dtype)
        query, key, value = (
            normed @ w[f"attention.{name}.weight"].T + w.get(f"attention.{name}.bias", zero)
            for name in ("query", "key", "value")
        )
        heads = []
        for head in range(config.heads):
            own = slice(head * size, (head + 1) * size)
            shared = head // (config.heads // kv_heads)
            theirs = slice(shared * size, (shared + 1) * size)
            q = torch.stack([rotated(v, i, config.rope_base) for i, v in enumerate(query[:, own])])
            k = torch.stack([rotated(v, i, config.rope_base) for i, v in enumerate(key[:, theirs])])
            heads.append((q @ k.T / math.sqrt(size)).softmax(-1) @ value[:, theirs])
        x = x + torch.cat(heads, -1) @ w["attention.out.weight"].T
        normed = rms_norm(x, w["feed_forward_norm.weight"], config.norm_eps)
        gate, up = normed @ w["feed_forward.gate.weight"].T, normed @ w["feed_forward.up.weight"].T
        x = x + (gate * gate.sigmoid() * up) @ w["feed_forward.down.weight"].T
    logits = rms_norm(x, weights["norm.weight"], config.norm_eps) @ weights["head.weight"].T
    logits[:, config.mask_token] = -math.inf
    return logits


@every_shape
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_the_network_is_its_definition(config, dtype, tolerance):
    network, canvas = network_of(config, dtype), canvas_of()
    logits = all_logits(network, canvas)
    assert logits.dtype == dtype
    for (row, position), ours in zip(canvas.masked.nonzero().tolist(), logits, strict=True):
        valid = canvas.valid[row]
        tokens = torch.where(canvas.masked[row], MASK, canvas.tokens[row])[valid]
        theirs = reference(network, tokens)[position - int((~valid).sum())]
        # the size of a logit here is about 5
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=5 * tolerance)


# ---- what must not matter


@every_shape
@pytest.mark.parametrize("pads", [(3, 0), (0, 4), (2, 2)])
def test_logits_do_not_depend_on_padding(config, pads):
    network, canvas = network_of(config), canvas_of()
    torch.testing.assert_close(
        all_logits(network, widen(canvas, *pads)), all_logits(network, canvas), rtol=1e-11, atol=1e-12
    )


@every_shape
def test_logits_do_not_depend_on_neighbours(config):
    network, canvas = network_of(config), canvas_of(rows=4)
    together = network(canvas)
    for row in range(4):
        alone = all_logits(network, canvas.take(torch.tensor([row])))
        here = together.logits(slice(None))[together.where[:, 0] == row]
        torch.testing.assert_close(here, alone, rtol=1e-11, atol=1e-12)


def test_what_stands_at_masked_and_padded_positions_does_not_matter():
    network, canvas = network_of(SMALL), canvas_of()
    other = torch.where(canvas.valid & ~canvas.masked, canvas.tokens, (canvas.tokens + 3) % VOCABULARY)
    changed = replace(canvas, tokens=other)
    assert not torch.equal(changed.tokens, canvas.tokens)
    torch.testing.assert_close(all_logits(network, changed), all_logits(network, canvas), rtol=1e-13, atol=1e-13)


def test_every_visible_token_matters_on_either_side():
    """Bidirectional: a change on the right is seen on the left, and the other way round."""
    network = network_of(SMALL)
    masked = torch.tensor([[False, True, False, True, False]])
    canvas = Canvas.make(torch.tensor([[0, 0, 1, 0, 2]]), masked, 2)
    before = all_logits(network, canvas)
    for position in (0, 2, 4):
        tokens = canvas.tokens.clone()
        tokens[0, position] += 5
        changed = (all_logits(network, replace(canvas, tokens=tokens)) - before).abs().nan_to_num()
        assert (changed.amax(-1) > 1e-6).all()


@every_shape
def test_the_mask_token_is_impossible_and_every_other_is_possible(config):
    logits = all_logits(network_of(config), canvas_of())
    assert (logits[:, MASK] == -math.inf).all()
    assert logits[:, [t for t in range(VOCABULARY) if t != MASK]].isfinite().all()


def test_the_answer_is_packed_in_the_order_of_the_masked_positions():
    canvas = canvas_of(rows=4)
    denoised = network_of(SMALL)(canvas)
    assert torch.equal(denoised.where, canvas.masked.nonzero())
    assert denoised.shape == tuple(canvas.masked.shape)
    assert denoised.vocabulary == VOCABULARY
    assert denoised.hidden.shape == (len(denoised.where), SMALL.width)


def test_the_hidden_states_are_what_the_head_reads():
    network, canvas = network_of(replace(SMALL, tied=False)), canvas_of()
    denoised = network(canvas)
    by_hand = denoised.hidden @ network.head.weight.T
    keep = torch.arange(VOCABULARY) != MASK
    torch.testing.assert_close(denoised.logits(slice(None))[:, keep], by_hand[:, keep], rtol=1e-12, atol=1e-12)


def test_a_finished_canvas_has_an_empty_answer():
    canvas = canvas_of()
    denoised = network_of(SMALL)(replace(canvas, masked=torch.zeros_like(canvas.masked)))
    assert denoised.where.shape == (0, 2)
    assert denoised.entropy.shape == (0,)


def test_logits_in_chunks_are_the_logits_held(monkeypatch):
    network, canvas = network_of(SMALL), canvas_of(rows=4)
    held = network(canvas)
    monkeypatch.setattr(base, "CHUNK_BYTES", 2 * VOCABULARY * 8)
    chunked = network(canvas)
    assert len(chunked.chunks()) > 2
    for part in (slice(0, 3), slice(3, None), slice(None)):
        torch.testing.assert_close(chunked.logits(part), held.logits(part), rtol=1e-13, atol=1e-13)
    for name in ("top2", "entropy", "hidden", "where"):
        torch.testing.assert_close(getattr(chunked, name), getattr(held, name), rtol=1e-6, atol=1e-7)
    tokens = held.top2_tokens[:, 1]
    torch.testing.assert_close(chunked.log_prob(tokens), held.log_prob(tokens), rtol=1e-12, atol=1e-12)


def test_logits_in_chunks_have_the_gradients_of_the_logits_held(monkeypatch):
    canvas, gradients = canvas_of(), []
    for limit in (base.CHUNK_BYTES, 5):
        monkeypatch.setattr(base, "CHUNK_BYTES", limit)
        network = network_of(SMALL)
        denoised = network(canvas)
        denoised.log_prob(denoised.top2_tokens[:, 1]).sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for held, chunked in zip(*gradients, strict=True):
        torch.testing.assert_close(chunked, held, rtol=1e-10, atol=1e-12)


def test_a_pass_without_gradient_has_none_when_its_chunks_are_read_later(monkeypatch):
    monkeypatch.setattr(base, "CHUNK_BYTES", 5)
    with torch.no_grad():
        denoised = network_of(SMALL)(canvas_of())
    assert not denoised.log_prob(denoised.top2_tokens[:, 0]).requires_grad


def test_grouped_key_heads_are_full_heads_repeated():
    grouped, full = network_of(replace(SMALL, kv_heads=2, qkv_bias=True)), Transformer(replace(SMALL, qkv_bias=True))
    full = full.double()
    weights = grouped.state_dict()
    size = SMALL.width // SMALL.heads
    for name in list(weights):
        if ".key." in name or ".value." in name:
            heads = weights[name].unflatten(0, (2, size))
            weights[name] = heads.repeat_interleave(2, dim=0).flatten(0, 1)
    full.load_state_dict(weights)
    canvas = canvas_of()
    torch.testing.assert_close(all_logits(full, canvas), all_logits(grouped, canvas), rtol=1e-12, atol=1e-12)


def test_biases_are_on_query_key_and_value_only_where_asked_for():
    biased = {name for name in Transformer(SHAPES["biases"]).state_dict() if name.endswith("bias")}
    assert biased == {f"blocks.{i}.attention.{part}.bias" for i in range(2) for part in ("query", "key", "value")}
    assert not [name for name in Transformer(SMALL).state_dict() if name.endswith("bias")]


def test_a_bfloat16_network_still_rotates_in_float32():
    """At position 255 bfloat16 is off by a whole radian."""
    cos, sin = rotary_angles(torch.tensor([[255]]), 4, 10_000.0, torch.bfloat16)
    assert float(cos[0, 0, 0, 0]) == pytest.approx(math.cos(255), abs=1e-6)
    assert float(sin[0, 0, 0, 1]) == pytest.approx(math.sin(2.55), abs=1e-6)
    network = network_of(SMALL, torch.bfloat16)
    assert all_logits(network, canvas_of()).dtype == torch.bfloat16


def test_the_same_seed_initialises_the_same_weights_and_leaves_the_global_generator_alone():
    one, two = Transformer(SMALL), Transformer(SMALL)
    before = torch.get_rng_state()
    one.initialise(torch.Generator().manual_seed(3))
    two.initialise(torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)
    for (name, a), (_, b) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    assert torch.equal(one.head.weight, one.embed.weight)


# ---- errors


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 18}, "width 18 does not split into 4 heads"),
        ({"width": 12}, "even size, got width/heads = 3"),
        ({"kv_heads": 3}, "4 heads do not share 3 key/value heads evenly"),
        ({"kv_heads": 8}, "4 heads do not share 8"),
        ({"kv_heads": 0}, "kv_heads must be a whole number of at least 1, got 0"),
        ({"heads": 0}, "heads must be a whole number of at least 1, got 0"),
        ({"width": "16"}, "width must be a whole number of at least 1, got '16'"),
        ({"mask_token": 11}, "mask token 11 lies outside the vocabulary of 11"),
        ({"mask_token": -1}, "mask token -1 lies outside"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        replace(SMALL, **wrong)


def test_a_canvas_longer_than_the_context_is_refused_with_the_numbers():
    with pytest.raises(UserError, match="canvas has 17 positions but this denoiser reads at most 16"):
        network_of(SMALL)(canvas_of(rows=1, length=17))


def test_padding_does_not_count_against_the_context():
    network, canvas = network_of(SMALL), canvas_of(length=16)
    torch.testing.assert_close(
        all_logits(network, widen(canvas, 4, 1)), all_logits(network, canvas), rtol=1e-11, atol=1e-12
    )


def test_the_shape_survives_the_way_to_plain_values_and_back():
    for config in SHAPES.values():
        assert TransformerConfig(**config.to_dict()) == config


# ---- what it would write where something stands


def test_a_reread_says_the_same_of_masked_positions():
    network, canvas = network_of(SMALL), canvas_of()
    again = canvas.valid & ~canvas.masked
    said = network.reread(canvas, again)
    both = canvas.remask(again)
    assert torch.equal(said.where, both.masked.nonzero())
    masked = canvas.masked[both.masked]
    torch.testing.assert_close(said.logits(slice(None))[masked], all_logits(network, canvas), rtol=1e-9, atol=1e-9)


def test_with_one_layer_a_reread_is_the_answer_to_that_position_masked():
    """With one layer nothing has carried a token to the others yet, so its shadow sees all but that token."""
    network, canvas = network_of(replace(SMALL, layers=1)), canvas_of()
    again = canvas.valid & ~canvas.masked
    both = canvas.remask(again)
    said = network.reread(canvas, again)
    for packed, (row, position) in enumerate(both.masked.nonzero().tolist()):
        alone = canvas.take(torch.tensor([row]))
        only = torch.arange(canvas.masked.shape[1])[None] == position
        asked = alone.remask(only)
        expected = all_logits(network, asked)[asked.masked.nonzero()[:, 1] == position]
        torch.testing.assert_close(said.logits(slice(packed, packed + 1)), expected, rtol=1e-9, atol=1e-9)


@every_shape
def test_a_reread_does_not_depend_on_padding_or_on_what_stands_at_masked_positions(config):
    network, canvas = network_of(config), canvas_of()
    again = canvas.valid & ~canvas.masked & (torch.arange(9) % 2 == 0)
    ours = network.reread(canvas, again).logits(slice(None))
    wide = widen(replace(canvas, tokens=torch.where(canvas.masked, 3, canvas.tokens)), 2, 1)
    theirs = network.reread(wide, pad(again, (2, 1))).logits(slice(None))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_reread_changes_with_the_others_and_not_directly_with_the_token_itself():
    network, canvas = network_of(replace(SMALL, layers=1)), canvas_of()
    row, position = (canvas.valid & ~canvas.masked).nonzero()[0].tolist()
    again = torch.zeros_like(canvas.masked)
    again[row, position] = True
    other = canvas.tokens.clone()
    other[row, position] = (other[row, position] + 1) % VOCABULARY
    where = canvas.remask(again).masked.nonzero().tolist()
    place = where.index([row, position])
    canvases = (canvas, replace(canvas, tokens=other))
    ours, theirs = (network.reread(each, again).logits(slice(None)) for each in canvases)
    torch.testing.assert_close(ours[place], theirs[place], rtol=1e-9, atol=1e-9)
    neighbour = [k for k, (r, _) in enumerate(where) if r == row and k != place]
    assert not torch.allclose(ours[neighbour], theirs[neighbour])


def test_what_stands_on_padding_or_under_a_mask_may_be_any_number():
    network, canvas = network_of(SMALL), canvas_of()
    usual = network(canvas).logits(slice(None))
    for number in (-100, -1, VOCABULARY, 10**12):
        other = replace(canvas, tokens=torch.where(canvas.valid & ~canvas.masked, canvas.tokens, number))
        assert torch.equal(network(other).logits(slice(None)), usual)


@pytest.mark.parametrize("token", [-1, VOCABULARY, 10**12])
def test_a_visible_token_outside_the_vocabulary_is_refused(token):
    canvas = canvas_of()
    visible = canvas.valid & ~canvas.masked
    with pytest.raises(UserError, match=f"the token {token}, and this denoiser has {VOCABULARY}, from 0"):
        network_of(SMALL)(replace(canvas, tokens=torch.where(visible, token, canvas.tokens)))

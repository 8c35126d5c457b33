"""SMDM: a single file that says little of itself, a fused tensor, and a mask token its tokenizer has not got."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F

from unmask import load_denoiser
from unmask.core.errors import UserError
from unmask.denoisers.families.smdm import HEADS, heads_of, split_heads
from unmask.denoisers.transformer import TransformerConfig

from .test_as_found import logits
from .test_contract import canvas_for, logits_of, without_mask
from .tiny import read_weights, rewrite
from .tiny_smdm import HEADS as TINY_HEADS
from .tiny_smdm import LAYERS, SIZE, TOKENS, reference, rounded


def test_a_folder_with_the_file_will_do_as_well(spoilable):
    path = spoilable("smdm")
    one, other = load_denoiser(path), load_denoiser(path.parent)
    assert one.network.config == other.network.config
    assert torch.equal(one.network.head.weight, other.network.head.weight)


def test_of_several_files_one_has_to_be_named(spoilable):
    path = spoilable("smdm")
    shutil.copy(path, path.parent / "mdm-6M-30e18.safetensors")
    with pytest.raises(UserError, match=r"has 2 safetensors files.* name one of them \(mdm-6M-100e18\.safetensors"):
        load_denoiser(path.parent)
    assert load_denoiser(path).codec.mask_token == TOKENS


def test_the_mask_token_lies_beyond_the_tokenizer(checkpoints):
    codec = load_denoiser(checkpoints("smdm")).codec
    assert (codec.mask_token, codec.vocabulary) == (TOKENS, TOKENS + 1)
    assert codec.decode([codec.mask_token, *codec.encode("pens")]) == "pens"


def test_a_text_begins_with_its_token(checkpoints):
    codec = load_denoiser(checkpoints("smdm")).codec
    ids = codec.encode_prompt("pens")
    assert [codec.tokenizer.id_to_token(token) for token in ids] == ["<s>", "▁pens"]
    assert codec.end_token == codec.tokenizer.token_to_id("</s>")


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_fused_heads_are_taken_apart_group_by_group(groups):
    config = TransformerConfig(vocabulary=9, mask_token=8, width=8, heads=4, kv_heads=groups, hidden=8)
    names, rows = [], []
    for group in range(groups):
        for kind in [f"q{group * 4 // groups + i}" for i in range(4 // groups)] + [f"k{group}", f"v{group}"]:
            names += [f"{kind}:{j}" for j in range(2)]
            rows += [torch.full((8,), float(len(rows) + j)) for j in range(2)]
    parts = split_heads(torch.stack(rows), config)
    found = [[names[int(row[0])] for row in part] for part in parts]
    assert found[0] == [f"q{head}:{j}" for head in range(4) for j in range(2)]
    assert found[1] == [f"k{head}:{j}" for head in range(groups) for j in range(2)]
    assert found[2] == [f"v{head}:{j}" for head in range(groups) for j in range(2)]


def test_the_heads_of_every_published_width_are_of_64_or_128():
    assert {width // heads for width, heads in HEADS.items()} == {64, 128}
    assert all(width // heads == (64 if width <= 1024 else 128) for width, heads in HEADS.items())


def test_a_width_nobody_published_needs_its_heads_said(spoilable, monkeypatch):
    path = spoilable("smdm")
    monkeypatch.delitem(HEADS, 256)
    with pytest.raises(UserError, match=r'no size of SMDM has width 256.*config\.json.*\{"n_head": 12\}'):
        load_denoiser(path)
    (path.parent / "config.json").write_text(json.dumps({"n_head": 8, "block_size": 64}))
    network = load_denoiser(path).network
    assert (network.config.heads, network.config.context) == (8, 64)


def test_an_autoregressive_file_is_refused(spoilable):
    path = spoilable("smdm")
    wte = "transformer.wte.weight"
    rewrite(path, lambda weights: weights.update({wte: weights[wte][:-1]}))
    with pytest.raises(UserError, match="no row for a mask token: this is an autoregressive checkpoint"):
        load_denoiser(path)


def test_another_fused_shape_is_named(spoilable):
    path = spoilable("smdm")
    fused = "transformer.h.1.attn.attn.weight"
    rewrite(path, lambda weights: weights.update({fused: weights[fused][:-1]}))
    said = r"h\.1\.attn\.attn\.weight has shape \[767, 256\] and does not split into \[256, 256\], \[256, 256\]"
    with pytest.raises(UserError, match=said):
        load_denoiser(path)


@pytest.mark.parametrize("key", ["transformer.h.0.attn.attn.weight", "lm_head.weight"])
@pytest.mark.parametrize("change", [lambda value: value.T, lambda value: value[:, :1], lambda value: value.view(2, -1)])
def test_a_tensor_of_as_many_numbers_in_another_shape_is_refused(spoilable, key, change):
    """Reshaped or broadcast it would fit."""
    path = spoilable("smdm")
    rewrite(path, lambda weights: weights.update({key: change(weights[key]).contiguous()}))
    with pytest.raises(UserError, match=r"has shape|no row for a mask token|lies outside"):
        load_denoiser(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_at_any_precision_it_is_the_rule_written_out(checkpoints, dtype):
    """lit_gpt's: tables made in float32 and kept in bfloat16, halves of a head turned in what the network computes in.

    To the last bit, at 200 positions; with exact tables 8e-2 lie between.
    """
    path = checkpoints("smdm")
    canvas = canvas_for("smdm", rows=2, length=200)
    weights = {name: value.to(dtype) for name, value in read_weights(path).items()}
    angles = torch.outer(torch.arange(200), 1.0 / (10_000 ** (torch.arange(0, SIZE, 2) / SIZE)))
    cos, sin = (table.bfloat16().to(dtype)[:, None] for table in (angles.cos(), angles.sin()))

    def turn(x):
        one, two = x.chunk(2, dim=-1)
        return torch.cat([one * cos - two * sin, two * cos + one * sin], dim=-1).transpose(0, 1)[None]

    def norm(x, name):
        return F.rms_norm(x, x.shape[-1:], weights[name], 1e-5)

    def row_logits(tokens):
        x = weights["transformer.wte.weight"][tokens]
        for name in (f"transformer.h.{i}" for i in range(LAYERS)):
            fused = F.linear(norm(x, f"{name}.norm_1.weight"), weights[f"{name}.attn.attn.weight"])
            query, key, value = fused.view(len(tokens), TINY_HEADS, 3, SIZE).unbind(2)
            mixed = F.scaled_dot_product_attention(turn(query), turn(key), value.transpose(0, 1)[None])
            x = x + F.linear(mixed[0].transpose(0, 1).flatten(1), weights[f"{name}.attn.proj.weight"])
            inner = norm(x, f"{name}.norm_2.weight")
            gate, up, down = (weights[f"{name}.mlp.swiglu.w{j}.weight"] for j in (1, 2, 3))
            x = x + F.linear(F.silu(F.linear(inner, gate)) * F.linear(inner, up), down)
        return F.linear(norm(x, "transformer.ln_f.weight"), weights["lm_head.weight"])

    visible = canvas.tokens.masked_fill(canvas.masked, TOKENS)
    theirs = torch.stack([row_logits(row) for row in visible])[canvas.masked]
    ours = logits_of(load_denoiser(path, dtype=dtype), canvas)
    assert (ours - theirs).abs().max() <= (1e-4 if dtype == torch.float32 else 0.05)


def test_a_configuration_may_call_it_smdm(spoilable, checkpoints):
    path = spoilable("smdm")
    (path.parent / "config.json").write_text(json.dumps({"model_type": "SMDM", "n_layer": 2}))
    assert torch.equal(logits(path, "smdm"), logits(checkpoints("smdm"), "smdm"))


def test_the_head_gets_a_row_for_the_mask_token(checkpoints):
    path = checkpoints("smdm")
    head = load_denoiser(path).network.head.weight
    assert torch.equal(head[:-1], read_weights(path)["lm_head.weight"])
    assert not head[-1].any()


def test_cosines_and_sines_are_rounded_as_published_unless_the_configuration_says_otherwise(spoilable):
    """The published code keeps them in bfloat16 in every precision; at 1,000 positions that is 3e-3 of a turn."""
    path, canvas = spoilable("smdm"), canvas_for("smdm", rows=2, length=8)
    as_published = logits(path, "smdm")
    (path.parent / "config.json").write_text(json.dumps({"rope_bfloat16": False}))
    exact = logits(path, "smdm")
    for ours, is_exact in ((as_published, False), (exact, True)):
        theirs = without_mask(reference(path, is_exact)(canvas.tokens)[canvas.masked], TOKENS)
        assert (ours - theirs).abs().max() <= 1e-4
    assert (as_published - exact).abs().max() > 3e-4


def test_the_published_tables_are_made_to_the_last_bit():
    """In float32, by the formula of lit_gpt, then rounded; most entries are those of exact numbers rounded."""
    from unmask.denoisers.transformer import rotary_angles

    theta = 1.0 / (10_000 ** (torch.arange(0, 64, 2) / 64))
    table = torch.outer(torch.arange(2048), theta)
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        cos, sin = rotary_angles(torch.arange(2048)[None], 64, 10_000.0, dtype, bfloat16=True)
        assert torch.equal(cos[0, 0, :, :32].bfloat16(), table.cos().bfloat16())
        assert torch.equal(sin[0, 0, :, 32:].bfloat16(), table.sin().bfloat16())
        assert torch.equal(cos.bfloat16().to(cos.dtype), cos)
    assert rounded(1.00390625) == 1.0  # a tie goes to the even one
    assert rounded(1.01171875) == 1.015625


def test_every_published_size_is_known():
    """Width -> heads in lit_gpt/config.py of SMDM, `Diff_LLaMA_*`, the largest of 2,121 M among them."""
    sizes = {256: 4, 384: 6, 512: 8, 576: 9, 640: 10, 768: 12, 896: 14, 1024: 16, 1280: 10, 1408: 11, 1536: 12,
             1792: 14, 2048: 16, 2176: 17}  # fmt: skip
    assert {width: heads_of(width, 4 * width) for width in sizes} == sizes


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"condense_ratio": 2}, "`condense_ratio` 2 and only 1"),
        ({"rotary_percentage": 0.25}, "`rotary_percentage` 0.25 and only 1.0"),
        ({"parallel_residual": True}, "`parallel_residual` True"),
        ({"bias": True}, "`bias` True"),
        ({"n_embd": 512}, "`n_embd` 512 and only 256"),
        ({"n_layer": 3}, "`n_layer` 3 and only 2"),
        ({"intermediate_size": 5}, "`intermediate_size` 5 and only 1024"),
        ({"n_query_groups": 3}, "4 heads do not share 3 key/value heads"),
        ({"n_head": -4}, "heads must be a whole number of at least 1"),
        ({"norm_eps": -1.0}, "norm_eps must be a number of at least 0"),
        ({"rope_base": 0.5}, "rope_base must be a number of at least 1"),
    ],
)
def test_a_configuration_beside_the_file_that_says_otherwise_is_refused(spoilable, entries, said):
    path = spoilable("smdm")
    (path.parent / "config.json").write_text(json.dumps(entries))
    with pytest.raises(UserError, match=said):
        load_denoiser(path)


def test_a_configuration_beside_the_file_may_say_base_and_epsilon(spoilable):
    path = spoilable("smdm")
    (path.parent / "config.json").write_text(json.dumps({"rope_base": 500, "norm_eps": 1e-6, "n_layer": 2}))
    config = load_denoiser(path).network.config
    assert (config.rope_base, config.norm_eps) == (500.0, 1e-6)

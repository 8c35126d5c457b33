"""Every family as transformers 5 itself saves it: configuration, names, shards, tied heads, resized embeddings.

LLaDA and Dream have code of their own on the hub. What they are is there in transformers, as Llama and Qwen2 without
their causal mask: those are saved, under the names and entries of the two, by `save_pretrained`.
"""

import json
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from unmask import load_denoiser
from unmask.core.canvas import Canvas

from . import tiny_bert, tiny_dream, tiny_llada, tiny_modern_bert
from .test_as_found import edit
from .test_bert import shaken
from .tiny import byte_tokenizer, everywhere

pytestmark = pytest.mark.slow


class Saved(NamedTuple):
    """model: of transformers. mask: the mask token. finish: what makes a folder of theirs one of the family."""

    model: object
    mask: int
    finish: object


def bert(**entries):
    model = BertForMaskedLM(BertConfig(**tiny_bert.CONFIG | entries))
    return Saved(model, tiny_bert.MASK, tiny_bert.tokenizer_of)


def modern_bert(**entries):
    model = ModernBertForMaskedLM(ModernBertConfig(**tiny_modern_bert.CONFIG | entries))
    return Saved(model, tiny_bert.MASK, tiny_bert.tokenizer_of)


def shape(tiny, kv_heads, **entries):
    return {
        "vocab_size": tiny.VOCABULARY, "hidden_size": tiny.WIDTH, "intermediate_size": tiny.HIDDEN,
        "num_hidden_layers": tiny.LAYERS, "num_attention_heads": tiny.HEADS, "num_key_value_heads": kv_heads,
        "max_position_embeddings": 256, "attn_implementation": "eager", "tie_word_embeddings": False, **entries,
    }  # fmt: skip


def dream(**entries):
    rope = {"rope_type": "default", "rope_theta": 1_000_000.0}
    model = Qwen2ForCausalLM(Qwen2Config(**shape(tiny_dream, tiny_dream.KV_HEADS, rope_parameters=rope, **entries)))

    def finish(folder):
        edit(folder, model_type="Dream", architectures=["DreamModel"], mask_token_id=tiny_dream.MASK)
        tiny_dream.write_tokenizer(folder)

    return Saved(model, tiny_dream.MASK, finish)


OLMO = {"self_attn.q_proj": "q_proj", "self_attn.k_proj": "k_proj", "self_attn.v_proj": "v_proj",
        "self_attn.o_proj": "attn_out", "mlp.gate_proj": "ff_proj", "mlp.up_proj": "up_proj",
        "mlp.down_proj": "ff_out", "input_layernorm": "attn_norm", "post_attention_layernorm": "ff_norm"}  # fmt: skip
REST = {"model.embed_tokens": "model.transformer.wte", "model.norm": "model.transformer.ln_f",
        "lm_head": "model.transformer.ff_out"}  # fmt: skip
LLADA = {"hidden_size": "d_model", "num_attention_heads": "n_heads", "num_key_value_heads": "n_kv_heads",
         "num_hidden_layers": "n_layers", "intermediate_size": "mlp_hidden_size",
         "max_position_embeddings": "max_sequence_length", "tie_word_embeddings": "weight_tying"}  # fmt: skip


def of_llada(name):
    module, _, part = name.rpartition(".")
    if module in REST:
        return f"{REST[module]}.{part}"
    _, _, number, inner = module.split(".", 3)
    return f"model.transformer.blocks.{number}.{OLMO[inner]}.{part}"


def llada(**entries):
    rope = {"rope_type": "default", "rope_theta": 500_000.0}
    model = LlamaForCausalLM(LlamaConfig(**shape(tiny_llada, tiny_llada.HEADS, rope_parameters=rope, **entries)))

    def finish(folder):
        file = folder / "config.json"
        config = {LLADA.get(key, key): value for key, value in json.loads(file.read_text()).items()}
        kind = {"model_type": "llada", "architectures": ["LLaDAModelLM"], "mask_token_id": tiny_llada.MASK,
                "embedding_size": config["vocab_size"], "block_type": "llama"}  # fmt: skip
        file.write_text(json.dumps(config | kind))
        for weights in folder.glob("*.safetensors"):
            save_file({of_llada(name): value for name, value in load_file(weights).items()}, weights)
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            where = json.loads(index.read_text())["weight_map"]
            index.write_text(json.dumps({"weight_map": {of_llada(name): file for name, file in where.items()}}))
        byte_tokenizer(*tiny_llada.SPECIAL).save(str(folder / "tokenizer.json"))

    return Saved(model, tiny_llada.MASK, finish)


FAMILIES = {"bert": bert, "modern_bert": modern_bert, "dream": dream, "llada": llada}


def untied_by_hand(saved):
    """A head of its own, in a model whose configuration goes on saying that it is tied."""
    head = saved.model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach() * 0.5 + 0.1)


def rounded(model, dtype):
    """Its weights alone: a model that is cast as a whole has its rotary rates rounded too."""
    for value in model.parameters():
        value.data = value.data.to(dtype).float()


WAYS = {  # name -> (entries of the configuration, what is done with the model, how it is saved)
    "plain": ({}, None, {}),
    "in shards": ({}, None, {"max_shard_size": "9KB"}),
    "tied": ({"tie_word_embeddings": True}, None, {}),
    "untied": ({"tie_word_embeddings": False}, None, {}),
    "in half precision": ({}, lambda saved: rounded(saved.model, torch.float16), {"dtype": torch.float16}),
    "in bfloat16": ({}, lambda saved: rounded(saved.model, torch.bfloat16), {"dtype": torch.bfloat16}),
    "with more rows": ({}, lambda saved: saved.model.resize_token_embeddings(320, mean_resizing=False), {}),
}


def agree(saved, folder):
    """Ours of the folder against theirs, in float32, on positions that are masked."""
    tokens = torch.randint(5, 250, (2, 11), generator=torch.Generator().manual_seed(2))
    masked = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    model, visible = saved.model.float().eval(), tokens.masked_fill(masked, saved.mask)
    with torch.no_grad():
        if isinstance(model, Qwen2ForCausalLM):
            raw = model(visible, attention_mask={"full_attention": everywhere(11)}).logits
            theirs = torch.cat([raw[:, :1], raw[:, :-1]], dim=1)[masked]
        elif isinstance(model, LlamaForCausalLM):
            theirs = model(visible, attention_mask=everywhere(11)).logits[masked]
        else:
            theirs = model(visible).logits[masked]
    ours = load_denoiser(folder, dtype=torch.float32)(Canvas.make(tokens, masked, 4)).logits(slice(None))
    possible = ours[0].isfinite()
    assert theirs.std() > 0.5
    assert possible.sum() >= 255
    torch.testing.assert_close(ours[:, possible], theirs[:, possible], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_those_of_the_model_that_was_saved(name, way, tmp_path):
    entries, change, how = WAYS[way]
    saved = FAMILIES[name](**entries)
    shaken(saved.model, 0)
    if change is not None:
        change(saved)
    dtype = how.get("dtype", torch.float32)
    weights = {key: value.to(dtype) for key, value in saved.model.state_dict().items()}
    sizes = {key: value for key, value in how.items() if key != "dtype"}
    saved.model.save_pretrained(tmp_path, state_dict=weights if dtype != torch.float32 else None, **sizes)
    saved.finish(tmp_path)
    assert {value.dtype for file in tmp_path.glob("*.safetensors") for value in load_file(file).values()} == {dtype}
    assert (len([*tmp_path.glob("*.safetensors")]) > 1) == ("max_shard_size" in how)
    agree(saved, tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_that_was_untied_by_hand_is_kept(name, tmp_path):
    saved = FAMILIES[name](tie_word_embeddings=False)
    shaken(saved.model, 0)
    untied_by_hand(saved)
    saved.model.save_pretrained(tmp_path)
    edit(tmp_path, tie_word_embeddings=True)
    saved.finish(tmp_path)
    agree(saved, tmp_path)
    assert not load_denoiser(tmp_path).network.config.tied

"""Dream: the reference is the Qwen2 of transformers without its causal mask, logits shifted as Dream's sampler does."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from torch import Tensor

from .tiny import Tiny, everywhere, random_weights, read_weights, write_json, write_shards

WIDTH, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCABULARY = 32, 48, 3, 4, 2, 288
MERGES = [("H", "o"), ("Ho", "w"), ("Ġ", "p"), ("Ġp", "e"), ("3", "4"), ("Ċ", "Ċ")]
WORDS = 256 + len(MERGES)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "</tool_call>", "<|beginoftext|>", "<|mask|>")
MASK = WORDS + SPECIAL.index("<|mask|>")

CONFIG = {
    "_name_or_path": "Dream-org/Dream-v0-Instruct-7B",
    "architectures": ["DreamModel"],
    "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_dream.DreamConfig", "AutoModel": "modeling_dream.DreamModel"},
    "bos_token_id": WORDS,
    "eos_token_id": WORDS,
    "hidden_act": "silu",
    "hidden_size": WIDTH,
    "initializer_range": 0.02,
    "intermediate_size": HIDDEN,
    "mask_token_id": MASK,
    "max_position_embeddings": 256,
    "max_window_layers": 28,
    "model_type": "Dream",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": KV_HEADS,
    "pad_token_id": WORDS,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.46.2",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": VOCABULARY,
}

# as the published one: a system turn of its own where there is none
CHAT = """{%- if messages[0].role != 'system' -%}
    {{- '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' -}}
{%- endif -%}
{%- for turn in messages -%}
    {{- '<|im_start|>' + turn.role + '\n' + turn.content + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\n' -}}
{%- endif -%}
"""

SHAPES: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, WIDTH)}
for i in range(LAYERS):
    layer, narrow = f"model.layers.{i}", WIDTH // HEADS * KV_HEADS
    for name, rows in {"q_proj": WIDTH, "k_proj": narrow, "v_proj": narrow}.items():
        SHAPES |= {f"{layer}.self_attn.{name}.weight": (rows, WIDTH), f"{layer}.self_attn.{name}.bias": (rows,)}
    SHAPES |= {f"{layer}.self_attn.o_proj.weight": (WIDTH, WIDTH), f"{layer}.mlp.down_proj.weight": (WIDTH, HIDDEN)}
    SHAPES |= {f"{layer}.mlp.{name}_proj.weight": (HIDDEN, WIDTH) for name in ("gate", "up")}
    SHAPES |= {f"{layer}.{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")}
SHAPES |= {"model.norm.weight": (WIDTH,), "lm_head.weight": (VOCABULARY, WIDTH)}


def write_tokenizer(folder: Path) -> None:
    """As Dream's folder has it: no tokenizer.json."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *("".join(pair) for pair in MERGES)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES), encoding="utf-8"
    )
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    added = {
        str(WORDS + i): {"content": token, **flags, "special": token.startswith("<|")}
        for i, token in enumerate(SPECIAL)
    }
    config = {"added_tokens_decoder": added, "chat_template": CHAT, "tokenizer_class": "DreamTokenizer"}
    write_json(folder / "tokenizer_config.json", config)


def write(folder: Path) -> Path:
    write_json(folder / "config.json", CONFIG)
    write_shards(folder, random_weights(SHAPES, seed=2), 3)
    write_tokenizer(folder)
    return folder


def reference(path: Path) -> Callable[[Tensor], Tensor]:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        max_position_embeddings=256,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    model = Qwen2ForCausalLM(config).eval()
    model.load_state_dict(read_weights(path))  # the names are Qwen2's own

    def logits(tokens: Tensor) -> Tensor:
        with torch.no_grad():
            raw = model(tokens, attention_mask={"full_attention": everywhere(tokens.shape[1])}).logits
        return torch.cat([raw[:, :1], raw[:, :-1]], dim=1)

    return logits


TINY_DREAM = Tiny(write, reference, MASK, "<|mask|>")

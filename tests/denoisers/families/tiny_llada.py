"""LLaDA: the reference is the Llama of transformers, which LLaDA is but for the causal mask and the names."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .tiny import Tiny, byte_tokenizer, everywhere, random_weights, read_weights, write_json, write_shards

WIDTH, HIDDEN, LAYERS, HEADS, VOCABULARY = 32, 48, 3, 4, 288
SPECIAL = (
    "<|startoftext|>",
    "<|endoftext|>",
    "[CLS]",
    "[gMASK]",
    "<|mdm_mask|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
MASK = 256 + SPECIAL.index("<|mdm_mask|>")

CONFIG = {
    "_name_or_path": "GSAI-ML/LLaDA-8B-Instruct",
    "activation_type": "silu",
    "alibi": False,
    "alibi_bias_max": 8.0,
    "architectures": ["LLaDAModelLM"],
    "attention_dropout": 0.0,
    "attention_layer_norm": False,
    "attention_layer_norm_with_affine": True,
    "auto_map": {"AutoConfig": "configuration_llada.LLaDAConfig", "AutoModel": "modeling_llada.LLaDAModelLM"},
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "block_type": "llama",
    "d_model": WIDTH,
    "embedding_dropout": 0.0,
    "embedding_size": VOCABULARY,
    "eos_token_id": 257,
    "flash_attention": False,
    "include_bias": False,
    "include_qkv_bias": False,
    "init_cutoff_factor": None,
    "init_device": "meta",
    "init_fn": "mitchell",
    "init_std": 0.02,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "mask_token_id": MASK,
    "max_sequence_length": 256,
    "mlp_hidden_size": HIDDEN,
    "mlp_ratio": 4,
    "model_type": "llada",
    "multi_query_attention": None,
    "n_heads": HEADS,
    "n_kv_heads": HEADS,
    "n_layers": LAYERS,
    "pad_token_id": 257,
    "precision": "amp_bf16",
    "residual_dropout": 0.0,
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_full_precision": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "transformers_version": "4.46.3",
    "use_cache": False,
    "vocab_size": VOCABULARY,
    "weight_tying": False,
}

# as the published one: a header, what is said without the white space around it, and the end of the turn
CHAT = (
    "{% for turn in messages %}{{ bos_token if loop.first }}"
    "{{ '<|start_header_id|>' + turn.role + '<|end_header_id|>\n\n' + turn.content | trim + '<|eot_id|>' }}"
    "{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' if add_generation_prompt }}"
)

SHAPES: dict[str, tuple[int, ...]] = {"model.transformer.wte.weight": (VOCABULARY, WIDTH)}
for i in range(LAYERS):
    block = f"model.transformer.blocks.{i}"
    SHAPES |= {f"{block}.{name}.weight": (WIDTH, WIDTH) for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
    SHAPES |= {f"{block}.{name}.weight": (HIDDEN, WIDTH) for name in ("ff_proj", "up_proj")}
    SHAPES |= {f"{block}.ff_out.weight": (WIDTH, HIDDEN)}
    SHAPES |= {f"{block}.{name}.weight": (WIDTH,) for name in ("attn_norm", "ff_norm")}
SHAPES |= {"model.transformer.ln_f.weight": (WIDTH,), "model.transformer.ff_out.weight": (VOCABULARY, WIDTH)}


def write(folder: Path) -> Path:
    write_json(folder / "config.json", CONFIG)
    write_shards(folder, random_weights(SHAPES, seed=1), 2)
    byte_tokenizer(*SPECIAL).save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"bos_token": "<|startoftext|>", "chat_template": CHAT})
    return folder


def reference(path: Path) -> Callable[[Tensor], Tensor]:
    from transformers import LlamaConfig, LlamaForCausalLM

    theirs = read_weights(path)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        max_position_embeddings=256,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config).eval()
    weights = {
        "model.embed_tokens.weight": theirs["model.transformer.wte.weight"],
        "model.norm.weight": theirs["model.transformer.ln_f.weight"],
        "lm_head.weight": theirs["model.transformer.ff_out.weight"],
    }
    for i in range(LAYERS):
        old, new = f"model.transformer.blocks.{i}.", f"model.layers.{i}."
        weights |= {
            new + "self_attn.q_proj.weight": theirs[old + "q_proj.weight"],
            new + "self_attn.k_proj.weight": theirs[old + "k_proj.weight"],
            new + "self_attn.v_proj.weight": theirs[old + "v_proj.weight"],
            new + "self_attn.o_proj.weight": theirs[old + "attn_out.weight"],
            new + "mlp.gate_proj.weight": theirs[old + "ff_proj.weight"],
            new + "mlp.up_proj.weight": theirs[old + "up_proj.weight"],
            new + "mlp.down_proj.weight": theirs[old + "ff_out.weight"],
            new + "input_layernorm.weight": theirs[old + "attn_norm.weight"],
            new + "post_attention_layernorm.weight": theirs[old + "ff_norm.weight"],
        }
    model.load_state_dict(weights)

    def logits(tokens: Tensor) -> Tensor:
        with torch.no_grad():
            return model(tokens, attention_mask=everywhere(tokens.shape[1])).logits

    return logits


TINY_LLADA = Tiny(write, reference, MASK, "<|mdm_mask|>")

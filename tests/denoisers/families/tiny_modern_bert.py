"""ModernBERT: the reference is the one of transformers, which reads the checkpoint by itself."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from .tiny import Tiny, random_weights, write_json
from .tiny_bert import MASK, tokenizer_of

WIDTH, HIDDEN, LAYERS, HEADS, VOCABULARY = 32, 24, 5, 4, 264
WINDOW = 4  # on either side: a canvas of the contract is longer

CONFIG = {
    "architectures": ["ModernBertForMaskedLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 258,
    "classifier_activation": "gelu",
    "classifier_bias": False,
    "classifier_dropout": 0.0,
    "classifier_pooling": "mean",
    "cls_token_id": 258,
    "decoder_bias": True,
    "deterministic_flash_attn": False,
    "embedding_dropout": 0.0,
    "eos_token_id": 259,
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "gradient_checkpointing": False,
    "hidden_activation": "gelu",
    "hidden_size": WIDTH,
    "initializer_cutoff_factor": 2.0,
    "initializer_range": 0.02,
    "intermediate_size": HIDDEN,
    "layer_norm_eps": 1e-05,
    "local_attention": 2 * WINDOW,
    "local_rope_theta": 10000.0,
    "max_position_embeddings": 256,
    "mlp_bias": False,
    "mlp_dropout": 0.0,
    "model_type": "modernbert",
    "norm_bias": False,
    "norm_eps": 1e-05,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "pad_token_id": 256,
    "position_embedding_type": "absolute",
    "sep_token_id": 259,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "transformers_version": "4.47.0.dev0",
    "vocab_size": VOCABULARY,
}

SHAPES: dict[str, tuple[int, ...]] = {
    "model.embeddings.tok_embeddings.weight": (VOCABULARY, WIDTH),
    "model.embeddings.norm.weight": (WIDTH,),
    "model.final_norm.weight": (WIDTH,),
    "head.dense.weight": (WIDTH, WIDTH),
    "head.norm.weight": (WIDTH,),
    "decoder.bias": (VOCABULARY,),
}
for i in range(LAYERS):
    block = f"model.layers.{i}"
    SHAPES |= {f"{block}.attn_norm.weight": (WIDTH,)} if i else {}
    SHAPES |= {f"{block}.attn.Wqkv.weight": (3 * WIDTH, WIDTH), f"{block}.attn.Wo.weight": (WIDTH, WIDTH)}
    SHAPES |= {f"{block}.mlp_norm.weight": (WIDTH,)}
    SHAPES |= {f"{block}.mlp.Wi.weight": (2 * HIDDEN, WIDTH), f"{block}.mlp.Wo.weight": (WIDTH, HIDDEN)}


def write(folder: Path) -> Path:
    write_json(folder / "config.json", CONFIG)
    weights = random_weights(SHAPES, seed=5)
    weights["model.embeddings.tok_embeddings.weight"] *= 20  # the output head has the same, and logits are to spread
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer_of(folder)
    return folder


def reference(path: Path) -> Callable[[Tensor], Tensor]:
    from transformers import ModernBertForMaskedLM

    model = ModernBertForMaskedLM.from_pretrained(path, attn_implementation="eager").eval()

    def logits(tokens: Tensor) -> Tensor:
        with torch.no_grad():
            return model(tokens).logits

    return logits


TINY_MODERN_BERT = Tiny(write, reference, MASK, "[MASK]")

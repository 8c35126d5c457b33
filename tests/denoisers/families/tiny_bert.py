"""BERT: the reference is the one of transformers, which reads the checkpoint by itself."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from .tiny import Tiny, byte_tokenizer, random_weights, write_json

WIDTH, HIDDEN, LAYERS, HEADS, VOCABULARY, CONTEXT = 32, 40, 3, 4, 264, 128
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MASK = 256 + SPECIAL.index("[MASK]")

CONFIG = {
    "architectures": ["BertForMaskedLM"],
    "attention_probs_dropout_prob": 0.1,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": WIDTH,
    "initializer_range": 0.02,
    "intermediate_size": HIDDEN,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": CONTEXT,
    "model_type": "bert",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "pad_token_id": 256,
    "position_embedding_type": "absolute",
    "transformers_version": "4.6.0.dev0",
    "type_vocab_size": 2,
    "use_cache": True,
    "vocab_size": VOCABULARY,
}

SHAPES: dict[str, tuple[int, ...]] = {
    "bert.embeddings.word_embeddings.weight": (VOCABULARY, WIDTH),
    "bert.embeddings.position_embeddings.weight": (CONTEXT, WIDTH),
    "bert.embeddings.token_type_embeddings.weight": (2, WIDTH),
}
LINEAR = {"cls.predictions.transform.dense": (WIDTH, WIDTH)}
NORMS = ["bert.embeddings.LayerNorm", "cls.predictions.transform.LayerNorm"]
for i in range(LAYERS):
    block = f"bert.encoder.layer.{i}"
    LINEAR |= {f"{block}.attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
    LINEAR |= {f"{block}.attention.output.dense": (WIDTH, WIDTH)}
    LINEAR |= {f"{block}.intermediate.dense": (HIDDEN, WIDTH), f"{block}.output.dense": (WIDTH, HIDDEN)}
    NORMS += [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]
SHAPES |= {f"{name}.weight": shape for name, shape in LINEAR.items()}
SHAPES |= {f"{name}.bias": shape[:1] for name, shape in LINEAR.items()}
SHAPES |= {f"{name}.{part}": (WIDTH,) for name in NORMS for part in ("weight", "bias")}
SHAPES |= {"cls.predictions.bias": (VOCABULARY,)}


def tokenizer_of(folder: Path) -> None:
    byte_tokenizer(*SPECIAL).save(str(folder / "tokenizer.json"))


def write(folder: Path) -> Path:
    write_json(folder / "config.json", CONFIG)
    weights = random_weights(SHAPES, seed=4)
    weights["bert.embeddings.word_embeddings.weight"] *= 20  # the output head has the same, and logits are to spread
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer_of(folder)
    return folder


def reference(path: Path) -> Callable[[Tensor], Tensor]:
    from transformers import BertForMaskedLM

    model = BertForMaskedLM.from_pretrained(path, attn_implementation="eager").eval()

    def logits(tokens: Tensor) -> Tensor:
        with torch.no_grad():
            return model(tokens).logits

    return logits


TINY_BERT = Tiny(write, reference, MASK, "[MASK]")

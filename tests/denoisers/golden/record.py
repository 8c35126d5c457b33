"""Write the golden files beside this script: what the authors' own code says of small random models.

    python tests/denoisers/golden/record.py bert modern_bert

Each file holds the weights under their real names, a batch, and the logits at its masked positions; its metadata is
the config.json. Needs transformers; the tests that read the files do not.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).parent

BERT = {
    "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 20, "type_vocab_size": 2, "pad_token_id": 0,
}  # fmt: skip
MODERN_BERT = {
    "vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 20,
    "max_position_embeddings": 64, "local_attention": 8, "global_attn_every_n_layers": 3,
    "pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2,
}  # fmt: skip
MASK = 4


def shake(model: torch.nn.Module, seed: int) -> None:
    """Weights large enough for every part to matter, those of norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            middle = 1.0 if parameter.dim() == 1 and "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.normal_(middle, 0.4 if parameter.dim() > 1 else 0.5, generator=generator)


def bert(**changes: object) -> torch.nn.Module:
    """A small random BertForMaskedLM."""
    from transformers import BertConfig, BertForMaskedLM

    model = BertForMaskedLM(BertConfig(**BERT | changes))
    shake(model, 0)
    return model.eval()


def modern_bert(**changes: object) -> torch.nn.Module:
    """A small random ModernBertForMaskedLM."""
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    model = ModernBertForMaskedLM(ModernBertConfig(**MODERN_BERT | changes))
    shake(model, 1)
    return model.eval()


def batch(vocabulary: int, length: int, rows: int = 3) -> tuple[Tensor, Tensor]:
    """tokens and masked [rows, length]; the mask token stands where masked."""
    generator = torch.Generator().manual_seed(length)
    tokens = torch.randint(5, vocabulary, (rows, length), generator=generator)
    masked = torch.rand(rows, length, generator=generator) < 0.4
    return tokens.masked_fill(masked, MASK), masked


def theirs(model: torch.nn.Module, tokens: Tensor, valid: Tensor) -> Tensor:
    """[B, L, V]: their logits."""
    with torch.no_grad():
        return model(input_ids=tokens, attention_mask=valid.long()).logits


MODELS = {"bert": (bert, 20), "modern_bert": (modern_bert, 30)}


def record(name: str) -> None:
    """Write one golden file."""
    make, length = MODELS[name]
    model = make()
    tokens, masked = batch(model.config.vocab_size, length)
    logits = theirs(model, tokens, torch.ones_like(masked))[masked]
    weights = {f"weight:{name}": value for name, value in saved(model).items()}
    save_file(
        weights | {"tokens": tokens, "masked": masked, "logits": logits},
        HERE / f"{name}.safetensors",
        metadata={"config": json.dumps(model.config.to_diff_dict())},
    )


def saved(model: torch.nn.Module) -> dict[str, Tensor]:
    """The tensors of the file their `save_pretrained` writes."""
    import tempfile

    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        record(name)

"""A tiny random checkpoint in the layout of SMDM, and problems in that of GSM8K: what `--scale toy` starts from.

The names, shapes and fused tensors are those of mdm-170M (see `denoisers/families/smdm.py`), the tokenizer is of
Llama's kind: bytes, a low line for a space, digits one by one. Only the sizes are small and the weights random.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from unmask import make_task

WIDTH, HIDDEN, LAYERS, TOKENS = 256, 512, 2, 700
FILE = "mdm-tiny.safetensors"
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TRAIN = 400  # problems


def write(folder: Path) -> Path:
    """The checkpoint; returns its file. One that is there is left alone."""
    file = folder / FILE
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = make_tokenizer()
        tokenizer.save(str(folder / "tokenizer.json"))
        save_file(weights(tokenizer.get_vocab_size()), file)
    return file


def make_tokenizer() -> Tokenizer:
    """BPE over the first training problems."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(vocab_size=TOKENS, special_tokens=[*SPECIAL, *BYTES], show_progress=False)
    train = make_task("wordprob").examples("train")
    tokenizer.train_from_iterator((f"{train[i].prompt} {train[i].response}" for i in range(TRAIN)), trainer)
    return tokenizer


def weights(tokens: int) -> dict[str, Tensor]:
    """By SMDM's names; the embedding has a row for the mask token, the output head has none."""
    generator = torch.Generator().manual_seed(0)

    def matrix(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator) * columns**-0.5

    found = {"transformer.wte.weight": 0.02 * matrix(tokens + 1, WIDTH), "lm_head.weight": matrix(tokens, WIDTH)}
    for layer in range(LAYERS):
        block = f"transformer.h.{layer}"
        found |= {f"{block}.norm_{number}.weight": torch.ones(WIDTH) for number in (1, 2)}
        found |= {
            f"{block}.attn.attn.weight": matrix(3 * WIDTH, WIDTH),
            f"{block}.attn.proj.weight": matrix(WIDTH, WIDTH),
            f"{block}.mlp.swiglu.w1.weight": matrix(HIDDEN, WIDTH),
            f"{block}.mlp.swiglu.w2.weight": matrix(HIDDEN, WIDTH),
            f"{block}.mlp.swiglu.w3.weight": matrix(WIDTH, HIDDEN),
        }
    return found | {"transformer.ln_f.weight": torch.ones(WIDTH)}


def write_problems(folder: Path, count: int) -> Path:
    """train.jsonl, test.jsonl and a few of valid_equations.txt as published, from the generated task; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    task = make_task("wordprob")
    held_out = task.examples("validation")
    equations = [f"{held_out[row].prompt}||{held_out[row].response}\n" for row in range(count)]
    (folder / "valid_equations.txt").write_text("".join(equations), encoding="utf-8")
    for split, rows in (("train", TRAIN), ("test", count)):
        examples = task.examples(split)
        lines = []
        for row in range(rows):
            steps, _, answer = examples[row].response.partition("####")
            lines.append({"question": examples[row].prompt, "answer": f"It is {steps.strip()}\n#### {answer.strip()}"})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder

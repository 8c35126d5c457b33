"""How much memory it takes to load a checkpoint, against the size of its weights. The aim: at most 1.15 times.

    PYTHONPATH=src python3 benchmarks/load_memory.py --out runs/load-memory [--quick] [--layers 28]

Writes random bfloat16 shards in the layout of LLaDA-8B into a temporary folder (4 GB; --quick 0.4 GB), loads them in a
process of its own, and says how far the memory held rose above what the process held before. Leaves record.json.
Linux only: peaks come from /proc.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from unmask.core.files import write_json
from unmask.denoisers.hub import load_denoiser
from unmask.evaluate.records import provenance

AIM = 1.15
SPECIAL = ("<|startoftext|>", "<|endoftext|>", "<|mdm_mask|>", "<|eot_id|>")


class Shape(NamedTuple):
    """As in config.json. shards: files the weights are spread over."""

    d_model: int
    mlp_hidden_size: int
    n_heads: int
    n_layers: int
    vocab_size: int
    shards: int


FULL = Shape(d_model=2048, mlp_hidden_size=6144, n_heads=16, n_layers=28, vocab_size=126464, shards=4)
QUICK = Shape(d_model=1024, mlp_hidden_size=3072, n_heads=8, n_layers=12, vocab_size=16384, shards=2)


def tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes, in the order of the published shards."""
    width, hidden = shape.d_model, shape.mlp_hidden_size
    yield "model.transformer.wte.weight", (shape.vocab_size, width)
    for layer in range(shape.n_layers):
        block = f"model.transformer.blocks.{layer}"
        yield from ((f"{block}.{name}.weight", (width, width)) for name in ("q_proj", "k_proj", "v_proj", "attn_out"))
        yield from ((f"{block}.{name}.weight", (hidden, width)) for name in ("ff_proj", "up_proj"))
        yield f"{block}.ff_out.weight", (width, hidden)
        yield from ((f"{block}.{name}.weight", (width,)) for name in ("attn_norm", "ff_norm"))
    yield "model.transformer.ln_f.weight", (width,)
    yield "model.transformer.ff_out.weight", (shape.vocab_size, width)


def write_checkpoint(folder: Path, shape: Shape) -> int:
    """Random weights; returns their bytes."""
    generator = torch.Generator().manual_seed(0)
    each = sum(torch.Size(size).numel() for _, size in tensors(shape)) // shape.shards + 1
    where: dict[str, str] = {}
    held: dict[str, torch.Tensor] = {}
    total = 0

    def flush() -> None:
        file = f"model-{len(set(where.values())) + 1:05d}-of-{shape.shards:05d}.safetensors"
        save_file(held, folder / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(held, file))
        held.clear()

    for name, size in tensors(shape):
        held[name] = torch.empty(size, dtype=torch.bfloat16).normal_(0, size[-1] ** -0.5, generator=generator)
        total += held[name].numel() * 2
        if sum(value.numel() for value in held.values()) >= each:
            flush()
    if held:
        flush()
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    sizes = {key: value for key, value in shape._asdict().items() if key != "shards"}
    about = {"model_type": "llada", "architectures": ["LLaDAModelLM"], "block_type": "llama", "weight_tying": False}
    mask = {"mask_token_id": len(alphabet) + SPECIAL.index("<|mdm_mask|>"), "max_sequence_length": 4096}
    write_json(folder / "config.json", about | sizes | mask | {"rope_theta": 500000.0, "rms_norm_eps": 1e-5})
    return total


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name)) * 1024


def forget_peak() -> int:
    """Begin the peak anew from what is held now, and say what that is."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return status("VmHWM")


def load(folder: Path, dtype: str | None) -> dict[str, Any]:
    """Load it here, and say what that took."""
    before = forget_peak()
    started = time.perf_counter()
    denoiser = load_denoiser(folder, dtype=None if dtype is None else getattr(torch, dtype))
    seconds = time.perf_counter() - started
    peak = status("VmHWM")
    weights = sum(value.numel() * value.element_size() for value in denoiser.network.parameters())
    return {
        "parameters": sum(value.numel() for value in denoiser.network.parameters()),
        "dtype": str(next(denoiser.network.parameters()).dtype).removeprefix("torch."),
        "weight_bytes": weights,
        "held_before": before,
        "peak": peak,
        "held_after": status("VmRSS"),
        "peak_over_weights": peak / weights,
        "rise_over_weights": (peak - before) / weights,
        "seconds": seconds,
    }


def main() -> None:
    """Write, load, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="folder of the record")
    parser.add_argument("--quick", action="store_true", help="0.4 GB instead of 4 GB")
    parser.add_argument("--layers", type=int, help="another number of layers")
    parser.add_argument("--dtypes", nargs="*", default=["stored"], help="stored, float32, bfloat16 ...")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load is not None:
        print(json.dumps(load(given.load, None if given.dtypes == ["stored"] else given.dtypes[0])))
        return
    if given.out is None:
        parser.error("--out says where the record goes")
    shape = QUICK if given.quick else FULL
    shape = shape._replace(n_layers=given.layers or shape.n_layers)
    needed = 2 * sum(torch.Size(size).numel() for _, size in tensors(shape))
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if needed > 0.9 * free:
        sys.exit(f"error: {tempfile.gettempdir()} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} are needed")
    with tempfile.TemporaryDirectory() as folder:
        written = write_checkpoint(Path(folder), shape)
        found = []
        for dtype in given.dtypes:
            words = [sys.executable, __file__, "--load", folder, "--dtypes", dtype]
            found.append(json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
            print(
                f"{found[-1]['parameters'] / 1e9:.2f} B parameters as {found[-1]['dtype']}: "
                f"{found[-1]['rise_over_weights']:.3f} times the weights ({found[-1]['peak_over_weights']:.3f} with "
                f"what the process held before), {found[-1]['seconds']:.1f} s",
                file=sys.stderr,
            )
    about = {"shape": shape._asdict(), "bytes_on_disk": written, "aim": AIM, "cases": found}
    given.out.mkdir(parents=True, exist_ok=True)
    write_json(given.out / "record.json", about | provenance("cpu"))


if __name__ == "__main__":
    main()

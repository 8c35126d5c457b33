"""SMDM: the reference is written out from the definition, loops and all; TinyLlama's tokenizer in small beside it."""

import math
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers
from torch import Tensor

from .tiny import Tiny, random_weights, read_weights

# 256 is the smallest width there is; two blocks and few tokens keep it small
WIDTH, HIDDEN, LAYERS, HEADS, TOKENS = 256, 1024, 2, 4, 275
SIZE = WIDTH // HEADS
FILE = "mdm-6M-100e18.safetensors"

SHAPES: dict[str, tuple[int, ...]] = {"lm_head.weight": (TOKENS, WIDTH), "transformer.wte.weight": (TOKENS + 1, WIDTH)}
for i in range(LAYERS):
    block = f"transformer.h.{i}"
    SHAPES |= {
        f"{block}.norm_1.weight": (WIDTH,),
        f"{block}.attn.attn.weight": (3 * WIDTH, WIDTH),
        f"{block}.attn.proj.weight": (WIDTH, WIDTH),
        f"{block}.norm_2.weight": (WIDTH,),
        f"{block}.mlp.swiglu.w1.weight": (HIDDEN, WIDTH),
        f"{block}.mlp.swiglu.w2.weight": (HIDDEN, WIDTH),
        f"{block}.mlp.swiglu.w3.weight": (WIDTH, HIDDEN),
    }
SHAPES |= {"transformer.ln_f.weight": (WIDTH,)}


def write_tokenizer(folder: Path) -> None:
    """In the manner of Llama 2: <unk>, <s>, </s>, all bytes, then pieces; spaces are written as a low line."""
    pieces = ["▁", *"Whyanspe?3.", "▁p", "en", "▁pen", "▁pens"]
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>"])}
    vocabulary |= {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    vocabulary |= {piece: 259 + i for i, piece in enumerate(pieces)}
    assert len(vocabulary) == TOKENS
    merges = [("▁", "p"), ("e", "n"), ("▁p", "en"), ("▁pen", "s")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    assert tokenizer.get_vocab_size() == TOKENS
    tokenizer.save(str(folder / "tokenizer.json"))


def write(folder: Path) -> Path:
    save_file(random_weights(SHAPES, seed=3), folder / FILE)
    write_tokenizer(folder)
    return folder / FILE


def norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * weight


def rounded(value: float) -> float:
    """To the nearest bfloat16, ties to even: the published code keeps its cosines and sines so."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def turned(vector: Tensor, position: int, exact: bool = False) -> Tensor:
    """One head's query or key: coordinates j and j + size / 2 turn by position / 10000^(2 j / size)."""
    found = vector.clone()
    half = SIZE // 2
    for j in range(half):
        angle = position * 10000 ** (-2 * j / SIZE)
        cos, sin = (value if exact else rounded(value) for value in (math.cos(angle), math.sin(angle)))
        a, b = vector[j], vector[j + half]
        found[j] = a * cos - b * sin
        found[j + half] = b * cos + a * sin
    return found


def reference(path: Path, exact: bool = False) -> Callable[[Tensor], Tensor]:
    """exact: leave cosines and sines as they are."""
    weights = {name: value.double() for name, value in read_weights(path).items()}

    def attention(x: Tensor, block: str) -> Tensor:
        """x [L, D]: a row of the fused tensor belongs to head row // (3 size), and there to query, key or value."""
        fused = x @ weights[f"{block}.attn.attn.weight"].T
        heads = []
        for head in range(HEADS):
            mine = fused[:, head * 3 * SIZE : (head + 1) * 3 * SIZE]
            query = torch.stack([turned(row[:SIZE], place, exact) for place, row in enumerate(mine)])
            key = torch.stack([turned(row[SIZE : 2 * SIZE], place, exact) for place, row in enumerate(mine)])
            value = mine[:, 2 * SIZE :]
            heads.append((query @ key.T / math.sqrt(SIZE)).softmax(dim=-1) @ value)
        return torch.cat(heads, dim=-1) @ weights[f"{block}.attn.proj.weight"].T

    def feed_forward(x: Tensor, block: str) -> Tensor:
        gate, up = (x @ weights[f"{block}.mlp.swiglu.{name}.weight"].T for name in ("w1", "w2"))
        return (gate * gate.sigmoid() * up) @ weights[f"{block}.mlp.swiglu.w3.weight"].T

    def row_logits(tokens: Tensor) -> Tensor:
        x = weights["transformer.wte.weight"][tokens]
        for i in range(LAYERS):
            block = f"transformer.h.{i}"
            x = x + attention(norm(x, weights[f"{block}.norm_1.weight"]), block)
            x = x + feed_forward(norm(x, weights[f"{block}.norm_2.weight"]), block)
        return norm(x, weights["transformer.ln_f.weight"]) @ weights["lm_head.weight"].T

    return lambda tokens: torch.stack([row_logits(row) for row in tokens]).float()


TINY_SMDM = Tiny(write, reference, TOKENS, "[MASK]")

"""What the output head costs: where only some positions are read, and at published vocabularies.

    PYTHONPATH=src python3 benchmarks/head_speed.py --threads 1 --out docs/records/head-speed

    positions     a decode against the same one that makes logits at every masked position, and against LLaDA's own loop
                  with the same blocks, at two vocabularies: the same tokens, and how many times as fast
    vocabularies  a decode over its bare passes (all logits, nothing read of them), at published vocabularies, in chunks
                  as they are and in small ones

A small random trunk, so that the head is most of the work at a large vocabulary. Cases take turns as in
`decode_speed.py`: a ratio is that of one turn, and its median and quartiles are reported.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import reference_loops
import torch
from decode_speed import bare_passes, ratio, say, seeded, take_turns, told

from unmask.core.canvas import Canvas
from unmask.core.files import write_json
from unmask.denoisers import base
from unmask.denoisers.base import Denoised
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.evaluate.records import provenance
from unmask.samplers import decode_canvas, make_sampler

VOCABULARIES = (32_000, 50_257, 126_464, 151_936)  # SMDM, MDLM, LLaDA and Dream


def network_of(vocabulary: int, given: argparse.Namespace) -> Transformer:
    """Random weights; the mask token is 0."""
    config = TransformerConfig(
        vocabulary, 0, context=given.length, layers=given.layers, width=given.width, heads=4, hidden=2 * given.width
    )
    return Transformer(config).initialise(seeded()).requires_grad_(False).eval()


def blank(rows: int, given: argparse.Namespace) -> Canvas:
    """Nothing is written."""
    shape = (rows, given.length)
    return Canvas.make(torch.ones(shape, dtype=torch.long), torch.ones(shape, dtype=torch.bool), given.budget)


def everywhere(network: Transformer) -> Callable[[Canvas], Denoised]:
    """The same answers, whose logits cannot be had singly."""

    def denoiser(canvas: Canvas) -> Denoised:
        denoised: Denoised = network(canvas)

        def logits(part: slice) -> torch.Tensor:
            return denoised.logits(part)

        return replace(denoised, logits=logits)

    return denoiser


def in_small_chunks(network: Transformer, canvas: Canvas) -> None:
    """`top-prob` with 16 MiB of logits at a time, 33 rows of LLaDA's."""
    usual, base.CHUNK_BYTES = base.CHUNK_BYTES, 1 << 24
    try:
        decode_canvas(network, canvas, make_sampler("top-prob"))
    finally:
        base.CHUNK_BYTES = usual


def positions(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Times as fast as with logits everywhere, and as LLaDA's loop."""
    cells = []
    for vocabulary in given.vocabularies[:2]:
        network, canvas = network_of(vocabulary, given), blank(given.rows, given)
        for name in given.samplers:
            unmasker = make_sampler(name)
            cases: dict[str, Callable[[], Any]] = {
                "ours": lambda network=network, unmasker=unmasker, canvas=canvas: decode_canvas(
                    network, canvas, unmasker
                ),
                "everywhere": lambda network=network, unmasker=unmasker, canvas=canvas: decode_canvas(
                    everywhere(network), canvas, unmasker
                ),
            }
            if name.startswith("top-prob:block="):
                size = int(name.partition("=")[2])
                cases["published"] = lambda network=network, canvas=canvas, size=size: (
                    reference_loops.low_confidence_in_blocks(network, canvas, size)
                )
            ours, theirs = cases["ours"](), cases["everywhere"]()
            same = [bool(torch.equal(ours.canvas.tokens, theirs.canvas.tokens))]
            if "published" in cases:
                same.append(bool(torch.equal(ours.canvas.tokens, cases["published"]().tokens)))
            taken = take_turns(cases, given.repeats)
            cell = {"vocabulary": vocabulary, "sampler": name, "rows": given.rows, "same_tokens": all(same)}
            cell |= {f"over_{case}": ratio(taken[case], taken["ours"]) for case in cases if case != "ours"}
            words = ", ".join(f"{case[5:]} {told(cell[case])}" for case in cell if case.startswith("over_"))
            say(f"positions     V = {vocabulary:,} {name}: times as fast as {words}; the same tokens: {all(same)}")
            cells.append(cell)
    return cells


def vocabularies(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Wall time of a decode over that of its passes."""
    cells = []
    for vocabulary in given.published:
        network = network_of(vocabulary, given)
        for rows in (1, given.rows):
            canvas, canvases = blank(rows, given), []

            def keep(step: Any, canvases: list[Canvas] = canvases) -> None:
                canvases.append(step.before)

            decode_canvas(network, canvas, make_sampler("top-prob"), on_step=keep)
            cases: dict[str, Callable[[], Any]] = {
                name: lambda network=network, canvas=canvas, name=name: decode_canvas(
                    network, canvas, make_sampler(name)
                )
                for name in ("top-prob", "entropy")
            }
            cases["small_chunks"] = lambda network=network, canvas=canvas: in_small_chunks(network, canvas)
            cases["passes"] = lambda network=network, canvases=canvases: bare_passes(network, canvases)
            taken = take_turns(cases, given.repeats)
            cell = {"vocabulary": vocabulary, "rows": rows}
            cell |= {name: ratio(taken[name], taken["passes"]) for name in cases if name != "passes"}
            say(f"vocabularies  V = {vocabulary:,}, {rows} rows: {told(cell['top-prob'])} bare passes")  # type: ignore[arg-type]
            cells.append(cell)
    return cells


PARTS: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
    "positions": positions,
    "vocabularies": vocabularies,
}


def main() -> None:
    """Measure, and write one JSON object."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, help="folder of record.json; parts measured before are kept")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice unless given")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--budget", type=int, default=8)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--vocabularies", type=int, nargs=2, default=[1024, 32_000])
    parser.add_argument("--published", type=int, nargs="+", default=list(VOCABULARIES))
    parser.add_argument(
        "--samplers", nargs="+", default=["top-prob:block=16", "threshold:block=16", "random", "left-to-right"]
    )
    given = parser.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    settings = {name: value for name, value in vars(given).items() if name not in ("out", "parts")} | {"seed": 0}
    path = None if given.out is None else given.out / "record.json"
    record: dict[str, Any] = {"parts": {}}
    if path is not None and path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
    for part in given.parts:
        made_with = provenance("cpu")
        made_with["commit"] = made_with["commit"] or os.environ.get("COMMIT")
        record["parts"][part] = {"made_with": made_with, "settings": settings, "cells": PARTS[part](given)}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, record)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    sys.exit(main())

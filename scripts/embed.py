"""Make the bundled denoiser from a finished fit: copy it into the package with its card.

    python scripts/embed.py runs/wordprob docs/records/wordprob-one-per-step

The first folder is what `unmask fit --preset wordprob --task wordprob --out ...` left, run twice as the card says; the
second what `unmask bench --denoiser RUN/denoiser --task wordprob --one-per-step top-prob left-to-right ...` left. The
card quotes only what stands in them.
"""

import json
import sys
from pathlib import Path

from unmask.denoisers.folder import load_folder, save_denoiser

ASSET = Path(__file__).parents[1] / "src" / "unmask" / "assets" / "wordprob"
LARGEST = 6_000_000  # bytes the whole folder may take


def card(run: Path, bench: Path) -> str:
    """The model card, from the run's configuration and the bench's table."""
    identity = json.loads((run / "run.json").read_text())
    rows = json.loads((bench / "table.json").read_text())
    header = json.loads((bench / "records.jsonl").open().readline())
    last = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()][-1]
    lines = [
        "# wordprob: the bundled denoiser of unmask",
        "",
        "A 1.3-million-parameter masked-diffusion denoiser for generated arithmetic word problems, to learn orders on "
        "and to test with. English templates only; it knows nothing else.",
        "",
        "Recipe: `unmask fit --preset wordprob --task wordprob --updates 12000 --out DIR`, then the same command with "
        f"`--updates {last['update']}`, seed {identity['seed']}, on CPU. Configuration: `config.json`, entry `card`.",
        "",
        f"Measured on {rows[0]['n']} problems of the split `{header['config']['split']}`, commit {header['commit']}:",
        "",
        "| sampler | budget | steps, mean | accuracy, % [95 %] |",
        "|---|---|---|---|",
    ]
    for row in rows:
        low, high = 100 * row["low"], 100 * row["high"]
        accuracy = f"{100 * row['accuracy']:.1f} [{low:.1f}, {high:.1f}]"
        lines.append(f"| {row['sampler']} | {row['budget']} | {row['steps_mean']:.2f} | {accuracy} |")
    return "\n".join(lines) + "\n"


def main(run: Path, bench: Path) -> None:
    """Write the folder and check its size."""
    save_denoiser(load_folder(run / "denoiser"), ASSET, readme=card(run, bench))
    size = sum(file.stat().st_size for file in ASSET.iterdir())
    if size > LARGEST:
        raise SystemExit(f"{ASSET} takes {size:,} bytes, more than {LARGEST:,}")
    print(f"{ASSET}: {size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

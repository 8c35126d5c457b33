"""How long `unmask view` and `unmask compare` take over very many records, and how much memory: made up, then measured.

    python benchmarks/million_records.py --records 1000000

Each command runs in a process of its own. Prints one JSON line for each: seconds on the clock and of the processor, and
peak memory in MiB.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEADER = {
    "format": "unmask-records", "version": 1, "config": {"task": "wordprob", "split": "test", "response_length": 56},
    "denoiser": "made up", "data": "made up",
}  # fmt: skip
SAMPLERS = ("iid", "random", "left-to-right", "top-prob", "margin", "entropy", "halton", "threshold:level=0.9")
BUDGETS = (2, 4, 8, 16, 32)


def write(folder: Path, count: int, seed: int) -> None:
    """Records of every sampler at every budget, on as many problems as it takes."""
    chance = random.Random(seed)
    cells = [(sampler, budget) for sampler in SAMPLERS for budget in BUDGETS]
    orders = {
        most: [" ".join(str(chance.randint(1, most)) for _ in range(56)) for _ in range(97)]
        for most in range(1, max(BUDGETS) + 1)
    }
    folder.mkdir()
    with open(folder / "records.jsonl", "w", encoding="utf-8") as file:
        file.write(json.dumps(HEADER) + "\n")
        for number in range(count):
            sampler, budget = cells[number % len(cells)]
            problem = number // len(cells)
            steps = min(budget, chance.randint(1, budget))
            record = {
                "sampler": sampler, "budget": budget, "seed": 0, "id": f"wordprob/test/{problem}",
                "prompt": f"{problem:016x}", "text": "<<3+4=7>> <<7*6=42>> #### 42", "answer": "42",
                "correct": chance.random() < 0.8, "steps": steps, "nfe": steps, "written": 56, "content": 24,
                "seconds": 0.0123, "order": None,
                "revealed_at": orders[steps][number % 97],
            }  # fmt: skip
            file.write(json.dumps(record) + "\n")


def measure(*words: object) -> dict[str, float]:
    """Run a command of unmask: how long it took, and the most memory that any of the commands so far had."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "unmask", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 1), "processor": round(processor, 1), "peak_mib": round(after.ru_maxrss / 1024)}


def main() -> None:
    """Make two files, and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        first, second = Path(root) / "a", Path(root) / "b"
        write(first, given.records, seed=0)
        write(second, given.records, seed=1)
        print(json.dumps({"command": "view", **measure("view", first)}), flush=True)
        print(json.dumps({"command": "compare", **measure("compare", first, second)}), flush=True)


if __name__ == "__main__":
    main()

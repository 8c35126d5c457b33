"""Records and traces to look at, with texts that would do harm if a page trusted them."""

import random
from pathlib import Path

import pytest

from unmask.evaluate.records import Record, Records
from unmask.samplers.trace import Trace, write_traces

HARM = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>"
HEADER = {
    "format": "unmask-records",
    "version": 1,
    "config": {"task": "wordprob", "split": "test", "response_length": 12, "temperature": 0.0, "seeds": [0]},
    "denoiser": "d1",
    "data": "c1",
    "commit": "c0ffee",
    "torch": "2.13.0",
}
LONG = "averyveryverylongwordwithoutanyspace" * 4
TOKENS = ["3", "+", "4", HARM, LONG, "é", " pens", "<b>", "=", "7", "\n", "<|end|>"]


def make_records(folder: Path, count: int, samplers=("learned", "iid"), budgets=(2, 4), shown=3) -> Path:
    """records.jsonl of a bench with random answers."""
    draw, length = random.Random(0), len(TOKENS)
    with Records(folder / "records.jsonl", HEADER, overwrite=True) as records:
        for sampler in samplers:
            for budget in budgets:
                for number in range(count):
                    late = number % 3 == 0
                    steps = [1 + min(budget - 1, place * budget // length + late) for place in range(length)]
                    whole = {
                        "prompt": f"{number}: how many? {HARM} " + "long " * 40,
                        "tokens": TOKENS,
                        "probability": [0.4, None, *[0.9] * (length - 2)],
                        "end": "<|end|>",
                    }
                    records.add([
                        Record(
                            sampler, budget, 0, f"wordprob/test/{number}", "ab", "7", "7", draw.random() < 0.8,
                            budget, budget, length, length - 1, 0.01, "o1" if sampler == "learned" else None,
                            " ".join(map(str, steps)), whole if number < shown else None,
                        )
                    ])  # fmt: skip
    return folder


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """The folder of a bench."""
    return make_records(tmp_path / "bench", 20)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A trace of two samplers on two prompts."""
    at = [1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 4]
    chance = [0.123, *[0.75] * 11]
    traces = [
        Trace(name, 4, prompt, "3+4", 4, 4, TOKENS, steps, chance, ends=["<|end|>", "<b>"], learned=name == "learned")
        for prompt in (f"How many? {HARM}", "And now?")
        for name, steps in (("learned", at), (f"iid{HARM}", at[::-1]))
    ]
    write_traces(tmp_path / "trace.json", traces, {"seed": 0, "denoiser": HARM})
    return tmp_path / "trace.json"

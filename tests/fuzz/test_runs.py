"""Every file of a run that is read again, damaged in many ways: a sentence, or the answer from before; no traceback.

Values that cannot be (a text for a number, NaN, thirty digits) are never taken: what is read is refused, or is not what
the answer is made of. Bytes may be spoiled into something that is again a file of ours, with one line less, say.
"""

import json
import random
import shutil
import sys
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutate import damage_bytes, damage_value, header_of, with_header

from unmask.cli.exact import CellRecords
from unmask.core.digest import digest
from unmask.core.errors import UserError
from unmask.denoisers.folder import TextDenoiser
from unmask.evaluate.bench import bench
from unmask.evaluate.compare import compare
from unmask.evaluate.slow import measure_slow, read_slow
from unmask.evaluate.tune import tune
from unmask.exact.gap import Cell
from unmask.objectives import Credit
from unmask.samplers.generate import decode
from unmask.samplers.trace import make_trace, read_traces, write_traces
from unmask.tasks import make_task
from unmask.tasks.base import whole_checksum
from unmask.train.features import feature_bound, open_features, read_shard
from unmask.train.fit import fit, start
from unmask.train.learn import learn, new_learners
from unmask.train.learn_config import LearnConfig
from unmask.train.own_texts import own_texts
from unmask.train.presets import fit_preset
from unmask.view.page import render
from unmask.view.source import load

Answer = Callable[[Path], Any]
FIT = {"updates": 2, "rows": 4, "task": "jsonl", "layers": 1, "workers": 0, "compile": False}
LEARN = LearnConfig(
    task="jsonl", budgets=(2,), policy_updates=2, rows=4, samples=2, width=8, layers=1, own_count=6, precision="fp32",
    texts="data", feature_batches=1, codes=0,
)  # fmt: skip


class Sums:
    """The task of the folder, where every text is right, even that of an untrained denoiser."""

    def __init__(self, folder: Path) -> None:
        self.inner = make_task("jsonl", folder)

    def correct(self, text: str, example: object) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split, count in (("train", 12), ("validation", 6), ("test", 6)):
        rows = [{"prompt": f"What is {n} plus 1?", "response": f"#### {n + 1}"} for n in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def denoiser(data: Path) -> TextDenoiser:
    return start(fit_preset("tiny"), make_task("jsonl", data))


@pytest.fixture(scope="module")
def made(data: Path, denoiser: TextDenoiser, tmp_path_factory) -> Path:
    """A folder with a run of each kind in it. Not to be changed."""
    root = tmp_path_factory.mktemp("made")
    for name, change in ANSWERS.items():
        (root / name).mkdir()
        change(root / name, data, denoiser)
    return root


def fitted(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    found = fit(replace(fit_preset("tiny"), data=str(data), **FIT), folder / "run", checkpoint_every=1)
    return digest(found.denoiser.network)


def learned(folder: Path, data: Path, denoiser: TextDenoiser, **more: Any) -> object:
    found = learn(deepcopy(denoiser), replace(LEARN, data=str(data), **more), folder / "run", checkpoint_every=1)
    return digest(found.order.policy)


def written(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    (folder / "x").mkdir(exist_ok=True)
    return own_texts(denoiser, Sums(data), folder / "x" / "texts.jsonl", count=6, sampler="iid", budget=1)


def featured(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    if not (folder / "features").exists():
        learned(folder, data, denoiser, features=str(folder / "features"))
        shutil.rmtree(folder / "run")
        shutil.copy(folder / "features" / "features.json", folder / "kept.json")
    identity = json.loads((folder / "kept.json").read_text())["identity"]
    open_features(folder / "features", identity, 1).close()
    policy, _ = new_learners(LEARN, denoiser.network.hidden_width, 1)
    found = feature_bound(read_shard(folder / "features", 0), policy, Credit(0.0, 3.0), 0.02)
    return float(found.bound.sum().detach())


def benched(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    task = make_task("jsonl", data)
    found = bench(denoiser, task, "test", samplers=["iid", "top-prob"], budgets=[2], out=folder / "b")
    return [row._replace(seconds=0, tokens_per_second=None, seconds_p50=None, seconds_p99=None) for row in found]


def compared(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    if not (folder / "b").exists():
        benched(folder, data, denoiser)
        shutil.copytree(folder / "b", folder / "a")
    return compare(folder / "a", folder / "b").rows


def viewed(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    if not (folder / "b").exists():
        benched(folder, data, denoiser)
    source = load(folder / "b")
    return render(source, "b").html and source.rows


def tabled(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    if not (folder / "b").exists():
        benched(folder, data, denoiser)
        header = (folder / "b" / "records.jsonl").read_text().partition("\n")[0]
        (folder / "b" / "header.json").write_text(header)
        (folder / "b" / "records.jsonl").unlink()
        (folder / "b" / "summary.json").unlink()
    source = load(folder / "b")
    return render(source, "b").html and source.rows


def tuned(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    return tune(denoiser, make_task("jsonl", data), ["random"], target_steps=1, max_steps=1, count=3, first=2, keep=1,
                out=folder / "t")  # fmt: skip


def slowest(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    if not (folder / "s").exists():
        measure_slow(denoiser, make_task("jsonl", data), ["iid"], {}, count=2, out=folder / "s")
    return read_slow(folder / "s", denoiser, make_task("jsonl", data))


def traced(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    path = folder / "t" / "trace.json"
    if not path.exists():
        (once,) = decode(denoiser, ["What is 1 plus 1?"], budget=2)
        write_traces(path, [make_trace(once, denoiser.codec, sampler="top-prob", budget=2)], {"seed": 0})
    found = read_traces(path)
    assert render(found, "t").html
    return found.traces


def exact(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    numbers = dict.fromkeys(("entropy", "static", "deterministic", "randomised", "certificate", "learned"), 0.5)
    cell = Cell("gate", 0, 2, 0, heuristics={"iid": 0.5}, best="iid", near_best=1.0, near_deterministic=1.0, updates=1,
                seconds=0.5, **numbers)  # fmt: skip
    with CellRecords(folder / "e", {"seed": 0}, False) as records:
        if ("gate", 0, 2) not in records.cells:
            records.add(cell)
        return records.cells


def rows(folder: Path, data: Path, denoiser: TextDenoiser) -> object:
    if not (folder / "d").exists():
        shutil.copytree(data, folder / "d")
    return whole_checksum(make_task("jsonl", folder / "d"), "train")


ANSWERS: dict[str, Callable[[Path, Path, TextDenoiser], object]] = {
    "fit": fitted, "learn": learned, "texts": written, "features": featured, "bench": benched, "compare": compared,
    "view": viewed, "table": tabled, "tune": tuned, "slow": slowest, "trace": traced, "exact": exact, "data": rows,
}  # fmt: skip
# What is damaged: whose answer is asked for, the file, how many times in each way, and keys that mean nothing to it.
INFORMS = ("package", "commit", "torch", "device", "threads", "asked", "dtype", "made_with", "settings")
FILES: list[tuple[str, str, int, tuple[str, ...]]] = [
    ("fit", "run/run.json", 4, ()),
    ("fit", "run/log.jsonl", 4, ()),
    ("fit", "run/checkpoint.safetensors", 5, ()),
    ("texts", "x/texts.jsonl", 8, ()),
    ("learn", "run/checkpoint.safetensors", 3, ()),
    ("features", "features/features.json", 6, ()),
    ("features", "features/shard-00000.safetensors", 8, ()),
    ("bench", "b/records.jsonl", 8, INFORMS),
    ("compare", "b/records.jsonl", 8, INFORMS),
    ("view", "b/records.jsonl", 8, INFORMS),
    ("table", "b/table.json", 8, INFORMS),
    ("table", "b/header.json", 6, INFORMS),
    ("tune", "t/tuning.json", 8, INFORMS),
    ("slow", "s/one-per-step.json", 6, INFORMS),
    ("trace", "t/trace.json", 8, INFORMS),
    ("exact", "e/exact.jsonl", 8, INFORMS),
    ("data", "d/train.jsonl", 8, ()),
]
CASES = [
    pytest.param(name, file, way, number, spared, id=f"{name}-{file}-{way}-{number}")
    for name, file, count, spared in FILES
    for way in ("bytes", "value")
    for number in range(count)
]


def damaged(path: Path, way: str, chance: random.Random, spared: tuple[str, ...]) -> bytes:
    """What stands in the file, spoiled."""
    whole = path.read_bytes()
    if path.suffix == ".safetensors":
        header, rest = header_of(whole)
        if way == "bytes":
            start = damage_bytes(whole[: len(whole) - len(rest)], chance)
            return start + rest if chance.random() < 0.5 else whole[: chance.randrange(len(whole))]
        name = chance.choice(sorted(header))
        if name != "__metadata__":
            return with_header(header | {name: damage_value(header[name], chance)}, rest)
        meta = damage_value(json.loads(header[name]["meta"]), chance)
        return with_header(header | {name: {"meta": json.dumps(meta)}}, rest)
    if way == "bytes":
        return damage_bytes(whole, chance)
    if path.suffix == ".jsonl":
        lines = whole.decode().splitlines()
        number = chance.randrange(len(lines))
        lines[number] = json.dumps(damage_value(json.loads(lines[number]), chance, spared))
        return ("\n".join(lines) + "\n").encode()
    return json.dumps(damage_value(json.loads(whole), chance, spared)).encode()


BEFORE: dict[str, object] = {}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file", "way", "number", "spared"), CASES)
def test_a_damaged_file_is_a_sentence_or_changes_nothing(
    made: Path, data: Path, denoiser: TextDenoiser, tmp_path: Path, name, file, way, number, spared
) -> None:
    answer = ANSWERS[name]
    if name not in BEFORE:
        BEFORE[name] = answer(Path(shutil.copytree(made / name, tmp_path / "before")), data, denoiser)
    folder = Path(shutil.copytree(made / name, tmp_path / name))
    path = folder / file
    path.write_bytes(damaged(path, way, random.Random(f"{name}/{file}/{way}/{number}"), spared))
    found, said = BEFORE[name], "a sentence"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = answer(folder, data, denoiser)
        except UserError as error:
            said = str(error)
    assert said.strip()
    assert "\n" not in said
    if way == "value" and name != "compare":  # which says what it left out in its notes
        assert found == BEFORE[name] or told


def test_the_damage_is_damage() -> None:
    """Or the tests above show nothing."""
    value = {"a": [1, "x", None], "b": {"c": True, "d": 0.5}}
    seen = {json.dumps(damage_value(value, random.Random(seed))) for seed in range(200)}
    assert len(seen) > 20
    assert json.dumps(value) not in seen
    data = b"".join(b'{"a": %d}\n' % number for number in range(20))
    spoiled = [damage_bytes(data, random.Random(seed)) for seed in range(200)]
    assert sum(each == data for each in spoiled) < 5

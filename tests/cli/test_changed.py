"""A run that is started again with other data or weights under the same names, or whose folder goes away."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from unmask.train import fit as fit_module
from unmask.train import learn as learn_module

TINY = ["--task", "jsonl", "--preset", "tiny", "--checkpoint-every", 1, "--threads", 1]


@pytest.fixture
def data(sums: Path, tmp_path: Path) -> Path:
    """A folder of data to change."""
    return Path(shutil.copytree(sums, tmp_path / "data"))


@pytest.fixture
def weights(denoiser: Path, tmp_path: Path) -> Path:
    """A denoiser to change."""
    return Path(shutil.copytree(denoiser, tmp_path / "denoiser"))


def change_row(data: Path, split: str) -> None:
    """Another right answer in the last row."""
    lines = (data / f"{split}.jsonl").read_text().splitlines()
    lines[-1] = json.dumps(json.loads(lines[-1]) | {"response": "#### 99"})
    (data / f"{split}.jsonl").write_text("\n".join(lines) + "\n")


def change_weight(denoiser: Path) -> None:
    found = load_file(denoiser / "model.safetensors")
    name = sorted(found)[0]
    save_file(found | {name: found[name] + 1e-3}, denoiser / "model.safetensors")


def everything(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_fit_does_not_go_on_with_other_data(run, refused, data: Path, tmp_path: Path, split: str) -> None:
    command = ["fit", *TINY, "--data", data, "--updates", 2, "--out", tmp_path / "out"]
    assert run(*command).code == 0
    before = everything(tmp_path / "out")
    change_row(data, split)
    assert "belongs to another run (examples {" in refused(*command)
    assert everything(tmp_path / "out") == before
    assert run(*command, "--overwrite").code == 0


@pytest.mark.slow
def test_the_same_data_at_another_place_are_the_same_data(run, data: Path, tmp_path: Path) -> None:
    command = ["fit", *TINY, "--updates", 2, "--out", tmp_path / "out", "--data"]
    assert run(*command, data).code == 0
    data.rename(tmp_path / "elsewhere")
    assert run(*command, tmp_path / "elsewhere").code == 0


@pytest.mark.slow
def test_a_fit_does_not_go_on_from_other_weights(run, refused, sums: Path, weights: Path, tmp_path: Path) -> None:
    command = ["fit", *TINY, "--data", sums, "--init", weights, "--updates", 2, "--out", tmp_path / "out"]
    assert run(*command).code == 0
    change_weight(weights)
    assert "init_weights" in refused(*command)


@pytest.mark.slow
def test_an_order_is_not_learned_on_for_another_denoiser_or_other_data(
    run, refused, data: Path, weights: Path, tmp_path: Path
) -> None:
    command = ["learn", *TINY, "--data", data, "--denoiser", weights, "--updates", 2, "--rule-count", 2,
               "--texts", "data", "--out", tmp_path / "out"]  # fmt: skip
    assert run(*command).code == 0
    change_row(data, "train")
    assert "belongs to another run (examples {" in refused(*command)
    change_weight(weights)
    assert "denoiser" in refused(*command)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["fit", "learn"])
def test_a_folder_that_is_deleted_meanwhile_ends_the_run_with_a_sentence(
    refused, sums: Path, denoiser: Path, tmp_path: Path, monkeypatch, verb: str
) -> None:
    out, module = tmp_path / "out", fit_module if verb == "fit" else learn_module
    clip, calls = module.clip_gradient, []

    def delete(*arguments):
        calls.append(len(calls))
        if len(calls) == 2:
            shutil.rmtree(out)
        return clip(*arguments)

    monkeypatch.setattr(module, "clip_gradient", delete)
    command = [verb, "--task", "jsonl", "--preset", "tiny", "--data", sums, "--updates", 9, "--out", out]
    more = [] if verb == "fit" else ["--denoiser", denoiser, "--texts", "data", "--rule-count", 2]
    said = refused(*command, *more, "--checkpoint-every", 100)
    assert "was removed or replaced while the run went on" in said or "No such file" in said
    assert not (out / "run.json").exists()
    assert not (out / "checkpoint.safetensors").exists()

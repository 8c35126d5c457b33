"""`unmask push`, without the network."""

import json
from pathlib import Path

import huggingface_hub
import pytest

from unmask.denoisers.folder import load_folder
from unmask.evaluate.bench import bench
from unmask.tasks import make_task


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(huggingface_hub, "HfApi", refuse)


def test_a_dry_run_prints_files_and_card(run, order: Path) -> None:
    code, out, err = run("push", order, "someone/order", "--dry-run", "--private")
    assert (code, err) == (0, "would be uploaded to someone/order (private), and then its card:\n")
    files, _, card = out.partition("\n\n")
    assert [line.split()[0] for line in files.splitlines()] == ["README.md", "config.json", "model.safetensors"]
    assert card.startswith("---\nlibrary_name: unmask\n")


def test_as_json_it_is_one_object(run, order: Path) -> None:
    told = json.loads(run("push", order, "someone/order", "--dry-run", "--json").out)
    assert told["repository"] == "someone/order"
    assert told["url"] is None


def test_the_table_of_a_bench_goes_into_the_card(run, order: Path, denoiser: Path, sums: Path, tmp_path: Path) -> None:
    bench(load_folder(denoiser), make_task("jsonl", sums), "test", samplers=["margin"], budgets=[2], count=4,
          out=tmp_path / "bench")  # fmt: skip
    card = run("push", order, "someone/order", "--dry-run", "--results", tmp_path / "bench").out
    assert "| margin | 2 | " in card


def test_mistakes_are_a_sentence(refused, order: Path, tmp_path: Path) -> None:
    assert "write owner/name" in refused("push", order, "order", "--dry-run")
    assert "there is no folder" in refused("push", tmp_path / "nowhere", "someone/order", "--dry-run")
    assert "trace" in refused("push", order, "someone/order", "--dry-run", "--results", tmp_path)

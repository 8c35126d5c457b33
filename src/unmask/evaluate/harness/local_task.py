"""A task of lm-eval on data that is here: its own file is included, and only where the data comes from is replaced."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.core.errors import UserError
from unmask.core.files import write_text
from unmask.core.registry import check_name

SPLITS = ("train", "validation", "test")


def local_files(folder: Path) -> dict[str, Path]:
    """train.jsonl, validation.jsonl and test.jsonl, those that are there. Raises UserError if there is no test."""
    found = {split: folder / f"{split}.jsonl" for split in SPLITS if (folder / f"{split}.jsonl").is_file()}
    if "test" not in found:
        raise UserError(f"there is no test.jsonl in {folder}; give a folder with one JSON object per line in it")
    return found


def task_file(task: str) -> Path:
    """Where lm-eval keeps the file of `task`. Raises UserError if it has none of that name, or no file for it."""
    import lm_eval.tasks

    folder = Path(lm_eval.tasks.__file__).parent
    line = re.compile(rf"^task: {re.escape(task)}$", re.MULTILINE)
    named = [path for path in folder.rglob(f"{task}.yaml") if line.search(path.read_text(encoding="utf-8"))]
    if len(named) == 1:  # nearly always; reading them all takes lm-eval a while
        return named[0]
    index = lm_eval.tasks.TaskManager().task_index
    own: Path | None = index[check_name(task, index, "task of lm-eval")].yaml_path
    if own is None:
        raise UserError(f"`{task}` of lm-eval is made by a program, not by a task file; its data cannot be replaced")
    return own


def write_local_task(
    out: Path, folder: Path, task: str = "gsm8k", overrides: Mapping[str, Any] | None = None
) -> Path:
    """Write a task file for `lm_eval --tasks OUT`: lm-eval's own `task`, reading the jsonl files of `folder`.

    overrides: other entries of the task file. For a denoiser that was fitted on plain questions
        {"doc_to_text": "{{question}}", "num_fewshot": 0} shows it those.
    Returns `out`. Raises UserError if lm-eval has no such task, or the data is not there.
    """
    import yaml

    if out.suffix != ".yaml":
        raise UserError(f"lm-eval takes only files that end in .yaml for tasks, got {out}")
    files = local_files(folder)
    config: dict[str, Any] = {
        "include": str(task_file(task)),
        "task": task,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(path.resolve()) for split, path in files.items()}},
        "training_split": "train" if "train" in files else None,
        "validation_split": "validation" if "validation" in files else None,
        "fewshot_split": "train" if "train" in files else "test",
        **(overrides or {}),
    }
    write_text(out, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    return out

"""Tasks by name: examples of prompt and response, and a judge. They know no model."""

from collections.abc import Callable
from pathlib import Path

from unmask.core.registry import check_name
from unmask.tasks import arithmetic, gsm8k, jsonl, mwp, wordprob, wordprob_one_step
from unmask.tasks.base import Example, Task, checksum

TASKS: dict[str, Callable[[str | Path | None], Task]] = {
    "wordprob": wordprob.load,
    "wordprob-plain": wordprob.load_plain,
    "wordprob-one-step": wordprob_one_step.load,
    "arithmetic": arithmetic.load,
    "gsm8k": gsm8k.load,
    "mwp": mwp.load,
    "jsonl": jsonl.load,
}


def make_task(name: str, data: str | Path | None = None) -> Task:
    """The task called `name`; `data` is the file or folder it reads, if it reads one."""
    return TASKS[check_name(name, TASKS, "task", "unmask list tasks")](data)


__all__ = ["TASKS", "Example", "Task", "checksum", "make_task"]

"""lm-eval's own command line with the model `unmask` in it, and a word to make a task file for local data.

    python -m unmask.evaluate.harness local-task gsm8k DATA OUT.yaml [--plain]
    python -m unmask.evaluate.harness --model unmask --model_args denoiser=wordprob,budget=8 --tasks OUT.yaml
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb

from unmask.core.errors import UserError

USAGE = "usage: python -m unmask.evaluate.harness local-task TASK DATA_FOLDER OUT.yaml [--plain]"
PLAIN = {"doc_to_text": "{{question}}", "num_fewshot": 0}  # the question alone, as our own tasks show it


def local_task(words: Sequence[str]) -> None:
    """Write the task file, print its name."""
    from unmask.evaluate.harness.local_task import write_local_task

    plain = "--plain" in words
    words = [word for word in words if word != "--plain"]
    if len(words) != 3:
        raise UserError(USAGE)
    print(write_local_task(Path(words[2]), Path(words[1]), words[0], PLAIN if plain else None))


def main(words: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    words = sys.argv[1:] if words is None else words
    try:
        if find_spec("lm_eval") is None:
            raise UserError("lm-evaluation-harness is not installed: pip install lm-eval")
        if words[:1] == ["local-task"]:
            local_task(words[1:])
        else:
            from lm_eval.__main__ import cli_evaluate

            import_module("unmask.evaluate.harness.model")  # which registers it
            cli_evaluate()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except ValueError as error:  # which lm-eval's own files raise about what they were given
        if "lm_eval" not in Path(extract_tb(error.__traceback__)[-1].filename).parts:
            raise
        print(f"error: lm-eval says: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

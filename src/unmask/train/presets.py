"""Presets by name: what to start a run from before flags change single values."""

from collections.abc import Callable

from unmask.core.registry import check_name
from unmask.train.fit import FitConfig
from unmask.train.learn_config import LearnConfig


def wordprob() -> FitConfig:
    """The recipe of the bundled denoiser: 1.3 M parameters, 1.5 M made-up examples, an hour on two CPU cores.

    The bundled one was fitted to `--updates 12000` first and then, by the same command, to 24,000: the learning rate
    rose and fell twice. In bfloat16; hardware without it fits in float32, and other weights come out.
    """
    return FitConfig(task="wordprob", mix=("arithmetic=0.4",), updates=24_000, compile=True)


def shallow() -> FitConfig:
    """A denoiser of three layers, which has to write its steps down: the second of `docs/results.md`.

    Some three minutes on an H200 that does other things besides; in bfloat16, as it was measured.
    """
    return FitConfig(
        task="wordprob", mix=("arithmetic=0.4",), updates=3_421, rows=256, layers=3, width=256, heads=8, hidden=704,
        workers=6, precision="bf16",
    )  # fmt: skip


def base() -> FitConfig:
    """Any task at the size of the bundled denoiser, with nothing mixed in."""
    return FitConfig(compile=True)


def mwp() -> FitConfig:
    """Word problems written by people: a few thousand rows, so a smaller vocabulary and more weight decay."""
    return FitConfig(task="mwp", updates=3_000, vocabulary=1024, weight_decay=0.1, context=192, compile=True)


def gsm8k() -> FitConfig:
    """Grade-school problems at a size two CPU cores can bear; on a GPU raise layers, width, rows and updates."""
    return FitConfig(
        task="gsm8k", updates=8_000, rows=32, vocabulary=2048, width=192, heads=6, hidden=512, layers=8,
        weight_decay=0.1, context=288, response_length=64, compile=True,
    )  # fmt: skip


def tiny() -> FitConfig:
    """Seconds on one core: for tests and for trying the commands out. It learns next to nothing."""
    return FitConfig(
        updates=60, rows=8, warmup=5, vocabulary=320, layers=1, width=32, heads=2, hidden=64, context=320,
        precision="fp32",
    )  # fmt: skip


def learn_wordprob() -> LearnConfig:
    """One order of the bundled denoiser for every number of steps, taught by slow decodes; 25 minutes on two cores.

    In float32 on every machine, so that the figures of the log come out everywhere.
    """
    return LearnConfig(
        task="wordprob", texts="data", budgets=(2, 3, 4, 5, 6, 8), policy_updates=0, rows=64,
        taught_updates=2_400, taught_rounds=4, taught_batches=60, precision="fp32",
    )  # fmt: skip


def learn_shallow() -> LearnConfig:
    """The order of the denoiser of that name, taught by 73,728 prompts: three minutes on an H200, in bfloat16."""
    return LearnConfig(
        task="wordprob", texts="data", budgets=(3, 4, 5, 6, 8), policy_updates=0, rows=2_048, width=128,
        taught_updates=960, taught_rounds=3, taught_batches=12, workers=10, precision="bf16",
    )  # fmt: skip


def learn_base() -> LearnConfig:
    """Any task."""
    return LearnConfig()


def learn_demo() -> LearnConfig:
    """An order for the bundled denoiser in at most eight minutes on two CPU cores, slow ones too: the same, shorter.

    In float32 on every machine: the table in docs/results.md comes out on any CPU.
    """
    return LearnConfig(
        task="wordprob", texts="data", budgets=(2, 4, 8), policy_updates=0, rows=64,
        taught_updates=400, taught_rounds=2, taught_batches=25, precision="fp32",
    )  # fmt: skip


def learn_mwp() -> LearnConfig:
    """Orders for word problems written by people; on the task's texts, for there are few prompts to write to."""
    return LearnConfig(task="mwp", texts="data")


def learn_gsm8k() -> LearnConfig:
    """Orders for grade-school problems; on the task's texts, since a small denoiser writes few right ones."""
    return LearnConfig(task="gsm8k", texts="data", budgets=(4, 8, 16))


def learn_tiny() -> LearnConfig:
    """Seconds on one core: for tests and for trying the commands out."""
    return LearnConfig(
        texts="data", budgets=(2, 4), bound_updates=4, policy_updates=8, rows=4, samples=2, warmup=2, width=16,
        layers=1, precision="fp32",
    )  # fmt: skip


FIT_PRESETS: dict[str, Callable[[], FitConfig]] = {
    "base": base,
    "wordprob": wordprob,
    "shallow": shallow,
    "mwp": mwp,
    "gsm8k": gsm8k,
    "tiny": tiny,
}


LEARN_PRESETS: dict[str, Callable[[], LearnConfig]] = {
    "base": learn_base,
    "wordprob": learn_wordprob,
    "demo": learn_demo,
    "shallow": learn_shallow,
    "mwp": learn_mwp,
    "gsm8k": learn_gsm8k,
    "tiny": learn_tiny,
}


def learn_preset(name: str) -> LearnConfig:
    """The preset called `name` for `learn`. Raises UserError with the nearest name if there is none."""
    return LEARN_PRESETS[check_name(name, LEARN_PRESETS, "preset", hint="unmask list presets")]()


def fit_preset(name: str) -> FitConfig:
    """The preset called `name`. Raises UserError with the nearest name if there is none."""
    return FIT_PRESETS[check_name(name, FIT_PRESETS, "preset", hint="unmask list presets")]()

"""The model card of a learned order: what it is, how to run it, what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from unmask.core.texts import in_markdown
from unmask.orders.folder import LearnedOrder

LICENSE = "apache-2.0"  # as unmask's own, unless another is named


def head(license: str = LICENSE, base_model: str | None = None) -> str:
    """The front matter the hub reads. license: its identifier there. base_model: `owner/name` of the denoiser."""
    based = [f"base_model: {base_model}"] if base_model is not None else []
    tags = ["tags:", "- masked-diffusion", "- generation-order", "- text-generation"]
    return "\n".join(["---", "library_name: unmask", *tags, f"license: {license}", *based, "---", ""])


class Measured(NamedTuple):
    """A row of a bench's table. accuracy, low, high: in 0..1, with the Wilson 95 % interval of n examples."""

    sampler: str
    budget: int
    steps: float
    accuracy: float
    low: float
    high: float
    n: int


def model_card(
    order: LearnedOrder,
    repository: str,
    measured: Sequence[Measured] = (),
    license: str = LICENSE,
    base_model: str | None = None,
) -> str:
    """The card in Markdown, with the front matter the hub reads.

    repository: `owner/name` it will be under. measured: rows of a table of `unmask bench`, best on a test split.
    license, base_model: for the front matter, the latter the denoiser it was learned for.
    """
    learned = order.card.get("learn") or {}
    width = order.policy.config.denoiser_width
    parts = [
        head(license, base_model),
        f"# {repository.partition('/')[2]}",
        "A learned generation order for a masked-diffusion language model: a small policy network that says which "
        "positions to write at each step, and how many, within a budget of steps. Learned with unmask by variational "
        "inference, after Fox et al. ([arXiv 2602.23968](https://arxiv.org/abs/2602.23968)).",
        f"It reads the denoiser's hidden states (width {width}), so it belongs to the denoiser it was learned with."
        if width
        else "It reads no hidden states of the denoiser, only its probabilities.",
        _usage(order, repository, base_model),
        _table("Measured", measured) if measured else "",
        _table("On validation", _validation(order.card.get("validation") or {}), _OPTIMISTIC),
        _recipe(learned),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def with_head(card: str, license: str = LICENSE, base_model: str | None = None) -> str:
    """A card with the front matter, if it has none of its own."""
    return card if card.startswith("---\n") else f"{head(license, base_model)}\n{card}"


_OPTIMISTIC = "Of several decode rules this is the best on these very examples, so it is optimistic."


def _usage(order: LearnedOrder, repository: str, base_model: str | None) -> str:
    budget, denoiser = max(order.rules, default=8), base_model or "DENOISER"
    return (
        "## Use\n\n```python\nimport unmask\n\n"
        f'order = unmask.load_order("{repository}")\n'
        f'unmask.decode(unmask.load_denoiser("{denoiser}"), ["PROMPT"], sampler=order, budget={budget})\n```'
    )


def _validation(report: Mapping[str, Any]) -> list[Measured]:
    """What the card of `unmask learn` says of each budget; nothing where it says something else."""
    rows = []
    for budget, found in report.items():
        names = ("steps_mean", "accuracy", "n")
        if not isinstance(found, Mapping) or not str(budget).isdecimal():
            continue
        steps, accuracy, count = (found.get(name) for name in names)
        if isinstance(steps, int | float) and isinstance(accuracy, int | float) and isinstance(count, int):
            rows.append(Measured("this order", int(budget), steps, accuracy, float("nan"), float("nan"), count))
    return rows


def _table(title: str, rows: Sequence[Measured], remark: str = "") -> str:
    if not rows:
        return ""
    lines = ["| sampler | budget | steps, mean | accuracy, % [95 %] | n |", "|---|---|---|---|---|"]
    for row in rows:
        interval = f" [{100 * row.low:.1f}, {100 * row.high:.1f}]" if row.low == row.low else ""
        share = f"{100 * row.accuracy:.1f}{interval}"
        lines.append(f"| {in_markdown(row.sampler)} | {row.budget} | {row.steps:.2f} | {share} | {row.n} |")
    return "\n\n".join(part for part in (f"## {title}", remark, "\n".join(lines)) if part)


def _recipe(learned: Mapping[str, Any]) -> str:
    """What `unmask learn` was told; of a path on somebody's disk only the last part."""
    if not learned:
        return ""
    told = {in_markdown(str(name)): in_markdown(shown(value)) for name, value in learned.items() if value is not None}
    lines = [f"| {name} | {value} |" for name, value in told.items()]
    return "\n".join(["## Recipe\n", "| option of `unmask learn` | value |", "|---|---|", *lines])


def shown(value: Any) -> str:
    """A value as the card shows it."""
    return PurePath(value).name if is_local(value) else str(value)


def is_local(value: Any) -> bool:
    """Whether a value looks like a path on a disk."""
    return isinstance(value, str) and value.startswith(("/", "~", "./", "../"))


def local_paths(card: Mapping[str, Any]) -> list[str]:
    """Paths on a disk that stand in `config.json` and would be published with it."""
    found = []
    for value in card.values():
        if isinstance(value, Mapping):
            found += local_paths(value)
        elif is_local(value):
            found.append(value)
    return found

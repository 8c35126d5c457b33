"""What the guides say of speed, memory and cost: a table or a sentence for each kind of record in benchmarks/."""

import json
from pathlib import Path
from typing import Any


def spread(found: dict[str, float], digits: int = 2) -> str:
    """`1.04 [1.03, 1.06]`: median and quartiles."""
    return f"{found['median']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def parts_of(folder: Path) -> dict[str, Any]:
    """The parts of a record of benchmarks/decode_speed.py."""
    parts: dict[str, Any] = json.loads((folder / "record.json").read_text(encoding="utf-8"))["parts"]
    return parts


def made_with(folder: Path) -> str:
    """Commits, torch and threads; one line for all parts that agree."""
    found = {}
    for part, entry in parts_of(folder).items():
        made = entry["made_with"]
        key = f"commit `{made['commit']}`, torch {made['torch']}, {made['device']}, {made['threads']} threads"
        found.setdefault(key, []).append(part)
    told = [key if len(found) == 1 else f"{', '.join(names)}: {key}" for key, names in found.items()]
    return f"{'; '.join(told)}; records: `docs/records/{folder.name}`."


def render_speed(folder: Path) -> str:
    """Every ratio with its aim."""
    parts = parts_of(folder)
    rows = []
    for name, cell in parts["overhead"]["found"].items():
        beside = "its passes and its policy" if name == "learned" else "its bare passes"
        rows.append((f"`{name}`, 4 steps, 64 rows: time over {beside}", "at most 1.10", spread(cell["ratio"])))
    share = parts["flops"]["found"]["share"]
    rows.append(("policy over denoiser, FLOPs", "at most 8 %", f"{100 * share:.1f} %"))
    for name, cell in parts["loops"]["found"].items():
        steps = parts["loops"]["settings"]["loop_steps"]
        told = f"`{name}`, at most {steps} steps, mean NFE {cell['nfe']['mean']:.1f}: times as fast as a plain loop"
        rows.append((told, "at least 2", spread(cell["ratio"])))
    memory, sizes = parts["memory"]["found"], parts["memory"]["settings"]
    shape = f"{sizes['memory_rows']} rows of {sizes['memory_length']}, vocabulary {sizes['memory_vocabulary']:,}"
    ours, bare = (f"{memory[case]['mib']:,.0f} MiB" for case in ("ours", "bare"))
    told = f"{memory['ours_over_bare']:.3f} ({ours} and {bare})"
    rows.append((f"peak memory, {shape}: over one pass that holds all logits", "at most 0.5", told))
    drawn = f"{memory['drawn_over_bare']:.3f}"
    rows.append(("the same with tokens drawn at temperature 1 and scored", "at most 0.5", drawn))
    told = f"{memory['ours_over_loop_per_row']:.3f}"
    rows.append((f"the same per row, over a plain loop at {memory['loop']['rows']} rows", "", told))
    seconds = parts["start"]["found"]["seconds"]
    rows.append(("`unmask sample` from nothing, s", "at most 4", spread(seconds["sample"])))
    rows.append(("of that `import torch`, s", "", spread(seconds["import torch"])))
    if "compile" in parts:
        found = parts["compile"]["found"]
        told = f"{spread(found['ratio'])}, after {found['first_seconds']:.0f} s"
        rows.append(("compiled denoiser, 4 steps: times as fast as plain", "", told))
    lines = ["| what | aim | median [quartiles] |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, "", made_with(folder)]) + "\n"


def render_caches(folder: Path) -> str:
    """Approximate caches: time and accuracy."""
    found = parts_of(folder)["caches"]["found"]
    lines = ["| cache | times as fast | accuracy, % | same text, % |", "|---|---|---|---|"]
    for name, cell in found.items():
        if isinstance(cell, dict):
            rates = f"{100 * cell['accuracy']:.1f} | {100 * cell['same_text']:.1f}"
            lines.append(f"| `{name}` | {spread(cell['times_as_fast'])} | {rates} |")
    told = f"`{found['sampler']}`, at most {found['budget']} steps, {found['problems']} validation problems"
    return "\n".join([*lines, "", f"{told}; records: `docs/records/{folder.name}`."]) + "\n"


def render_independence(folder: Path) -> str:
    """Samplers by budget, the share of identical texts, and every row that differs."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    cells = record["cells"]
    budgets = sorted({cell["budget"] for cell in cells})
    share = {(cell["sampler"], cell["budget"]): cell["identical"] for cell in cells}
    lines = [f"| sampler | {' | '.join(f'T = {budget}, %' for budget in budgets)} |", f"|---|{'---|' * len(budgets)}"]
    for name in dict.fromkeys(cell["sampler"] for cell in cells):
        found = [f"{100 * share[name, budget]:.1f}" if (name, budget) in share else "" for budget in budgets]
        lines.append(f"| `{name}` | {' | '.join(found)} |")
    differing = [(cell, row) for cell in cells for row in cell["differing"]]
    told = [
        f"- `{cell['sampler']}`, T = {cell['budget']}, row {row['row']}: `{row['alone']}` alone, `{row['together']}`"
        for cell, row in differing
    ]
    problems = cells[0]["problems"]
    where = f"{problems:,} problems of `wordprob`, `{record['split']}`, batches of 1 and of {record['batches'][1]}"
    made = f"commit `{record['commit']}`, torch {record['torch']}, {record['device']}"
    said = "Texts that differ:" if told else "No text differs."
    return "\n".join([*lines, "", said, *told, "", f"{where}; {made}; records: `docs/records/{folder.name}`."]) + "\n"


def render_precision(folder: Path) -> str:
    """In which precision a text does not depend on its batch."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    cells = {(cell["dtype"], cell["exact"], cell["sampler"]): cell for cell in record["cells"]}
    samplers = list(dict.fromkeys(cell["sampler"] for cell in record["cells"]))
    columns = ("same text, %", "same log-probability, %", "times as long")
    heads = (f"`{name}`, {what}" for name in samplers for what in columns)
    lines = [f"| precision | {' | '.join(heads)} |", f"|---|{'---|' * (3 * len(samplers))}"]
    for dtype, exact in dict.fromkeys((cell["dtype"], cell["exact"]) for cell in record["cells"]):
        row: list[str] = []
        for cell in (cells[dtype, exact, name] for name in samplers):
            row += [f"{100 * cell[what]:.1f}" for what in ("identical", "same_log_prob")]
            row.append(spread(cell["times_as_long"]) if "times_as_long" in cell else "")
        lines.append(f"| {dtype}{', exact' if exact else ''} | {' | '.join(row)} |")
    cell = record["cells"][0]
    where = f"{cell['problems']} problems of `wordprob`, `{record['split']}`, T = {cell['budget']}; batches of 1 and"
    made = f"seed {record['seed']}, commit `{record['commit']}`, torch {record['torch']}, {record['device']}"
    told = f"{where} {record['batches'][1]}; {made}, threads: {record['threads']}; `docs/records/{folder.name}`."
    return "\n".join([*lines, "", told]) + "\n"


def render_head(folder: Path) -> str:
    """What it saves that only positions that are read get logits (benchmarks/head_speed.py)."""
    part = parts_of(folder)["positions"]
    lines = ["| vocabulary | sampler | times as fast as with all logits | as LLaDA's loop |", "|---|---|---|---|"]
    for cell in part["cells"]:
        published = spread(cell["over_published"]) if "over_published" in cell else ""
        first = f"| {cell['vocabulary']:,} | `{cell['sampler']}` | {spread(cell['over_everywhere'])}"
        lines.append(f"{first} | {published} |")
    sizes, made = part["settings"], part["made_with"]
    same = all(cell["same_tokens"] for cell in part["cells"])
    told = (
        f"{sizes['rows']} rows of {sizes['length']}, {sizes['budget']} steps, a random trunk of {sizes['layers']} "
        f"layers and width {sizes['width']}; the same tokens in every case: {'yes' if same else 'no'}; "
        f"seed {sizes['seed']}, commit `{made['commit']}`, torch {made['torch']}, {made['device']}; "
        f"records: `docs/records/{folder.name}`."
    )
    return "\n".join([*lines, "", told]) + "\n"


def render_vocabularies(folder: Path) -> str:
    """A decode over its bare passes at published vocabularies (benchmarks/head_speed.py)."""
    part = parts_of(folder)["vocabularies"]
    lines = ["| vocabulary | rows | `top-prob` | `entropy` | `top-prob` in chunks of 16 MiB |", "|---|---|---|---|---|"]
    for cell in part["cells"]:
        ratios = " | ".join(spread(cell[name]) for name in ("top-prob", "entropy", "small_chunks"))
        lines.append(f"| {cell['vocabulary']:,} | {cell['rows']} | {ratios} |")
    sizes, made = part["settings"], part["made_with"]
    told = (
        f"Responses of {sizes['length']}, {sizes['budget']} steps, {sizes['layers']} layers of width {sizes['width']}; "
        f"seed {sizes['seed']}, commit `{made['commit']}`, torch {made['torch']}, {made['device']}; "
        f"records: `docs/records/{folder.name}`."
    )
    return "\n".join([*lines, "", told]) + "\n"


def render_policy(folder: Path) -> str:
    """The policy's share of the operations, from benchmarks/policy_cost.py."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    lines = ["| positions, prompt included | policy / denoiser, first step | over a decode |", "|---|---|---|"]
    for cell in record["cells"]:
        shares = (f"{100 * cell[name]:.5f} %" for name in ("share_first_step", "share_mean"))
        lines.append(f"| {cell['positions']:,} | {' | '.join(shares)} |")
    response = record["cells"][0]["response"]
    told = f"A response of {response} positions; commit `{record['commit']}`; records: `docs/records/{folder.name}`."
    return "\n".join([*lines, "", told]) + "\n"


def load_sentence(folder: Path) -> str:
    """How much memory loading takes, from benchmarks/load_memory.py."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    (case,) = record["cases"]
    return (
        f"Loading takes one copy of the weights: a checkpoint of {case['parameters'] / 1e9:.2f} B parameters in\n"
        f"LLaDA's layout ({case['weight_bytes'] / 1e9:.2f} GB, {record['shape']['shards']} shards) peaked at "
        f"{case['rise_over_weights']:.2f} times its weights above what the\nprocess held before, "
        f"{case['peak_over_weights']:.2f} times with it ([record](../records/{folder.name}/record.json)).\n"
    )

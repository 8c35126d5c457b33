"""How fast and how lean decoding is, as ratios to what it is made of and to plain loops, measured in one run.

    PYTHONPATH=src python3 benchmarks/decode_speed.py --out docs/records/decode-speed
    PYTHONPATH=src python3 benchmarks/decode_speed.py --parts overhead flops --repeats 20 --out runs/speed

    overhead  a decode against bare denoiser passes on the same canvases; with a learned order, passes and policy
    flops     the policy's floating-point operations as a share of the denoiser's
    loops     a decode whose rows finish at different times against the loops of `reference_loops.py`: the same tokens
              and the same NFE in float64, which is asserted, and the time in float32
    memory    peak memory at a real vocabulary, each case in a process of its own: ours, ours with tokens drawn and
              scored, one pass that holds all logits, a plain loop
    start     `unmask sample` on the embedded denoiser from nothing, and where the time goes
    caches    approximate caches against the exact path on validation problems: time, accuracy, texts that stay the same
    compile   a compiled trunk against a plain one

After warm-up, cases that are compared take turns, each turn in the opposite order of the last; a ratio is that of one
turn, and its median and quartiles are reported. Seconds are in the record for whoever repeats it on the same machine.
"""

import argparse
import contextlib
import copy
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import reference_loops
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unmask.core.canvas import Canvas
from unmask.core.files import write_json
from unmask.denoisers.base import Denoised
from unmask.denoisers.folder import TextDenoiser
from unmask.denoisers.hub import load_denoiser
from unmask.denoisers.transformer import Transformer, TransformerConfig
from unmask.evaluate.records import provenance
from unmask.orders.policy import PolicyConfig, PolicyNetwork
from unmask.samplers import Learned, Unmasker, decode_canvas, make_sampler
from unmask.samplers.generate import crop, decode
from unmask.tasks import make_task
from unmask.train.learn_config import LearnConfig

PROMPT = "Ana has 3 pens and buys 4. How many pens has she?"
MEMORY_CASES = ("ours", "drawn", "bare", "loop")


# ---- timing


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def take_turns(cases: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each case, one after the other `repeats` times, after one call of each that does not count.

    Every other turn runs backwards: a machine that gets slower or faster meanwhile favours none of them.
    """
    for call in cases.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats):
        for name in list(cases)[:: 1 if turn % 2 == 0 else -1]:
            taken[name].append(seconds(cases[name]))
    return taken


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    if len(values) == 1:
        return {"median": values[0], "low": values[0], "high": values[0]}
    low, _, high = quantiles(values, n=4, method="inclusive")
    return {"median": median(values), "low": low, "high": high}


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Median and quartiles of the ratio within each turn."""
    return spread([one / other for one, other in zip(above, below, strict=True)])


def say(text: str) -> None:
    """Tell the person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def told(found: dict[str, float]) -> str:
    """`1.04 [1.03, 1.06]`."""
    return f"{found['median']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


# ---- what is decoded


def word_problems(denoiser: TextDenoiser, rows: int, budget: int, response: int | None = None) -> Canvas:
    """The first validation problems that fit, ready to be written."""
    examples = make_task("wordprob").examples("validation")
    length = response or denoiser.response_length
    room = denoiser.context - length
    prompts = [
        item.prompt
        for item in (examples[index] for index in range(min(len(examples), 2 * rows)))
        if len(denoiser.codec.encode_prompt(item.prompt)) <= room
    ]
    return crop(denoiser.codec.canvas(prompts[:rows], length, budget, denoiser.context))


def default_policy(denoiser: TextDenoiser) -> PolicyNetwork:
    """Untrained, of the shape that `unmask learn` makes."""
    made = PolicyNetwork(PolicyConfig(denoiser.network.hidden_width, codes=LearnConfig.codes))
    return made.initialise(torch.Generator().manual_seed(0)).eval()


# ---- the parts


@torch.no_grad()
def bare_passes(network: Transformer, canvases: list[Canvas]) -> None:
    """Tokens to hidden states to logits at the masked positions, and nothing else."""
    for canvas in canvases:
        tokens = torch.where(canvas.masked, network.config.mask_token, canvas.tokens)
        network.logits(network.encode(tokens, canvas.valid)[canvas.masked])


@torch.no_grad()
def policy_passes(policy: PolicyNetwork, canvases: list[Canvas], answers: list[Denoised]) -> None:
    """The policy's laws, nothing drawn from them."""
    for canvas, denoised in zip(canvases, answers, strict=True):
        policy(canvas, denoised)


def overhead(given: argparse.Namespace) -> dict[str, Any]:
    """Wall time of a decode over that of its passes, aim 1.10."""
    denoiser = load_denoiser("wordprob")
    canvas, policy = word_problems(denoiser, given.rows, given.budget), default_policy(denoiser)
    unmaskers: dict[str, Unmasker] = {name: make_sampler(name) for name in given.samplers}
    found: dict[str, Any] = {}
    for name, unmasker in (unmaskers | {"learned": Learned(policy)}).items():
        canvases: list[Canvas] = []
        answers: list[Denoised] = []

        def keep(step: Any, canvases: list[Canvas] = canvases, answers: list[Denoised] = answers) -> None:
            canvases.append(step.before)
            answers.append(step.denoised)

        decode_canvas(denoiser, canvas, unmasker, on_step=keep)

        def passes(name: str = name, canvases: list[Canvas] = canvases, answers: list[Denoised] = answers) -> None:
            bare_passes(denoiser.network, canvases)
            if name == "learned":
                policy_passes(policy, canvases, answers)

        def whole(unmasker: Unmasker = unmasker) -> None:
            decode_canvas(denoiser, canvas, unmasker)

        taken = take_turns({"decode": whole, "passes": passes}, given.repeats)
        found[name] = {
            "ratio": ratio(taken["decode"], taken["passes"]),
            "seconds": {case: spread(values) for case, values in taken.items()},
            "masked": [int(each.masked.sum()) for each in canvases],
            "rows": [len(each.row) for each in canvases],
        }
        say(f"overhead  {name}: decode over its passes {told(found[name]['ratio'])}")
    return found


def flops(given: argparse.Namespace) -> dict[str, Any]:
    """Operations of one pass of each with everything masked, aim at most 8 %."""
    denoiser = load_denoiser("wordprob")
    canvas, policy = word_problems(denoiser, given.rows, given.budget), default_policy(denoiser)
    counted = {}
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention is not counted on every device
        with FlopCounterMode(display=False) as counter:
            denoised = denoiser(canvas)
            denoised.logits(slice(None))
        counted["denoiser"] = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            policy(canvas, denoised)
        counted["policy"] = counter.get_total_flops()
    share = counted["policy"] / counted["denoiser"]
    say(f"flops     policy over denoiser {100 * share:.2f} %")
    return {**counted, "share": share, "policy_shape": policy.config.to_dict()}


def loops(given: argparse.Namespace) -> dict[str, Any]:
    """How many times as fast as a plain loop, aim 2."""
    denoiser = load_denoiser("wordprob")
    canvas = word_problems(denoiser, given.loop_rows, given.loop_steps, given.loop_response)
    quotas = torch.linspace(min(4, given.loop_steps), given.loop_steps, len(canvas.row)).long()
    mixed = Canvas(**{**vars(canvas), "budget": quotas[torch.randperm(len(quotas), generator=seeded())]})
    level = given.level
    cases: dict[str, tuple[Canvas, Unmasker, Callable[[Transformer, Canvas], reference_loops.Written]]] = {
        "low-confidence": (mixed, make_sampler("top-prob"), reference_loops.low_confidence),
        "threshold": (
            canvas,
            make_sampler(f"threshold:level={level}"),
            lambda network, rows: reference_loops.confident_enough(network, rows, level),
        ),
    }
    exact = copy.deepcopy(denoiser.network).double()
    found: dict[str, Any] = {}
    for name, (rows, unmasker, loop) in cases.items():
        ours, theirs = decode_canvas(exact, rows, unmasker), loop(exact, rows)
        assert torch.equal(ours.canvas.tokens[rows.masked], theirs.tokens[rows.masked]), f"{name}: other tokens"
        assert torch.equal(ours.nfe, theirs.nfe), f"{name}: another number of passes"

        def fast(rows: Canvas = rows, unmasker: Unmasker = unmasker) -> object:
            return decode_canvas(denoiser, rows, unmasker)

        def plain(rows: Canvas = rows, loop: Callable[..., object] = loop) -> object:
            return loop(denoiser.network, rows)

        taken = take_turns({"plain": plain, "ours": fast}, given.loop_repeats)
        found[name] = {
            "ratio": ratio(taken["plain"], taken["ours"]),
            "seconds": {case: spread(values) for case, values in taken.items()},
            "nfe": {"mean": float(ours.nfe.double().mean()), "max": int(ours.nfe.max())},
            "same_tokens_and_nfe_in_float64": True,
        }
        say(f"loops     {name}: {told(found[name]['ratio'])} times as fast, the same tokens")
    return found


def seeded() -> torch.Generator:
    """For what is drawn once, so that every run measures the same."""
    return torch.Generator().manual_seed(0)


def memory_network(vocabulary: int, width: int, length: int) -> Transformer:
    """Small, so that the vocabulary dominates."""
    config = TransformerConfig(vocabulary, 0, context=length, layers=2, width=width, heads=4, hidden=2 * width)
    return Transformer(config).initialise(seeded()).requires_grad_(False).eval()


@torch.no_grad()
def memory_child(case: str, given: argparse.Namespace) -> None:
    """Run one case in this process and print how far it raised the peak, in MiB."""
    rows = given.memory_loop_rows if case == "loop" else given.memory_rows
    length, network = (
        given.memory_length,
        memory_network(given.memory_vocabulary, given.memory_width, given.memory_length),
    )
    shape = (rows, length)
    canvas = Canvas.make(torch.zeros(shape, dtype=torch.long), torch.ones(shape, dtype=torch.bool), 1)
    bare_passes(network, [canvas.take(torch.tensor([0])).restrict(torch.arange(length)[None] < 1)])  # warm up
    before = forget_peak()
    if case == "ours":
        decode_canvas(network, canvas, make_sampler("top-prob"))
    elif case == "drawn":
        decode_canvas(network, canvas, make_sampler("top-prob"), temperature=1.0, log_probs=True)
    elif case == "bare":
        bare_passes(network, [canvas])
    else:
        reference_loops.low_confidence(network, canvas)
    print(json.dumps({"mib": peak_mib() - before, "rows": rows, "baseline_mib": before}))


def peak_mib() -> float:
    """The most memory this process has held since `forget_peak`, or since it began where that has no say."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def forget_peak() -> float:
    """Start the peak anew from what is held now (Linux; elsewhere it stays), and say what it starts from.

    Importing torch holds more for a moment than it keeps, enough to hide what a lean decode needs.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return peak_mib()


def memory(given: argparse.Namespace) -> dict[str, Any]:
    """Ours over one pass that holds all logits, aim 0.5."""
    found: dict[str, Any] = {}
    for case in MEMORY_CASES:
        words = [sys.executable, __file__, "--memory-child", case, *sizes(given)]
        found[case] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        say(f"memory    {case} at {found[case]['rows']} rows: {found[case]['mib']:.0f} MiB")
    for case in ("ours", "drawn"):
        found[f"{case}_over_bare"] = found[case]["mib"] / max(1e-9, found["bare"]["mib"])
    each = {case: found[case]["mib"] / found[case]["rows"] for case in ("ours", "loop")}
    found["ours_over_loop_per_row"] = each["ours"] / max(1e-9, each["loop"])
    say(f"memory    ours over bare {found['ours_over_bare']:.3f}, drawn {found['drawn_over_bare']:.3f}")
    return found


def sizes(given: argparse.Namespace) -> list[str]:
    """The flags of a memory case, to hand on."""
    names = ("rows", "loop_rows", "length", "vocabulary", "width")
    return [w for n in names for w in (f"--memory-{n.replace('_', '-')}", str(getattr(given, f"memory_{n}")))]


def start(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds from nothing to an answer, aim 4, beside what is imported on the way."""
    python = {
        "import torch": "import torch",
        "import unmask": "import unmask",
        "import unmask.cli": "import unmask.cli.main",
    }
    words = {name: [sys.executable, "-c", line] for name, line in python.items()}
    words["sample"] = [sys.executable, "-m", "unmask", "sample", "--denoiser", "wordprob", "--budget", "4", PROMPT]

    def run(name: str) -> Callable[[], object]:
        return lambda: subprocess.run(words[name], capture_output=True, check=True)

    taken = take_turns({name: run(name) for name in words}, given.start_repeats)
    found: dict[str, Any] = {
        "seconds": {name: spread(values) for name, values in taken.items()},
        "sample_over_import_torch": ratio(taken["sample"], taken["import torch"]),
    }
    for name, values in found["seconds"].items():
        say(f"start     {name}: {told(values)} s")
    return found


def caches(given: argparse.Namespace) -> dict[str, Any]:
    """Times as fast as without, and what it costs in accuracy."""
    denoiser, task = load_denoiser("wordprob"), make_task("wordprob")
    examples = task.examples("validation")
    room = denoiser.context - denoiser.response_length
    chosen = [
        item
        for item in (examples[index] for index in range(min(len(examples), given.cache_count)))
        if len(denoiser.codec.encode_prompt(item.prompt)) <= room
    ]
    chosen.sort(key=lambda item: len(denoiser.codec.encode_prompt(item.prompt)))
    batches = [chosen[start : start + given.rows] for start in range(0, len(chosen), given.rows)]
    kinds: list[str | None] = [None, *given.caches]
    taken: dict[str | None, list[float]] = {kind: [] for kind in kinds}
    texts: dict[str | None, list[str]] = {kind: [] for kind in kinds}
    for number, batch in enumerate([batches[0], *batches]):
        for kind in kinds:
            began = time.perf_counter()
            answers = decode(
                denoiser,
                [item.prompt for item in batch],
                sampler=given.cache_sampler,
                budget=given.cache_budget,
                batch=given.rows,
                cache=kind,
            )
            if number:  # the first is the warm-up
                taken[kind].append(time.perf_counter() - began)
                texts[kind] += [answer.text or "" for answer in answers]
    found: dict[str, Any] = {"sampler": given.cache_sampler, "budget": given.cache_budget, "problems": len(chosen)}
    for kind in kinds:
        right = sum(task.correct(text, item) for text, item in zip(texts[kind], chosen, strict=True))
        same = sum(text == exact for text, exact in zip(texts[kind], texts[None], strict=True))
        entry = {
            "accuracy": right / len(chosen),
            "same_text": same / len(chosen),
            "times_as_fast": ratio(taken[None], taken[kind]),
        }
        found[kind or "exact"] = entry
        say(
            f"caches    {kind or 'exact'}: {told(entry['times_as_fast'])} times as fast, "
            f"{100 * entry['accuracy']:.1f} % right, {100 * entry['same_text']:.1f} % the same text"
        )
    return found


def compiled(given: argparse.Namespace) -> dict[str, Any]:
    """Times as fast as the plain trunk, seconds until the first answer, and how far log-probabilities differ."""
    denoiser = load_denoiser("wordprob")
    canvas, unmasker = word_problems(denoiser, given.rows, given.budget), make_sampler("top-prob")
    network = denoiser.network
    plain, fast = network.trunk, torch.compile(network.trunk, dynamic=True)

    def run(trunk: Any) -> Any:
        network.trunk = trunk  # type: ignore[method-assign]
        return decode_canvas(denoiser, canvas, unmasker)

    first = seconds(lambda: run(fast))
    one, other = run(plain), run(fast)
    taken = take_turns({"plain": lambda: run(plain), "compiled": lambda: run(fast)}, given.repeats)
    found = {
        "ratio": ratio(taken["plain"], taken["compiled"]),
        "first_seconds": first,
        "same_tokens": bool(torch.equal(one.canvas.tokens, other.canvas.tokens)),
        "log_prob_difference": float((one.log_prob - other.log_prob).abs().max()),
    }
    say(f"compile   {told(found['ratio'])} times as fast after {first:.0f} s")  # type: ignore[arg-type]
    return found


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "overhead": overhead,
    "flops": flops,
    "loops": loops,
    "memory": memory,
    "start": start,
    "caches": caches,
    "compile": compiled,
}
QUICK = {
    "rows": 4, "budget": 2, "repeats": 2, "loop_rows": 3, "loop_steps": 6, "loop_response": 24, "loop_repeats": 1,
    "memory_rows": 16, "memory_loop_rows": 2, "memory_length": 256, "memory_vocabulary": 60_000, "memory_width": 16,
    "start_repeats": 1, "cache_count": 8, "cache_budget": 6,
}  # fmt: skip


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Torch's threads, here and in the processes started from here."""
    if count is not None:
        torch.set_num_threads(count)
        os.environ["OMP_NUM_THREADS"] = str(count)
    yield


def arguments() -> argparse.Namespace:
    """The command line."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--parts", nargs="+", default=[name for name in PARTS if name != "compile"], choices=list(PARTS)
    )
    parser.add_argument("--out", type=Path, help="folder of record.json; parts measured before are kept")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice unless given")
    parser.add_argument("--quick", action="store_true", help="a few rows and steps: shows that it runs")
    parser.add_argument("--rows", type=int, default=64, help="rows of a batch, default 64")
    parser.add_argument("--budget", type=int, default=4, help="steps of overhead, flops and compile, default 4")
    parser.add_argument("--samplers", nargs="+", default=["top-prob", "threshold", "entropy"], help="of overhead")
    parser.add_argument("--repeats", type=int, default=15, help="turns of overhead and compile, default 15")
    parser.add_argument("--loop-rows", type=int, default=32)
    parser.add_argument("--loop-steps", type=int, default=64)
    parser.add_argument("--loop-response", type=int, default=64, help="positions to write")
    parser.add_argument("--loop-repeats", type=int, default=5)
    parser.add_argument("--level", type=float, default=0.9, help="of the threshold in loops, default 0.9")
    parser.add_argument("--memory-rows", type=int, default=32)
    parser.add_argument("--memory-loop-rows", type=int, default=4)
    parser.add_argument("--memory-length", type=int, default=256)
    parser.add_argument("--memory-vocabulary", type=int, default=126_464)
    parser.add_argument("--memory-width", type=int, default=64)
    parser.add_argument("--memory-child", choices=MEMORY_CASES, help=argparse.SUPPRESS)
    parser.add_argument("--start-repeats", type=int, default=5)
    parser.add_argument("--cache-count", type=int, default=500, help="validation problems, default 500")
    parser.add_argument("--cache-sampler", default="top-prob:block=16")
    parser.add_argument("--cache-budget", type=int, default=48)
    parser.add_argument(
        "--caches",
        nargs="+",
        default=[
            "prefix-approximate:refresh=4",
            "prefix-approximate",
            "dual-approximate:window=16,refresh=4",
            "dual-approximate:window=16",
        ],
    )
    given = parser.parse_args()
    if given.quick:
        vars(given).update(QUICK)
    return given


def main() -> None:
    """Measure, and write one JSON object."""
    given = arguments()
    with threads(given.threads):
        if given.memory_child is not None:
            memory_child(given.memory_child, given)
            return
        left_out = ("out", "parts", "memory_child", "threads")
        settings = {key: value for key, value in vars(given).items() if key not in left_out}
        record: dict[str, Any] = {"parts": {}}
        path = None if given.out is None else given.out / "record.json"
        if path is not None and path.is_file():
            record = json.loads(path.read_text(encoding="utf-8"))
        for part in given.parts:
            measured = PARTS[part](given)
            record["parts"][part] = {"made_with": provenance("cpu"), "settings": settings, "found": measured}
            if path is not None:
                given.out.mkdir(parents=True, exist_ok=True)
                write_json(path, record)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()

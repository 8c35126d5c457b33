"""`unmask bench --verify DIR`: do its records come out again?"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.cli.common import Machine, say, tell, tell_json
from unmask.cli.orders import load_orders
from unmask.core.errors import UserError

if TYPE_CHECKING:
    from unmask.evaluate.verify import Replay

TOLD = ("package", "commit", "torch", "device", "threads")  # of a header: what may explain a difference


def verify_records(
    folder: Path,
    denoiser_name: str | None,
    task_name: str | None,
    data: str | None,
    orders: tuple[str, ...],
    machine: Machine,
    as_json: bool,
) -> None:
    """Run ten records of a folder again; what is None is taken from their header. Exits with 1 if any differs."""
    import torch

    from unmask.denoisers.hub import load_denoiser
    from unmask.evaluate.records import find_records, provenance, read_usable
    from unmask.evaluate.verify import choose, examples_of, verify
    from unmask.tasks import make_task
    from unmask.tasks.base import check_split
    from unmask.train.precision import DTYPES

    machine.apply()
    path = find_records(folder)
    (header, records, _), problems = read_usable(path)
    for problem in problems:
        say(f"note: {problem}")
    asked = header.get("asked") if isinstance(header.get("asked"), dict) else {}
    config = header.get("config") if isinstance(header.get("config"), dict) else {}
    dtype = DTYPES.get(entry(header, "dtype") or "", torch.float32) if machine.dtype is None else machine.torch_dtype
    name = named(denoiser_name or entry(asked, "denoiser"), "denoiser", path)
    template = entry(asked, "template")
    denoiser = load_denoiser(name, machine.device, dtype, template=template, ignore_extra=machine.ignore_extra)
    task = make_task(named(task_name or entry(config, "task"), "task", path), data or entry(asked, "data"))
    chosen = choose(records)
    known = asked.get("orders") if asked else None
    known = tuple(known) if isinstance(known, list) and all(isinstance(each, str) for each in known) else ()
    wanted = orders or (known if any(record.order for record in chosen) else ())
    if config and entry(config, "split"):
        examples_of(task, check_split(config["split"], task), records)  # all of them, not the chosen ones alone
    replays = verify(denoiser, task, header, chosen, load_orders(wanted, machine.device))
    here = provenance(denoiser.device)
    for name in TOLD:
        if header.get(name) != here[name]:
            say(f"note: {name} {header.get(name)!r} there, {here[name]!r} here")
    differ = sum(bool(replay.differences) for replay in replays)
    if as_json:
        tell_json([as_object(replay) for replay in replays])
    else:
        for replay in replays:
            tell(as_line(replay))
    say(f"{len(replays) - differ} of {len(replays)} records come out again")
    if differ:
        raise SystemExit(1)


def entry(known: Any, name: str) -> str | None:
    """A word of the header, None where there is none."""
    value = known.get(name) if isinstance(known, dict) else None
    return value if isinstance(value, str) else None


def named(value: str | None, what: str, path: Path) -> str:
    """The value, or a UserError that asks for it."""
    if value is None:
        raise UserError(f"{path} does not say which {what} it was made with; give it with --{what}")
    return value


def as_line(replay: "Replay") -> str:
    """`same     margin @4 seed 0 wordprob/test/3`."""
    record, differences = replay.record, replay.differences
    word = "differs" if differences else "same"
    told = f": {'; '.join(differences)}" if differences else ""
    return f"{word:<8} {record.sampler} @{record.budget} seed {record.seed} {record.id}{told}"


def as_object(replay: "Replay") -> dict[str, Any]:
    """The same for programs."""
    key = replay.record.key._asdict()
    return {**key, "same": not replay.differences, "differences": replay.differences}

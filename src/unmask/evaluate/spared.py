"""What a bench may write over: the records that one left, and what is made from them."""

from collections.abc import Sequence
from pathlib import Path

from unmask.core.errors import UserError

RECORDS, FORMAT = "records.jsonl", "unmask-records"
MADE = ("table.json", "summary.json")  # beside the records, from which they can be made again


def check_spared(out: Path, overwrite: bool = False, made: Sequence[str] = MADE) -> None:
    """Raise UserError where a bench would replace files that none left: no records of ours are beside them."""
    path = out / RECORDS
    if path.is_file():
        if overwrite:
            check_ours(path)
        return
    if there := [name for name in made if (out / name).exists()]:
        raise UserError(
            f"{out} holds {', '.join(there)} but no {RECORDS}, so nothing in it is touched; choose another folder"
        )


def check_there(out: Path) -> None:
    """Raise UserError where the records of a bench went away while it ran."""
    if not (out / RECORDS).is_file():
        raise UserError(
            f"{out / RECORDS} was removed while the run went on, and what it held is gone; start the run again, into a "
            "folder that stays"
        )


def check_ours(path: Path) -> None:
    """Raise UserError where what is to be written over is no records file of ours."""
    ours = f'{{"format": "{FORMAT}"'.encode()
    with open(path, "rb") as file:
        begins = file.read(len(ours))
    if not ours.startswith(begins):  # nothing at all will do, or half a header
        raise UserError(f"{path} is not a records file of unmask, so it is spared; choose another folder")

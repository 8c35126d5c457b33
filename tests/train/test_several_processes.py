"""Two processes do what one does: within rounding, from any number of processes to any other, and they end together."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from unmask.cli import main

LAUNCHED = Path(__file__).parent / "launched.py"
# Sums in another order, through a few updates of AdamW: some hundred units in the last place of a weight near 1.
CLOSE = 3e-5
# Muon orthogonalises in bfloat16, whose last place is 2^-8 of the update; a few updates of 0.006 each.
CLOSE_WITH_MUON = 5e-3

FSDP = """
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
machine_rank: 0
mixed_precision: 'no'
num_machines: 1
num_processes: 2
use_cpu: true
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def asked(commands, die=None):
    return json.dumps({"die": die, "commands": [[str(word) for word in command] for command in commands]})


def environment(**more):
    """One thread each, and the sources under test whatever is installed."""
    paths = [str(Path(__file__).parents[2] / "src"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more}


def run(command):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env=environment())


def torchrun(*words):
    port = ["--nproc-per-node", "2", "--master-port", str(free_port())]
    return run([sys.executable, "-m", "torch.distributed.run", *port, *map(str, words)])


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    """A few sums for the task `jsonl`, no validation split but for learning."""
    folder = tmp_path_factory.mktemp("sums")
    for split, count in (("train", 24), ("validation", 3), ("test", 9)):
        rows = [{"prompt": f"{a}+{a + 1}", "response": f"{2 * a + 1}"} for a in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def words(sums, tmp_path_factory):
    """The commands without --out; three rows in two processes are two and one."""
    common = ["--task", "jsonl", "--data", sums, "--threads", "1"]
    training = [*common, "--preset", "tiny", "--checkpoint-every", "2", "--validate-every", "100"]
    fit = ["fit", *training, "--rows", "3", "--updates", "6", "--context", "60", "--response-length", "8"]
    denoiser = tmp_path_factory.mktemp("denoiser") / "run"
    assert main([str(word) for word in [*fit, "--out", denoiser]]) == 0
    learn = ["learn", *training, "--denoiser", denoiser, "--rows", "3", "--updates", "6", "--rule-count", "2"]
    bench = ["bench", *common, "--denoiser", denoiser, "--samplers", "iid", "margin", "--budgets", "2", "3"]
    return {
        "adamw": [*fit, "--muon-rate", "0"],
        "muon": fit,
        "learn": learn,
        "own": [*learn, "--texts", "data", "--likelihood", "1"],
        "bench": [*bench, "--seeds", "0", "1", "--batch", "2"],
    }


@pytest.fixture(scope="module")
def alone(words, tmp_path_factory):
    """What one process leaves."""
    folder = tmp_path_factory.mktemp("alone")
    for name, command in words.items():
        assert main([str(word) for word in [*command, "--out", folder / name]]) == 0
    return folder


def distance(one: Path, other: Path) -> float:
    """The largest difference between two files of tensors."""
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    assert all(a[name].dtype == b[name].dtype for name in a)
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def check(alone: Path, out: Path, names: list[str]) -> None:
    """What several processes left in `out/NAME` is what one did."""
    made = {"adamw": "denoiser", "muon": "denoiser", "learn": "order", "own": "order"}
    for name in names:
        close = CLOSE_WITH_MUON if name == "muon" else CLOSE
        for file in ("checkpoint.safetensors", f"{made[name]}/model.safetensors"):
            assert distance(alone / name / file, out / name / file) < close, (name, file)
        here, there = (json.loads((each / name / "log.jsonl").read_text().splitlines()[0]) for each in (alone, out))
        for log in (here, there):
            log.pop("reveal", None)  # over the canvases that had a choice: no mean over rows
        assert here == pytest.approx(there, rel=1e-4, abs=1e-6), name
        assert len((alone / name / "log.jsonl").read_text().splitlines()) == (
            len((out / name / "log.jsonl").read_text().splitlines())
        )
        left = sorted(path.relative_to(alone / name) for path in (alone / name).rglob("*"))
        assert left == sorted(path.relative_to(out / name) for path in (out / name).rglob("*"))


def records(folder: Path) -> list[dict[str, object]]:
    """Every line but for the clock."""
    entries = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in entries]


def test_one_process_takes_all_rows_as_they_are(monkeypatch):
    from unmask.train.processes import Processes

    monkeypatch.delenv("WORLD_SIZE", raising=False)
    (piece,) = Processes("cpu").pieces(7)
    assert piece.rows is None
    assert piece.share == 1.0


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_pieces_of_all_processes_are_the_batch(rows, world, parts):
    from unmask.train.processes import Processes

    found = []
    for rank in range(world):
        processes = Processes("cpu")
        processes.rank, processes.world = rank, world
        pieces = processes.pieces(rows, parts)
        assert pieces, "every process takes part"
        found += pieces
    assert sum(piece.share for piece in found) == pytest.approx(1)
    taken = [torch.arange(rows) if piece.rows is None else piece.rows for piece in found if piece.share > 0]
    assert torch.equal(torch.cat(taken), torch.arange(rows))
    sizes = [len(each) for each in taken]
    assert max(sizes) - min(sizes) <= 1


def test_several_processes_without_accelerate_are_told_what_to_install(monkeypatch):
    from unmask.core.errors import UserError
    from unmask.train.processes import open_processes

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(UserError, match=r"started as 2 processes, .*pip install accelerate`"):
        open_processes("cpu-without-accelerate")


@pytest.mark.slow
def test_two_processes_do_what_one_does(words, alone, tmp_path):
    """Under torchrun: fit by either optimizer, learn, and a bench to the last letter."""
    done = torchrun(LAUNCHED, asked([*command, "--out", tmp_path / name] for name, command in words.items()))
    assert done.returncode == 0, done.stderr
    check(alone, tmp_path, ["adamw", "muon", "learn", "own"])
    assert records(tmp_path / "bench") == records(alone / "bench")
    assert len(records(alone / "bench")) == 1 + 2 * 2 * 2 * 9
    assert done.stdout.count("order") == 2, "the main process alone prints"


@pytest.mark.slow
def test_two_processes_with_weights_in_parts_do_what_one_does(words, alone, tmp_path):
    """`accelerate launch` with a configuration that says FSDP2."""
    (tmp_path / "fsdp.yaml").write_text(FSDP)
    names = ["adamw", "muon", "learn"]
    launch = ["-m", "accelerate.commands.launch", "--config_file", tmp_path / "fsdp.yaml"]
    commands = asked([*words[name], "--out", tmp_path / name] for name in names)
    done = run([sys.executable, *map(str, launch), "--main_process_port", str(free_port()), str(LAUNCHED), commands])
    assert done.returncode == 0, done.stderr
    check(alone, tmp_path, names)


@pytest.mark.slow
def test_a_run_goes_from_one_process_to_two_and_back(words, alone, tmp_path):
    """Killed after its first checkpoint, gone on as two processes of which one is killed, ended by one."""
    command = [*words["adamw"], "--out", tmp_path / "adamw"]
    killed = run([sys.executable, str(LAUNCHED), asked([command], die=[0, 4])])
    assert killed.returncode == -9, killed.stderr
    stopped = torchrun(LAUNCHED, asked([command], die=[1, 3]))  # the fifth update
    assert stopped.returncode not in (0, 2), stopped.stderr
    assert not (tmp_path / "adamw" / "denoiser").exists()
    updates = [json.loads(line)["update"] for line in (tmp_path / "adamw" / "log.jsonl").read_text().splitlines()]
    assert updates == [1], "the log of the second start goes on from the first"
    assert main([str(word) for word in command]) == 0
    check(alone, tmp_path, ["adamw"])


@pytest.mark.slow
def test_python_m_unmask_under_torchrun(words, alone, tmp_path):
    done = torchrun("-m", "unmask", *words["adamw"], "--out", tmp_path / "adamw")
    assert done.returncode == 0, done.stderr
    check(alone, tmp_path, ["adamw"])


@pytest.mark.slow
def test_a_process_whose_neighbour_is_killed_ends_by_itself_and_says_so(words, alone, tmp_path):
    """No launcher watches over these two; the one that is left notices, and the run can be taken up."""
    command = [*words["learn"], "--out", tmp_path / "learn"]
    port, processes = str(free_port()), []
    for rank in ("0", "1"):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        processes.append(
            subprocess.Popen(
                [sys.executable, str(LAUNCHED), asked([command], die=[1, 4])], stderr=subprocess.PIPE, text=True,
                env=environment(**place, MASTER_ADDR="localhost", MASTER_PORT=port),
            )
        )  # fmt: skip
    assert processes[1].wait(timeout=120) == -9
    began = time.monotonic()
    _, said = processes[0].communicate(timeout=60)
    assert processes[0].returncode == 2, said
    assert time.monotonic() - began < 30
    (line,) = [line for line in said.splitlines() if line.startswith("error")]
    assert "stopping, for another of the 2 processes is gone" in line
    assert "start the run again with the same command" in line
    processes[1].communicate()
    assert not (tmp_path / "learn" / "order").exists()
    assert main([str(word) for word in command]) == 0
    check(alone, tmp_path, ["learn"])


@pytest.mark.slow
def test_what_is_wrong_with_the_folder_is_said_and_all_processes_end(words, alone, tmp_path):
    (tmp_path / "adamw").mkdir()
    (tmp_path / "adamw" / "note.txt").write_text("mine")
    done = torchrun(LAUNCHED, asked([[*words["adamw"], "--out", tmp_path / "adamw"]]))
    assert done.returncode == 1, "torchrun's own"
    assert "holds files but no run of unmask" in done.stderr
    assert sorted(path.name for path in (tmp_path / "adamw").iterdir()) == ["note.txt"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_processes_whose_launcher_is_killed_go_with_it(words, tmp_path):
    """Nobody is left to end them then: each notices by itself."""
    port = ["--nproc-per-node", "2", "--master-port", str(free_port())]
    long = ["999999" if word == "6" else str(word) for word in words["muon"]]
    command = [sys.executable, "-m", "torch.distributed.run", *port, "-m", "unmask", *long]
    command += ["--out", str(tmp_path / "o")]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        while launcher.poll() is None and not (tmp_path / "o" / "checkpoint.safetensors").exists():
            time.sleep(0.1)
        ranks = [number for number in with_words(str(tmp_path)) if number != launcher.pid]
        assert len(ranks) == 2
        launcher.kill()
    patience = time.monotonic() + 20
    while with_words(str(tmp_path)) and time.monotonic() < patience:
        time.sleep(0.2)
    left = with_words(str(tmp_path))
    for number in left:
        os.kill(number, 9)
    assert left == []


def with_words(words):
    """Processes that have `words` on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if words.encode() in (process / "cmdline").read_bytes() and int(process.name) != os.getpid():
                found.append(int(process.name))
        except OSError:
            continue
    return found

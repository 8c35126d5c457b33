"""Help, lists and wrong names answer at once: in a process where torch cannot be imported, in under a second or so."""

import subprocess
import sys

import pytest

from unmask.cli.main import VERBS

UNIMPORTABLE = """
import sys
from importlib.abc import MetaPathFinder
HEAVY = ("torch", "numpy", "transformers", "matplotlib", "tokenizers", "safetensors", "huggingface_hub")
class Heavy(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ImportError(f"{name} is not to be imported")
sys.meta_path.insert(0, Heavy())
from unmask.cli import main
sys.exit(main(sys.argv[1:]))
"""
HELP = ["--help", "--version", *(f"{verb} --help" for verb in VERBS)]
LISTS = [f"list {kind}" for kind in ("samplers", "tasks", "denoisers", "presets", "samplers --json")]
SAMPLE = "sample --denoiser wordprob --budget 4"
RUN = "--denoiser wordprob --task wordprob --out runs/x"
WRONG = {
    "smaple": "`sample`",
    "list sampler": "`samplers`",
    "sample --denoisre wordprob": "`--denoiser`",
    "sample --denoiser wordprob --budget four hello": "expected a whole number, got `four`",
    f"{SAMPLE} --sampler margn hello": "`margin`",
    f"{SAMPLE} --sampler threshold:levle=0.5 hello": "`level`",
    f"{SAMPLE} --beside margn --trace x.json hello": "`margin`",
    f"{SAMPLE} --budget 0 hello": "--budget must be at least 1",
    f"bench {RUN} --samplers iid margn@4": "`margin`",
    "bench --denoiser wordprob --task wordprb --out runs/x": "`wordprob`",
    "bench --denoiser wordprob": "missing --task",
    "learn --denoiser wordprob --task wordprb --out runs/x": "`wordprob`",
    f"learn {RUN} --preset tinny": "`tiny`",
    "fit --task wordprb --out runs/x": "`wordprob`",
    "fit --task wordprob --preset tinny --out runs/x": "`tiny`",
    "exact --families gat": "`gate`",
    "demo --preset tinny": "`tiny`",
}


def without_torch(words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", UNIMPORTABLE, *words.split()]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("words", [*HELP, *LISTS])
def test_help_and_lists_need_no_torch(words: str) -> None:
    done = without_torch(words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_name_needs_no_torch(words: str) -> None:
    done = without_torch(words)
    assert (done.returncode, done.stdout) == (2, "")
    assert WRONG[words] in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_other_things_do_need_it() -> None:
    """Or the tests above would show nothing."""
    assert "torch is not to be imported" in without_torch(f"{SAMPLE} hello").stderr


def test_the_command_stays_the_command_when_its_file_is_imported() -> None:
    """`from unmask.cli import main` gave a module after anybody had imported `unmask.cli.main`."""
    script = "import unmask.cli, unmask.cli.main; from unmask.cli import main; main(['--version'])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.startswith(b"unmask ")

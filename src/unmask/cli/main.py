"""`unmask VERB ...`: find the verb, run it, and say what the user got wrong in a line."""

import os
import sys
from collections.abc import Sequence

from unmask.cli.bench import Bench
from unmask.cli.common import Command, first_line, parse, plain_warnings, say, tell, write_what_is_asked
from unmask.cli.compare import Compare
from unmask.cli.demo import Demo
from unmask.cli.entry import stopped
from unmask.cli.exact import Exact
from unmask.cli.fit import Fit
from unmask.cli.inspect import Inspect
from unmask.cli.learn import Learn
from unmask.cli.list import List
from unmask.cli.push import Push
from unmask.cli.sample import Sample
from unmask.cli.view import View
from unmask.core.errors import UserError
from unmask.core.example import PROMPT
from unmask.core.registry import check_name

VERBS: dict[str, type[Command]] = {
    "demo": Demo,
    "fit": Fit,
    "learn": Learn,
    "sample": Sample,
    "bench": Bench,
    "compare": Compare,
    "exact": Exact,
    "view": View,
    "push": Push,
    "list": List,
    "inspect": Inspect,
}

BROKEN_PIPE = 141  # what a shell says of a process ended by SIGPIPE


def usage() -> str:
    """What `unmask` says of itself."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {first_line(kind)}" for name, kind in VERBS.items())
    return (
        "usage: unmask VERB [OPTIONS]\n\n"
        "Learned generation orders, and every published heuristic, for masked diffusion language models.\n\n"
        f"{verbs}\n\n"
        "`unmask VERB --help` says more, with an example.\n\n"
        f'example: unmask sample --denoiser wordprob --budget 4 "{PROMPT}"'
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Only defects of ours leave a traceback."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    command: Command | None = None
    write_what_is_asked()
    try:
        with plain_warnings():
            command = find_command(words)
            if command is not None:
                command.run()
        leave_processes()
        sys.stdout.flush()
    except UserError as error:
        say(f"error{of_process()}: {' '.join(str(error).split())}")
        return 2
    except BrokenPipeError:
        give_up_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt as error:
        return stopped(error, getattr(command, "when_stopped", ""))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"error: {where}{error.strerror or error}")
        give_up_stdout()
        return 2
    except SystemExit as ended:  # --help
        return int(ended.code or 0)
    return 0


def give_up_stdout() -> None:
    """Let what cannot be written go, or Python complains once more at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave_processes() -> None:
    """Part from the other processes of a run, if this command was one of several."""
    if "unmask.train.processes" in sys.modules:
        from unmask.train.processes import close_processes

        close_processes()


def of_process() -> str:
    """Which process of several speaks, where it is not the main one."""
    return "" if os.environ.get("RANK", "0") == "0" else f" of process {os.environ.get('RANK')}"


def find_command(words: Sequence[str]) -> Command | None:
    """The verb that comes first with its arguments; None where the answer was printed already."""
    if len(words) > 1 and words[0] == "help":
        words = [words[1], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        if not words:
            say(usage())
            raise UserError(f"no verb given; choose one of {', '.join(VERBS)}")
        tell(usage())
        return None
    if words[0] == "--version":
        from unmask import __version__

        tell(f"unmask {__version__}")
        return None
    if list(words[:2]) == ["bench", "compare"]:  # bench itself takes no bare words
        words = words[1:]
    verb = check_name(words[0], VERBS, "verb", hint="unmask --help")
    return parse(VERBS[verb], verb, words[1:])

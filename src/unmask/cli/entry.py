"""Where a process begins: from here on Ctrl-C, and being told to end, are answered in a line. Imports nothing slow."""

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

ENDING = ("SIGTERM", "SIGHUP")  # where there are such
STOPPED = "stopped"


class Terminated(KeyboardInterrupt):
    """Somebody told this process to end; handled as Ctrl-C is. number: of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Without arguments, those of the process, which is then ours alone."""
    own = arguments is None and threading.current_thread() is threading.main_thread()
    try:
        if own:
            watch_signals()
            replace_closed()
        from unmask.cli.main import main as run

        return run(arguments)
    except KeyboardInterrupt as error:
        return stopped(error)
    finally:
        if own:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done and said


class Closed(io.TextIOBase):
    """In the place of a stdout that was closed before we began: what was asked for may not get lost without a word."""

    def write(self, text: str) -> int:
        """There is nowhere to write it."""
        raise OSError(errno.EBADF, "stdout is closed, and this command answers there; send it to a file instead")


def replace_closed() -> None:
    """Have something in the place of streams that are closed, or a file that is opened next gets the number of one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as the process


def watch_signals() -> None:
    """Have Ctrl-C and the signals to end raise where they can be handled."""
    signal.signal(signal.SIGINT, interrupt)
    for name in ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores one of them
            signal.signal(number, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise, or end at once in the middle of an import: libraries make something else of an error there."""
    error = KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)
    if is_importing(frame):
        show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
        os.write(2, f"{show_cursor}{words(error)}\n".encode())
        os._exit(code(error))
    raise error


def is_importing(frame: FrameType | None) -> bool:
    """Whether some module is being imported right now."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def stopped(error: KeyboardInterrupt, more: str = "") -> int:
    """Say so, and what the person can do now; the exit code."""
    with suppress(OSError):  # the terminal it would be said on may be what went away
        print(words(error) + (f"; {more}" if more else ""), file=sys.stderr, flush=True)
    return code(error)


def words(error: KeyboardInterrupt) -> str:
    """`stopped`, and by what."""
    return f"{STOPPED} by {error}" if isinstance(error, Terminated) else STOPPED


def code(error: KeyboardInterrupt) -> int:
    """What a shell says of a process that a signal ended."""
    return 128 + (error.number if isinstance(error, Terminated) else signal.SIGINT)

"""Run commands of unmask one after the other, in a process that may be one of several and may be told to die.

    python launched.py '{"die": [1, 3], "commands": [["fit", ...], ["learn", ...]]}'

die: [rank, n]: that process kills itself at its n-th update.
"""

import json
import os
import signal
import sys
from itertools import count

import torch

from unmask.cli import main
from unmask.cli.main import find_command
from unmask.train import fit, learn

asked = json.loads(sys.argv[1])
torch.set_num_threads(1)
updates = count(1)


def clip_or_die(*arguments):
    if asked.get("die") == [int(os.environ.get("RANK", "0")), next(updates)]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)


real = fit.clip_gradient
fit.clip_gradient = learn.clip_gradient = clip_or_die
*first, last = asked["commands"]
for command in first:
    find_command(command).run()  # as `main` does, which parts from the other processes at the end
sys.exit(main(last))

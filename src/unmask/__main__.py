"""`python -m unmask`: the same as the command `unmask`."""

import sys

from unmask.cli import main

sys.exit(main())

"""A process that takes its own place, as with a password that its clients do not read again."""

import logging
import os
import sys
from typing import NoReturn


def begin_again() -> NoReturn:
    """Replace this process by itself, started anew with the same arguments; its process id stays."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - what runs already

"""How many threads torch uses: one, for the small networks here.

Threads that wait for each other in a busy loop make a small product slower, not faster, and where other programs want
the cores too, many times slower. One thread also rounds the same way everywhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Within this block torch computes on the calling thread alone."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

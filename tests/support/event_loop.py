"""Tests that are coroutines."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import ParamSpec

Arguments = ParamSpec("Arguments")

SECONDS = 60.0


def in_event_loop(test: Callable[Arguments, Coroutine[object, object, None]]) -> Callable[Arguments, None]:
    """Runs the test in an event loop of its own, and fails it when it hangs."""

    @functools.wraps(test)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), SECONDS))

    return run


async def settle(turns: int = 20) -> None:
    """Let everybody run who can."""
    for _ in range(turns):
        await asyncio.sleep(0)

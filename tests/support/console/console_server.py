"""The console of a `ConsolePlant` in a thread, to be stopped and started again on the same port."""

import asyncio
import threading
from types import TracebackType
from typing import Self

from aiohttp import web

from stream_detector.operations.console.guard import Guard
from stream_detector.operations.console.views import PlantView
from tests.support.console.console_plant import ConsolePlant, application
from tests.support.stack.kafka import free_port


class ConsoleServer:
    """Serves until the end of the `with` block, or `stop`."""

    def __init__(self, plant: ConsolePlant, token: str | None = None, words: PlantView | None = None) -> None:
        self.plant = plant
        self._words = words
        self.port = free_port()
        self._guard = Guard("127.0.0.1", token)
        self._thread: threading.Thread | None = None
        self._loop = asyncio.new_event_loop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Listens when it returns."""
        listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve(listening)))
        self._thread.start()
        if not listening.wait(10):
            raise RuntimeError(f"the console does not listen on port {self.port}")

    async def _serve(self, listening: threading.Event) -> None:
        self._ending = asyncio.Event()
        runner = web.AppRunner(application(self.plant, self._guard, self._words), shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        listening.set()
        await self._ending.wait()
        await runner.cleanup()

    def stop(self) -> None:
        """Ends all connections."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(10)
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

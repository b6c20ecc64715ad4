"""A real worker, in its own process, for the demo."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from stream_detector.errors import StalledError

READY_SECONDS = 180.0
END_SECONDS = 15.0


class WorkerProcess:
    """`stream-detector run` from entering to leaving; its log goes to a file.

    Args:
        environment: settings (`STREAM_DETECTOR_*`) on top of this process's.
    """

    def __init__(self, bundle: Path, bootstrap: str, log: Path, environment: Mapping[str, str]) -> None:
        self._log, self._port = log, _free_port()
        self._environment = {**os.environ, **environment}
        self._command = [
            sys.executable, "-m", "stream_detector", "run", "--bundle", str(bundle), "--bootstrap", bootstrap,
            "--metrics-port", str(self._port), "--publish-scores",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C is for the demo, which then ends the worker in an orderly way.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_until_ready(self) -> None:
        """Until it has its partitions.

        Raises:
            StalledError: it does not come up in time, or has ended.
        """
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise StalledError(f"the worker was not ready within {READY_SECONDS:.0f} s; its log ends:\n{self._tail()}")

    def check(self) -> None:
        """StalledError if the worker has ended by itself."""
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise StalledError(f"the worker ended with exit code {code}; its log ends:\n{self._tail()}")

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

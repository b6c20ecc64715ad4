"""A real Prometheus and a real Alertmanager as child processes, on free ports and in temporary folders."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support.stack.kafka import free_port

START_SECONDS = 60.0
PROGRAMS = {"prometheus": ("prometheus",), "alertmanager": ("prometheus-alertmanager", "alertmanager")}


def program(name: str) -> str | None:
    """Path of `prometheus` or `alertmanager`, under the name that Debian or the project gives it."""
    return next((path for candidate in PROGRAMS[name] if (path := shutil.which(candidate))), None)


def why_no_monitoring() -> str | None:
    """Reason to skip, or None when both programs are here."""
    missing = [name for name in PROGRAMS if program(name) is None]
    return f"not installed: {', '.join(missing)} (Debian: prometheus, prometheus-alertmanager)" if missing else None


def get_json(url: str, timeout_seconds: float = 10.0) -> Any:
    """The JSON that `url` answers, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_seconds) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        return json.load(refused)


def status_of(url: str, timeout_seconds: float = 5.0) -> int:
    """The HTTP status that `url` answers, 0 where nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_seconds) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return 0


class _Server:
    """A child process that answers `/-/ready` when it is up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def arguments(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        executable = program(self.name)
        if executable is None:
            raise FileNotFoundError(why_no_monitoring())
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen([executable, *self.arguments()], stdout=log, stderr=log, cwd=self.folder)
        until = time.monotonic() + START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"{self.name} did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def _ready(self) -> bool:
        return status_of(f"{self.url}/-/ready", 1.0) == 200

    def stop(self) -> None:
        """Ends the process and removes its folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Prometheus(_Server):
    """Runs a configuration file of ours; only addresses and the scrape interval are exchanged for those of the test.

    `targets`: job name -> `host:port`, or a JSON file of targets that may change meanwhile; the jobs' own service
    discovery is replaced by these.
    """

    def __init__(
        self,
        configuration: Path,
        targets: Mapping[str, str | Path] | None = None,
        alertmanager: str | None = None,
        interval_seconds: float = 1.0,
    ) -> None:
        super().__init__("prometheus")
        content = yaml.safe_load(configuration.read_text())
        content["global"] = {
            "scrape_interval": f"{round(1000 * interval_seconds)}ms",
            "evaluation_interval": f"{round(1000 * interval_seconds)}ms",
        }
        content["rule_files"] = [str(configuration.parent / pattern) for pattern in content.get("rule_files", [])]
        content["scrape_configs"] = [{"job_name": job, **_found(target)} for job, target in (targets or {}).items()]
        content["alerting"] = {
            "alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}] if alertmanager else []
        }
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(content))

    def arguments(self) -> list[str]:
        return [
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of an expression.

        Raises:
            ValueError: Prometheus cannot parse or evaluate it.
        """
        answer = get_json(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        if answer["status"] != "success":
            raise ValueError(f"{answer.get('errorType')}: {answer.get('error')} in {expression}")
        if answer["data"]["resultType"] == "scalar":
            return [{"metric": {}, "value": answer["data"]["result"]}]
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


def _found(target: str | Path) -> dict[str, Any]:
    if isinstance(target, Path):
        return {"file_sd_configs": [{"files": [str(target)]}]}
    return {"static_configs": [{"targets": [target]}]}


class Alertmanager(_Server):
    """Runs a configuration file of ours; `receivers`: receiver's name -> address that its webhook posts to instead.

    `quiet_hours`: as the file says. Without them nothing hangs on the hour and the day at which a test runs.
    """

    def __init__(
        self, configuration: Path, receivers: dict[str, str] | None = None, *, quiet_hours: bool = False
    ) -> None:
        super().__init__("alertmanager")
        content = yaml.safe_load(configuration.read_text())
        if not quiet_hours:
            for route in content["route"]["routes"]:
                route.pop("mute_time_intervals", None)
        for receiver in content["receivers"]:
            url = (receivers or {}).get(receiver["name"])
            if url is None:
                receiver.pop("webhook_configs", None)
            else:
                receiver["webhook_configs"] = [{"url": url, "send_resolved": True}]
        (self.folder / "alertmanager.yml").write_text(yaml.safe_dump(content))

    def arguments(self) -> list[str]:
        return [
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it holds now."""
        found: list[dict[str, Any]] = get_json(f"{self.url}/api/v2/alerts")
        return found

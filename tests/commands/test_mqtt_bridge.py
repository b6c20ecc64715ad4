"""`stream-detector mqtt-bridge` as a process: when it begins again, and what it reads again."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from stream_detector.__main__ import main
from stream_detector.settings import Settings
from stream_detector.streaming.clients import diagnosis
from stream_detector.streaming.sources import mqtt_bridge
from stream_detector.streaming.worker import password_watch

NOBODY = ["mqtt-bridge", "--mqtt", "mqtt://127.0.0.1:1", "--subscribe", "plant/#", "--metrics-port", "0"]


class IdleBridge:
    """Waits for its end; `meanwhile` is what happens while it runs."""

    def __init__(self, meanwhile: Any) -> None:
        self._meanwhile, self._ending = meanwhile, threading.Event()
        self.carried = self.received = 0

    def run(self) -> None:
        self._meanwhile()
        assert self._ending.wait(10)

    def stop(self) -> None:
        self._ending.set()

    def why_not_ready(self) -> str | None:
        return None


def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, meanwhile: Any) -> list[list[str]]:
    """Runs the command with `meanwhile`, and returns how often it began again."""
    (tmp_path / "password").write_text("old")
    (tmp_path / "level").write_text("WARNING")
    begun: list[list[str]] = []

    async def taken(_: Settings) -> None:
        """The brokers let everybody in."""

    for name, value in {
        "SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_USERNAME": "bridge", "SASL_PASSWORD_FILE": tmp_path / "password",
        "LOG_LEVEL_FILE": tmp_path / "level",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"STREAM_DETECTOR_{name}", str(value))
    monkeypatch.setattr(diagnosis, "why_unreachable", taken)
    monkeypatch.setattr(password_watch, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(mqtt_bridge, "MqttBridge", lambda *_, **__: IdleBridge(meanwhile))
    monkeypatch.setattr(os, "execv", lambda _, arguments: begun.append(arguments))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        assert main(NOBODY) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return begun


def test_a_bridge_begins_again_with_a_new_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def renew() -> None:
        threading.Event().wait(0.1)  # the watch reads the old one first
        (tmp_path / "password").write_text("new")

    assert started(monkeypatch, tmp_path, renew) == [[sys.executable, *sys.orig_argv[1:]]]


def test_a_bridge_that_is_told_to_end_does_not_begin_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert started(monkeypatch, tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM)) == []


def test_a_bridge_survives_being_told_to_read_its_files_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def reload() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)

    assert started(monkeypatch, tmp_path, reload) == []


def test_a_bridge_logs_from_the_level_of_its_file_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "level").write_text("loud")
    monkeypatch.setenv("STREAM_DETECTOR_LOG_LEVEL_FILE", str(tmp_path / "level"))
    assert main(NOBODY) == 2
    assert "holds 'loud'" in capsys.readouterr().err

"""`stream-detector forward` as a process: how it ends, and when it begins again."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from stream_detector.commands import forward
from stream_detector.operations.notify.forwarder_settings import ForwarderSettings
from stream_detector.settings import Settings
from stream_detector.streaming.clients import diagnosis
from stream_detector.streaming.worker import password_watch


@pytest.mark.parametrize("told_to_end", [False, True])
def test_a_forwarder_begins_again_with_a_new_password_unless_it_was_told_to_end(
    told_to_end: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("old")
    settings = Settings(
        security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="detector", sasl_password_file=file
    )
    begun: list[list[str]] = []
    ended: list[bool] = []

    async def taken(_: Settings) -> None:
        """The brokers let everybody in."""

    async def forwards(*_: object) -> None:
        await asyncio.sleep(0.01)  # the watch reads the old one first
        if told_to_end:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            file.write_text("new")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    monkeypatch.setattr(diagnosis, "why_unreachable", taken)
    monkeypatch.setattr(password_watch, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(forward, "_forward", forwards)
    monkeypatch.setattr(os, "execv", lambda _, arguments: begun.append(arguments))
    asyncio.run(forward._until_stopped(settings, ForwarderSettings()))
    assert ended == [True]
    assert begun == ([] if told_to_end else [[sys.executable, *sys.orig_argv[1:]]])

"""`stream-detector doctor`: what is wrong, before a start and when it will not start."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle, if not the setting's.")] = None,
    bootstrap: Annotated[str | None, typer.Option(help="Kafka brokers, HOST:PORT, separated by commas.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at login, rights, topics, clock, schema registry, certificates, bundle, disk and receivers; change nothing.

    Exit codes: 0 nothing failed (there may be warnings), 1 something did, 2 usage.
    """
    import dataclasses
    import json as json_module

    from stream_detector.errors import StreamDetectorError
    from stream_detector.operations.notify.forwarder_settings import ForwarderSettings
    from stream_detector.operations.notify.reach import receivers_that_answer
    from stream_detector.settings import Settings
    from stream_detector.streaming.doctor import (
        Finding,
        examine_brokers,
        examine_certificates,
        examine_disk,
        examine_registry,
    )

    settings = Settings.load(bundle=bundle, bootstrap=bootstrap).in_role()
    findings, needs = [], None
    if settings.bundle is None:
        findings.append(Finding("bundle", "warning", "none is named; use --bundle DIR or STREAM_DETECTOR_BUNDLE"))
    else:
        from stream_detector.commands.run import load_bundle_or_table
        from stream_detector.streaming.worker.composition import needs_of

        try:
            loaded = load_bundle_or_table(settings, settings.bundle)
        except StreamDetectorError as error:
            findings.append(Finding("bundle", "failed", str(error)))
        else:
            manifest = loaded.manifest
            needs = needs_of(loaded, settings)
            findings.append(Finding("bundle", "ok", f"{manifest.bundle_id}, recipe {manifest.recipe}"))
    findings += examine_brokers(settings, needs)
    findings += examine_registry(settings)
    findings += examine_certificates(settings)
    findings.append(examine_disk(settings.bundle if settings.bundle and settings.bundle.is_dir() else Path.cwd()))
    for name, reason in receivers_that_answer(ForwarderSettings.load()):
        findings.append(
            Finding("receiver", "ok", f"{name} answers") if reason is None
            else Finding("receiver", "failed", f"{name}: {reason}")
        )  # fmt: skip
    if json:
        print(json_module.dumps([dataclasses.asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    else:
        for finding in findings:
            print(f"{finding.state:8}{finding.check:12}{finding.text}")
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)

"""`stream-detector forward`: brings alarms to Alertmanager and webhooks, and keeps their states."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream_detector.operations.notify.forwarder_settings import ForwarderSettings
    from stream_detector.settings import Settings


def command(
    bootstrap: Annotated[str | None, typer.Option(help="Kafka brokers, HOST:PORT, separated by commas.")] = None,
    alertmanager: Annotated[list[str] | None, typer.Option(help="Address of an Alertmanager; may be repeated.")] = None,
    webhook: Annotated[list[str] | None, typer.Option(help="Address of a webhook; may be repeated.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the texts: en or ko.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics and /healthz; 0 = any free one.")] = None,
) -> None:
    """Bring alarms to people: Alertmanager and any webhook, each at its own pace, until Ctrl-C."""
    import asyncio

    from stream_detector.operations.notify.forwarder_settings import ForwarderSettings
    from stream_detector.settings import Settings

    forwarding = ForwarderSettings.load(
        alertmanager_urls=",".join(alertmanager) if alertmanager else None,
        webhook_urls=",".join(webhook) if webhook else None,
        language=language,
        metrics_port=metrics_port,
    )
    settings = Settings.load(bootstrap=bootstrap, metrics_port=forwarding.metrics_port)
    asyncio.run(_until_stopped(settings, forwarding))


async def _until_stopped(settings: "Settings", forwarding: "ForwarderSettings") -> None:
    import asyncio
    import contextlib
    import logging
    import os
    import signal

    from stream_detector.begin_again import begin_again
    from stream_detector.logs import start_logging
    from stream_detector.streaming.worker.password_watch import password_renewed
    from stream_detector.version import version

    start_logging(settings.level(), settings.log_format)
    logging.getLogger(__name__).info(
        "forwarder %s starts: brokers %s, topic %s, site %s",
        version(), settings.bootstrap, settings.topic_alarms, settings.site or "none",
    )  # fmt: skip
    forwarder = asyncio.create_task(_forward(settings, forwarding))
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, told_to_end.set)
    ending = asyncio.create_task(told_to_end.wait())
    renewed = asyncio.create_task(password_renewed(settings))
    await asyncio.wait([forwarder, ending, renewed], return_when=asyncio.FIRST_COMPLETED)
    begins_again = renewed.done() and not forwarder.done()
    ending.cancel()
    renewed.cancel()
    if not forwarder.done():
        forwarder.cancel()
        await asyncio.wait([forwarder], timeout=settings.shutdown_seconds)
        if not forwarder.done():
            # The brokers do not answer a last commit. What was not committed comes again after the next start.
            logging.getLogger(__name__).warning("ending without a last commit: the brokers do not answer")
            os._exit(0)
    with contextlib.suppress(asyncio.CancelledError):
        forwarder.result()
    if begins_again and not told_to_end.is_set():
        begin_again()


async def _forward(settings: "Settings", forwarding: "ForwarderSettings") -> None:
    import asyncio
    import signal

    from stream_detector.metrics import ForwarderMetrics
    from stream_detector.process_metrics import new_registry
    from stream_detector.streaming.feeds.forwarder_process import ForwarderProcess
    from stream_detector.streaming.worker.health.metrics_server import MetricsServer

    registry = new_registry(settings.site, settings.certificates())
    process = ForwarderProcess(settings, forwarding, ForwarderMetrics(registry), registry)
    server = MetricsServer(settings, registry, health=lambda: None, readiness=process.why_not_ready)
    server.start()
    server.reloader.add("password at the brokers", [settings.sasl_password_file], settings.password)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reloader.reload)
    print(
        f"forwarding {settings.topic_alarms}; metrics on http://{settings.metrics_host}:{server.port}/metrics",
        flush=True,
    )
    try:
        await process.run()
    finally:
        server.stop()

"""`stream-detector mqtt-bridge`: from an MQTT broker to Kafka."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    mqtt: Annotated[
        str,
        typer.Option(
            help="The MQTT broker, mqtt://[USER@]HOST[:PORT] or mqtts:// for TLS.", envvar="STREAM_DETECTOR_MQTT_URL"
        ),
    ],
    subscribe: Annotated[
        list[str] | None,
        typer.Option(help="MQTT topic, wildcards allowed; may be repeated.", show_default="with --sparkplug spBv1.0/#"),
    ] = None,
    sparkplug: Annotated[
        bool, typer.Option("--sparkplug", help="The messages are Sparkplug B: births, data and deaths of edge nodes.")
    ] = False,
    host_id: Annotated[
        str | None,
        typer.Option(help="With --sparkplug: say that this host application is there (STATE), and when it is not."),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="Field mapping (JSON).", show_default="$STREAM_DETECTOR_FIELD_MAPPING_FILE")
    ] = None,
    asset: Annotated[str | None, typer.Option(help="The machine, where neither message nor topic names it.")] = None,
    client_id: Annotated[
        str, typer.Option(help="Names the session at the MQTT broker; another for each bridge.")
    ] = "stream-detector-bridge",
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password.", envvar="STREAM_DETECTOR_MQTT_PASSWORD_FILE")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of /metrics; 0 = any free one.", show_default="none is served")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka brokers, HOST:PORT.", show_default="$STREAM_DETECTOR_BOOTSTRAP")
    ] = None,
) -> None:
    """Carry readings from MQTT to Kafka, at least once, until SIGTERM or Ctrl-C."""
    import signal
    import threading

    from stream_detector.begin_again import begin_again
    from stream_detector.decoding.field_mapping import FieldMapping
    from stream_detector.decoding.sparkplug import EVERYTHING, MAPPING, Sparkplug
    from stream_detector.errors import UsageError
    from stream_detector.logs import start_logging
    from stream_detector.metrics import BridgeMetrics
    from stream_detector.process_metrics import new_registry
    from stream_detector.settings import Settings
    from stream_detector.streaming.sources.mqtt_bridge import MqttAddress, MqttBridge, Route
    from stream_detector.streaming.sources.placing import Placing, read_map
    from stream_detector.streaming.sources.primary_host import PrimaryHost
    from stream_detector.streaming.worker.health.metrics_server import MetricsServer
    from stream_detector.streaming.worker.password_watch import watch_password

    settings = Settings.load(bootstrap=bootstrap, field_mapping_file=mapping, metrics_port=metrics_port)
    start_logging(settings.level(), settings.log_format)
    topics = subscribe or ([EVERYTHING] if sparkplug else [])
    if not topics:
        raise UsageError("nothing to carry; name MQTT topics with --subscribe, or say --sparkplug")
    if host_id is not None and not sparkplug:
        raise UsageError("--host-id is of Sparkplug; say --sparkplug too")
    file, assets_file = settings.field_mapping_file, settings.sensor_assets_file
    usual = MAPPING if sparkplug else FieldMapping()
    route = Route(
        mapping=usual if file is None else FieldMapping.load(file),
        placing=Placing({} if assets_file is None else read_map(assets_file)),
        asset=asset,
    )
    address = MqttAddress.parse(mqtt, password_file)
    metrics = BridgeMetrics(new_registry(settings.site, settings.certificates()))
    bridge = MqttBridge(
        settings, address, topics, route, client_id, Sparkplug() if sparkplug else None,
        host=None if host_id is None else PrimaryHost(host_id), metrics=metrics,
    )  # fmt: skip
    told_to_end, renewed = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        told_to_end.set()
        bridge.stop()

    def begin_with_new_password() -> None:
        renewed.set()
        bridge.stop()

    if metrics_port is not None:
        server = MetricsServer(settings, metrics.registry, health=lambda: None, readiness=bridge.why_not_ready)
        server.start()
        server.reloader.add("password at the brokers", [settings.sasl_password_file], settings.password)
        signal.signal(signal.SIGHUP, lambda *_: server.reloader.reload())
        print(f"metrics on http://{settings.metrics_host}:{server.port}/metrics", flush=True)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, end)
    watch_password(settings, begin_with_new_password)
    print(f"carrying {', '.join(topics)} to {settings.topic_readings}", flush=True)
    bridge.run()
    print(f"{bridge.carried} of {bridge.received} messages carried")
    if renewed.is_set() and not told_to_end.is_set():
        begin_again()

"""The Pipeline dashboard: do readings flow, and do alarms get out?"""

from collections.abc import Sequence

from deploy.grafana.panels import NORMAL, ORANGE, RED, YELLOW, Panel, lines, number, states

EVERY = "[$__rate_interval]"


def _rate(metric: str, by: str = "") -> str:
    """Events a second, summed over detectors; `by` keeps a label."""
    return f"sum{f' by ({by}) ' if by else ''}(rate(stream_detector_{metric}{EVERY}))"


def _quantiles(metric: str) -> dict[str, str]:
    buckets = _rate(f"{metric}_bucket", "le")
    return {f"{round(100 * part)} %": f"histogram_quantile({part}, {buckets})" for part in (0.5, 0.95, 0.99)}


def rows_of_panels() -> Sequence[tuple[str, Sequence[Panel]]]:
    return [
        (
            "At a glance",
            [
                number(
                    "Detectors ready",
                    "Of those that Prometheus knows.",
                    "sum(stream_detector_ready)",
                    steps=[(None, RED), (1, NORMAL)],
                ),
                number(
                    "Readings a second",
                    "A row counts each of its values.",
                    _rate("readings_received_total"),
                    decimals=0,
                ),
                number(
                    "Lag",
                    "Records between the committed offset and the end.",
                    "job:stream_detector_kafka_lag_records:sum",
                    steps=[(None, NORMAL), (10_000, ORANGE)],
                ),
                number(
                    "Late",
                    "Part of the readings that came too late to count.",
                    "job:stream_detector_readings_late:ratio_rate10m",
                    unit="percentunit",
                    steps=[(None, NORMAL), (0.01, YELLOW)],
                ),
                number(
                    "Unusable",
                    "Part of the readings that became dead letters.",
                    "job:stream_detector_readings_dead_lettered:ratio_rate10m",
                    unit="percentunit",
                    steps=[(None, NORMAL), (0.001, RED)],
                ),
                number(
                    "Oldest alarm not delivered",
                    "Zero: every alarm was accepted by its receivers.",
                    "max(stream_detector_forwarder_oldest_pending_seconds)",
                    unit="s",
                    steps=[(None, NORMAL), (60, RED)],
                ),
                states(
                    "Detectors",
                    "Ready: assigned, caught up and not stalled.",
                    "max by (instance) (stream_detector_ready * 2 + stream_detector_rebuilding)",
                    "{{instance}}",
                    {
                        0: ("not ready", RED),
                        1: ("rebuilding", YELLOW),
                        2: ("ready", NORMAL),
                        3: ("ready, rebuilding", YELLOW),
                    },
                    height=5,
                ),
            ],
        ),
        (
            "Readings",
            [
                lines(
                    "Where readings go",
                    "received = windowed + late + duplicate + dead letters + ignored.",
                    {
                        "windowed": _rate("readings_windowed_total"),
                        "late": _rate("readings_late_total"),
                        "duplicate": _rate("readings_duplicate_total"),
                        "dead letters": _rate("readings_dead_lettered_total"),
                        "ignored": _rate("readings_ignored_total"),
                    },
                    unit="cps",
                    stacked=True,
                ),
                lines(
                    "Records by kind",
                    "What lies on the topic.",
                    {"{{kind}}": _rate("records_total", "kind")},
                    unit="cps",
                ),
                lines(
                    "Dead letters by reason",
                    "The records themselves are in detector.dead-letters.",
                    {
                        "{{reason}}": _rate("dead_letters_total", "reason")
                        + f" or 0 * {_rate('readings_received_total')}",
                        "not published (rate limit)": _rate("dead_letters_suppressed_total"),
                    },
                    unit="cps",
                ),
                lines(
                    "Cells without a number",
                    "What stands in their place; and what the bundle does not know on the bus.",
                    {
                        "{{reason}}": _rate("cells_missing_total", "reason"),
                        "unknown {{kind}}": _rate("unknown_readings_total", "kind"),
                    },
                    unit="cps",
                ),
                lines(
                    "Held aside",
                    "Readings that wait until a jump in time is confirmed.",
                    {"held": "sum(stream_detector_readings_held)"},
                ),
            ],
        ),
        (
            "Delay",
            [
                lines(
                    "Closing record to acknowledged alarm",
                    "From the Kafka timestamp of the record that closed the step.",
                    _quantiles("alarm_delay_seconds"),
                    unit="s",
                ),
                lines(
                    "Event time to acknowledged alarm",
                    "From the end of the step in the plant's time: includes the way into Kafka and the lateness.",
                    _quantiles("alarm_delay_event_seconds"),
                    unit="s",
                ),
                lines(
                    "Lag by partition",
                    "Records between the committed offset and the end.",
                    {"partition {{partition}}": "max by (partition) (stream_detector_kafka_lag_records)"},
                ),
                lines(
                    "Ages",
                    "Of the last commit and of the last answer of the broker.",
                    {
                        "commit {{instance}}": "stream_detector_commit_age_seconds",
                        "fetch {{instance}}": "stream_detector_fetch_age_seconds",
                    },
                    unit="s",
                ),
            ],
        ),
        (
            "Work",
            [
                lines(
                    "Time to decode and score a batch",
                    "Grows with the size of the batches.",
                    _quantiles("scoring_seconds"),
                    unit="s",
                ),
                lines(
                    "Steps",
                    "Scored, and closed without a score.",
                    {
                        "scored": _rate("steps_scored_total"),
                        "unscored: {{reason}}": _rate("steps_unscored_total", "reason"),
                    },
                    unit="cps",
                ),
                lines(
                    "Memory",
                    "Resident memory of each process.",
                    {"{{job}} {{instance}}": 'process_resident_memory_bytes{job=~"stream-detector.*"}'},
                    unit="bytes",
                ),
                lines(
                    "CPU",
                    "Cores used by each process.",
                    {"{{job}} {{instance}}": f'rate(process_cpu_seconds_total{{job=~"stream-detector.*"}}{EVERY})'},
                    unit="none",
                ),
                lines(
                    "State held",
                    "Assets with live state, with a full window, and partitions assigned.",
                    {
                        "assets": "sum(stream_detector_assets_held)",
                        "full windows": "sum(stream_detector_windows_held)",
                        "partitions": "sum(stream_detector_partitions_assigned)",
                        "refused (too many assets)": "sum(stream_detector_assets_refused_total)",
                    },
                ),
                lines(
                    "Last rebuild",
                    "Time to read the windows back after a restart or a rebalance.",
                    {"{{instance}}": "stream_detector_rebuild_seconds"},
                    unit="s",
                ),
            ],
        ),
        (
            "Out",
            [
                lines(
                    "Notifications",
                    "Accepted and failed attempts, by receiver.",
                    {
                        "accepted {{receiver}}": _rate("forwarder_notifications_accepted_total", "receiver"),
                        "failed {{receiver}}": _rate("forwarder_notification_failures_total", "receiver")
                        + " or 0 * max(stream_detector_forwarder_pending_alarms)",
                    },
                    unit="cps",
                ),
                lines(
                    "Waiting for a receiver",
                    "Alarms that not every receiver has accepted.",
                    {"pending": "sum(stream_detector_forwarder_pending_alarms)"},
                    steps_drawn=True,
                ),
            ],
        ),
    ]

"""The Operators dashboard: now. State per asset, score against threshold, open alarms, top sensors."""

from collections.abc import Sequence

from deploy.grafana.panels import GREEN, ORANGE, RED, YELLOW, Panel, bars, lines, number, rows, states

ASSET = '{asset=~"$asset"}'

STATE = (
    f"max by (asset) ((stream_detector_alarms_open{ASSET} > 0) * 0 + 3"
    f" or (stream_detector_not_running{ASSET} > 0) * 0 + 4"
    f" or (stream_detector_degraded_sensors{ASSET} > 0) * 0 + 2"
    f" or (stream_detector_warming_up{ASSET} > 0) * 0 + 1"
    f" or stream_detector_warming_up{ASSET} * 0)"
)
STATES = {
    0: ("normal", GREEN),
    1: ("warming up", "text"),
    2: ("sensors silent", YELLOW),
    3: ("ALARM", RED),
    4: ("not running", "text"),
}


def rows_of_panels() -> Sequence[tuple[str, Sequence[Panel]]]:
    return [
        (
            "Now",
            [
                number(
                    "Open alarms",
                    "Assets with an alarm up. Zero is a good number.",
                    f"sum(stream_detector_alarms_open{ASSET})",
                    steps=[(None, GREEN), (1, RED)],
                ),
                number(
                    "Not acknowledged",
                    "Alarms that nobody has acknowledged yet.",
                    "max(stream_detector_forwarder_unacknowledged_alarms)",
                    steps=[(None, GREEN), (1, ORANGE)],
                ),
                number(
                    "Shelved",
                    "Alarms that somebody has put aside, with an end and a reason.",
                    "max(stream_detector_forwarder_shelved_alarms)",
                    steps=[(None, GREEN), (1, YELLOW)],
                ),
                number(
                    "Silent sensors",
                    "Sensors that report nothing; they are masked.",
                    f"sum(stream_detector_degraded_sensors{ASSET})",
                    steps=[(None, GREEN), (1, YELLOW)],
                ),
                number(
                    "Assets watched",
                    "Assets with live state.",
                    "sum(stream_detector_assets_held)",
                ),
                number(
                    "Newest reading",
                    "Age of the newest data of the asset that is furthest behind, in the plant's time.",
                    "max(stream_detector_watermark_lag_seconds)",
                    unit="s",
                    steps=[(None, GREEN), (600, ORANGE)],
                ),
                states(
                    "State of each asset",
                    "What the detector says about each asset, over time.",
                    STATE,
                    "{{asset}}",
                    STATES,
                ),
            ],
        ),
        (
            "Why",
            [
                lines(
                    "How close to an alarm",
                    "Score (or probability) divided by its threshold: an alarm is up above 1.",
                    {"{{asset}}": f"max by (asset) (asset:stream_detector_score:ratio{ASSET})"},
                    unit="none",
                    span=24,
                    steps=[(None, GREEN), (1, RED)],
                ),
                lines(
                    "Probability of an event within the lead window",
                    "Where the bundle has one; the dashed line is the limit above which acting pays.",
                    {
                        "{{asset}}": f"max by (asset) (stream_detector_probability{ASSET})",
                        "{{asset}} limit": f"max by (asset) (stream_detector_threshold{ASSET})",
                    },
                    unit="percentunit",
                    dashed=["{{asset}} limit"],
                ),
                bars(
                    "Top sensors",
                    "Part of each sensor in the newest evidence.",
                    f"topk(12, max by (asset, sensor) (stream_detector_reconstruction_error{ASSET}))",
                    "{{asset}} {{sensor}}",
                ),
            ],
        ),
        (
            "Alarms",
            [
                rows(
                    "Alarms by asset",
                    "Of the last 24 hours, and open now.",
                    {
                        "Open now": f"sum by (asset) (stream_detector_alarms_open{ASSET})",
                        "Raised, 24 h": f"sum by (asset) (increase(stream_detector_alarms_raised_total{ASSET}[24h]))",
                        "Cleared, 24 h": f"sum by (asset) (increase(stream_detector_alarms_cleared_total{ASSET}[24h]))",
                        "Breaks, 24 h": f"sum by (asset) (increase(stream_detector_events_total{ASSET}[24h]))",
                    },
                    span=12,
                ),
                lines(
                    "Health of the alarms",
                    "ISA-18.2: more than ten alarms in ten minutes is more than one operator can handle.",
                    {
                        "raised in 10 minutes": "max(stream_detector_forwarder_alarms_per_10_minutes)",
                        "standing": "max(stream_detector_forwarder_standing_alarms)",
                        "chattering assets": "max(stream_detector_forwarder_chattering_assets)",
                        "out of service": "max(stream_detector_forwarder_out_of_service_assets)",
                    },
                    steps=[(None, GREEN), (10, RED)],
                    steps_drawn=True,
                ),
            ],
        ),
    ]

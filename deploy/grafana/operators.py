"""The Operators dashboard: now. State per asset, score against threshold, open alarms, top sensors."""

from collections.abc import Sequence

from deploy.grafana.panels import BLUE, CALM, NORMAL, ORANGE, RED, YELLOW, Panel, bars, lines, number, rows, states

ASSET = '{asset=~"$asset"}'

STATE = (
    f"max by (asset) ((stream_detector_alarms_open{ASSET} > 0) * 0 + 3"
    f" or (stream_detector_not_running{ASSET} > 0) * 0 + 4"
    f" or (stream_detector_degraded_sensors{ASSET} > 0) * 0 + 2"
    f" or (stream_detector_warming_up{ASSET} > 0) * 0 + 1"
    f" or stream_detector_warming_up{ASSET} * 0)"
)
STATES = {
    0: ("normal", NORMAL),
    1: ("warming up", BLUE),
    2: ("sensors silent", YELLOW),
    3: ("ALARM", RED),
    4: ("not running", CALM),
}


def _told(state: str) -> str:
    """Alarms or assets in this state. A forwarder that runs and names none of them means 0; without one there is none.

    A second forwarder of the same site tells the same again, so each asset counts once.
    """
    named = f'stream_detector_forwarder_asset_alarms{{asset=~"$asset",state="{state}"}}'
    return f"sum(max by (site, asset) ({named})) or 0 * max(stream_detector_forwarder_pending_alarms)"


def rows_of_panels() -> Sequence[tuple[str, Sequence[Panel]]]:
    return [
        (
            "Now",
            [
                number(
                    "Open alarms",
                    "Assets with an alarm up. Zero is a good number.",
                    f"sum(stream_detector_alarms_open{ASSET})",
                    steps=[(None, NORMAL), (1, RED)],
                ),
                number(
                    "Not acknowledged",
                    "Alarms that nobody has acknowledged yet.",
                    _told("unacknowledged"),
                    steps=[(None, NORMAL), (1, ORANGE)],
                ),
                number(
                    "Shelved",
                    "Assets that somebody has put aside, with an end and a reason.",
                    _told("shelved"),
                    steps=[(None, NORMAL), (1, YELLOW)],
                ),
                number(
                    "Silent sensors",
                    "Sensors that report nothing; they are masked.",
                    f"sum(stream_detector_degraded_sensors{ASSET})",
                    steps=[(None, NORMAL), (1, YELLOW)],
                ),
                number(
                    "Assets watched",
                    "Assets with live state.",
                    f"count(max by (site, asset) (stream_detector_warming_up{ASSET}))",
                ),
                number(
                    "Newest reading",
                    "Age of the newest data of the asset that is furthest behind, in the plant's time.",
                    f"time() - min(max by (site, asset) (stream_detector_watermark_timestamp_seconds{ASSET}))",
                    unit="s",
                    steps=[(None, NORMAL), (600, ORANGE)],
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
                    steps=[(None, NORMAL), (1, RED)],
                ),
                lines(
                    "Probability of an event within the lead window",
                    "Where the bundle has one; the dashed line is the limit above which acting pays.",
                    {
                        "{{asset}}": f"max by (asset) (stream_detector_probability{ASSET})",
                        "{{asset}} limit": f"max by (asset) (stream_detector_threshold{ASSET})"
                        f" and max by (asset) (stream_detector_probability{ASSET})",
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
                        "Events, 24 h": f"sum by (asset) (increase(stream_detector_events_total{ASSET}[24h]))",
                    },
                    span=12,
                ),
                lines(
                    "Alarms that wear people out",
                    "Up for long, or coming and going all the time; and assets of which nobody is told.",
                    {
                        "standing": _told("standing"),
                        "chattering assets": _told("chattering"),
                        "out of service": _told("out-of-service"),
                    },
                    span=6,
                    steps_drawn=True,
                ),
                lines(
                    "Alarms in ten minutes",
                    "EEMUA 191: more than ten are more than one operator can handle. Of all assets.",
                    {"raised": "max(stream_detector_forwarder_alarms_per_10_minutes)"},
                    span=6,
                    steps=[(None, NORMAL), (10, RED)],
                    steps_drawn=True,
                ),
            ],
        ),
    ]
